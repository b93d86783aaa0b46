#!/bin/bash
# Starts RabbitMQ with the password from /run/secrets. The image only creates the user together
# with the volume and never changes it. Definitions are imported at each start, before clients can connect.
#
#   start.sh rabbitmq-server
#   start.sh reload             imports them into the running broker
set -euo pipefail

if [ "$1" = rabbitmq-server ] || [ "$1" = reload ]; then
	password=$(grep . /run/secrets/rabbitmq_password) || { echo '/run/secrets/rabbitmq_password contains no password' >&2; exit 1; }
	password=${password//\\/\\\\}
	password=${password//\"/\\\"}
	umask 077
	printf '{"vhosts": [{"name": "/"}],
 "users": [{"name": "gozon", "password": "%s", "tags": ["administrator"]}],
 "permissions": [{"user": "gozon", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}\n' \
		"$password" > /tmp/definitions.json
	umask 022
fi
[ "$1" != reload ] || exec rabbitmqctl -q import_definitions /tmp/definitions.json
exec docker-entrypoint.sh "$@"
