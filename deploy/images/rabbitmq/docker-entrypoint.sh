#!/bin/bash
# Implements the parts of the official image's entry point that the shop and its tests
# use: RABBITMQ_DEFAULT_USER, _PASS and _VHOST define the first user.
set -euo pipefail
[ "$1" = rabbitmq-server ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
	exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
# Debian's wrapper requires root. The server's own script does not, and reads the default
# user and virtual host from the environment.
exec /usr/lib/rabbitmq/bin/rabbitmq-server
