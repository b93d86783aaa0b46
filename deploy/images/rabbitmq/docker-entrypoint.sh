#!/bin/bash
# Keeps the contract of the official image's entry point, as far as the shop and
# its tests use it: RABBITMQ_DEFAULT_USER, _PASS and _VHOST make the first user.
set -euo pipefail
[ "$1" = rabbitmq-server ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
	exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
# Debian's wrapper wants to be root; the server's own script does not. It reads the
# default user and virtual host from the environment.
exec /usr/lib/rabbitmq/bin/rabbitmq-server
