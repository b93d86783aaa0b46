#!/usr/bin/env bash
# Waits until the shop is up and prints its address. The argument is the compose command.
set -euo pipefail
compose=$1
scheme=http address=$($compose port frontend 8080)
if secure=$($compose port frontend 8443 2>/dev/null) && [ -n "$secure" ]; then
	scheme=https address=$secure
fi
check() { curl -fsSk -o /dev/null "$scheme://$1" 2>/dev/null; } # a certificate for development is not trusted
for _ in $(seq 120); do
	if check "$address/" && check "$($compose port gateway 8080)/audit"; then
		case "$scheme:$address" in http:*:80 | https:*:443) address=localhost ;; esac
		echo "The shop runs at $scheme://$address"
		exit 0
	fi
	sleep 0.5
done
echo 'The shop did not start in time. Its containers:' >&2
$compose ps >&2
exit 1
