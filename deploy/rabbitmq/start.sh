#!/bin/bash
# Starts RabbitMQ with the user and password from the environment. The image only creates the user together
# with the volume and never changes it. Definitions are imported at each start, before clients can connect.
set -euo pipefail

if [ "$1" = rabbitmq-server ]; then
	password=${RABBITMQ_DEFAULT_PASS//\\/\\\\}
	password=${password//\"/\\\"}
	umask 077
	printf '{"vhosts": [{"name": "/"}],
 "users": [{"name": "%s", "password": "%s", "tags": ["administrator"]}],
 "permissions": [{"user": "%s", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]}\n' \
		"$RABBITMQ_DEFAULT_USER" "$password" "$RABBITMQ_DEFAULT_USER" > /tmp/definitions.json
	umask 022
fi
exec docker-entrypoint.sh "$@"
