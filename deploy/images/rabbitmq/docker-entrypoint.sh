#!/bin/bash
# Keeps the contract of the official image's entry point, as far as the shop and
# its tests use it: RABBITMQ_DEFAULT_USER, _PASS and _VHOST make the first user.
set -euo pipefail
[ "$1" = rabbitmq-server ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
	chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
	exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$0" "$@"
fi
# Debian's wrapper wants to be root; the server's own script does not. The default
# user and virtual host are read from the environment by the server (since 3.9);
# guest alone is kept to the local host, which a container is not.
conf=${TMPDIR:-/tmp}/standin.conf
{
	echo 'loopback_users = none'
	[ -z "${RABBITMQ_DEFAULT_USER:-}" ] || echo "default_user = $RABBITMQ_DEFAULT_USER"
	[ -z "${RABBITMQ_DEFAULT_PASS:-}" ] || echo "default_pass = $RABBITMQ_DEFAULT_PASS"
	[ -z "${RABBITMQ_DEFAULT_VHOST:-}" ] || echo "default_vhost = $RABBITMQ_DEFAULT_VHOST"
} > "$conf"
if [ -w /etc/rabbitmq/conf.d ]; then
	mv "$conf" /etc/rabbitmq/conf.d/10-standin.conf
else
	export RABBITMQ_CONFIG_FILE="${RABBITMQ_CONFIG_FILE:-$conf}"
fi
exec /usr/lib/rabbitmq/bin/rabbitmq-server
