#!/bin/sh
# Chromium serves DevTools on the loopback address only. socat makes it available to the
# rest of the network.
set -eu
[ $# -eq 0 ] || exec "$@"
socat TCP-LISTEN:9222,fork,reuseaddr TCP:127.0.0.1:9223 &
exec chromium-headless-shell --no-sandbox --disable-gpu --disable-dev-shm-usage \
	--disable-background-networking --disable-component-update --disable-sync --no-first-run \
	--user-data-dir="$(mktemp -d)" --remote-debugging-port=9223 about:blank
