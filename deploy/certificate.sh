#!/usr/bin/env bash
# Makes a self-signed certificate for development, unless there is one. Browsers warn about it.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${TLS_DIR:-$( (sed -n 's/^TLS_DIR=//p' .env 2>/dev/null || true) | tail -n 1)}
dir=${dir:-./secrets/tls}
[ ! -e "$dir/cert.pem" ] || exit 0
(umask 077 && mkdir -p "$(dirname "$dir")")
mkdir -p "$dir"
hosts=localhost,127.0.0.1,::1
[ -z "${BIND_ADDR:-}" ] || hosts=$hosts,$BIND_ADDR
program=$(go env GOROOT)/src/crypto/tls/generate_cert.go # part of the Go distribution
(cd "$dir" && GOWORK=off go run "$program" -ecdsa-curve P256 -host "$hosts" >/dev/null 2>&1 && chmod 644 cert.pem key.pem)
echo "A certificate for $hosts was written to $dir." >&2
