#!/bin/bash
# Starts RabbitMQ with the definitions in /definitions.json: users, permissions and topology. They are rendered
# with the passwords from /run/secrets and imported at each start, before clients can connect.
#
#   start.sh rabbitmq-server
#   start.sh reload             imports them into the running broker
set -euo pipefail

if [ "$1" = rabbitmq-server ] || [ "$1" = reload ]; then
	definitions=$(< /definitions.json)
	for name in orders_amqp_password payments_amqp_password operator_amqp_password; do
		password=$(/password.sh "$name")
		password=${password//\\/\\\\}
		password=${password//\"/\\\"}
		definitions=${definitions//"@$name@"/"$password"}
	done
	umask 077
	printf '%s\n' "$definitions" > /tmp/definitions.json
	umask 022
fi
[ "$1" != reload ] || exec rabbitmqctl -q import_definitions /tmp/definitions.json
exec docker-entrypoint.sh "$@"
