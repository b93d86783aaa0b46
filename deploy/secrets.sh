#!/usr/bin/env bash
# Writes a random password for each one that does not exist yet, to the folder that SECRETS_DIR in .env names, which
# is ./secrets unless it is set. PostgreSQL and RabbitMQ apply the passwords at each start (deploy/postgres,
# deploy/rabbitmq). If there is a new password, the script prints the option of `compose up` that restarts everything:
# compose does not notice that the content of a file has changed.
#
# Other users of this machine cannot enter the folder. The files are readable to everybody, because the users of the
# containers, which they are mounted into one by one, are not those of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
touch .env
chmod 600 .env
grep -q '^SECRETS_DIR=' .env || echo 'SECRETS_DIR=./secrets' >> .env
dir=${SECRETS_DIR:-$(sed -n 's/^SECRETS_DIR=//p' .env | tail -n 1)}
[ -d "$dir" ] || (umask 077 && mkdir -p "$dir")

option=
for development in deploy/secrets/development/*; do
	name=${development##*/}
	variable=$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')
	if [ ! -s "$dir/$name" ]; then
		# Earlier versions had the passwords in .env. The same ones are kept, so that replicas can be updated one by one.
		password=$(sed -n "s/^$variable=//p" .env | tail -n 1)
		[ -n "$password" ] || password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
		printf '%s\n' "$password" > "$dir/$name"
		chmod 644 "$dir/$name"
		option=--force-recreate
	fi
	if grep -q "^$variable=" .env; then
		kept=$(grep -v "^$variable=" .env)
		printf '%s\n' "$kept" > .env
		echo "The password $variable was moved from .env to $dir/$name." >&2
	fi
done
for variable in POSTGRES_PASSWORD RABBITMQ_PASSWORD; do # of administrators in earlier versions, who have no password any more
	if grep -q "^$variable=" .env; then
		kept=$(grep -v "^$variable=" .env)
		printf '%s\n' "$kept" > .env
	fi
done
echo $option
