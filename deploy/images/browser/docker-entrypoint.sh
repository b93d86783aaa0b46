#!/bin/sh
# Chromium listens for DevTools on the loopback address alone, so socat lets the
# rest of the network in.
set -eu
[ $# -eq 0 ] || exec "$@"
socat TCP-LISTEN:9222,fork,reuseaddr TCP:127.0.0.1:9223 &
exec chromium-headless-shell --no-sandbox --disable-gpu --disable-dev-shm-usage \
	--disable-background-networking --disable-component-update --disable-sync --no-first-run \
	--user-data-dir="$(mktemp -d)" --remote-debugging-port=9223 about:blank
