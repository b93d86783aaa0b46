#!/usr/bin/env bash
# Waits until the shop is up and prints its address. The argument is the compose command.
set -euo pipefail
compose=$1
address=$($compose port frontend 8080)
for _ in $(seq 120); do
	if curl -fsS -o /dev/null "http://$address/" 2>/dev/null && curl -fsS -o /dev/null "http://$($compose port gateway 8080)/audit" 2>/dev/null; then
		case "$address" in *:80) echo "The shop runs at http://localhost" ;; *) echo "The shop runs at http://$address" ;; esac
		exit 0
	fi
	sleep 0.5
done
echo 'The shop did not start in time. Its containers:' >&2
$compose ps >&2
exit 1
