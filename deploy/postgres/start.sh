#!/bin/bash
# Starts PostgreSQL with the passwords from /run/secrets. The image only sets them when it creates the volume.
# Without this script, losing the passwords would lock the services out of their own data.
set -euo pipefail

# secret NAME prints a password, and fails if there is none.
secret() { grep . "/run/secrets/$1_password" || { echo "/run/secrets/$1_password contains no password" >&2; exit 1; }; }

# alter ROLE PASSWORD prints the statement that sets the password. The output is piped, because arguments are
# visible in ps.
alter() { printf "ALTER ROLE \"%s\" PASSWORD '%s';\n\n" "$1" "${2//\'/\'\'}"; }

admin=$(secret postgres)
orders=$(secret orders_db)
payments=$(secret payments_db)

archive=()
if [ "$1" = postgres ] && [ -e /archive.sh ]; then # mounted by deploy/archive.yml
	archive=(-c archive_mode=on -c archive_timeout=60s -c 'archive_command=/archive.sh put %f %p'
		-c 'restore_command=/archive.sh get %f %p' -c recovery_target_action=promote)
fi

if [ "$1" = postgres ] && [ -s "$PGDATA/PG_VERSION" ]; then
	# Single-user mode needs no password and accepts no connections. Statements that fail are not logged. It also
	# recovers, to a point in time if there is a recovery.signal: hot_standby would require the server's settings.
	{
		alter "$POSTGRES_USER" "$admin"
		alter orders "$orders"
		alter payments "$payments"
	} | postgres --single -j -D "$PGDATA" "${archive[@]}" -c hot_standby=off -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
elif [ "$1" = postgres ]; then
	export POSTGRES_PASSWORD=$admin # for the image, which creates the database
fi
exec docker-entrypoint.sh "$@" "${archive[@]}"
