#!/bin/bash
# Starts PostgreSQL with the passwords from the environment. The image only sets them when it creates the
# volume. Without this script, losing .env would lock the services out of their own data.
set -euo pipefail

# alter ROLE PASSWORD prints the statement that sets the password. The output is piped, because arguments are
# visible in ps.
alter() { printf "ALTER ROLE \"%s\" PASSWORD '%s';\n\n" "$1" "${2//\'/\'\'}"; }

archive=()
if [ "$1" = postgres ] && [ -e /archive.sh ]; then # mounted by deploy/archive.yml
	archive=(-c archive_mode=on -c archive_timeout=60s -c 'archive_command=/archive.sh put %f %p'
		-c 'restore_command=/archive.sh get %f %p' -c recovery_target_action=promote)
fi

if [ "$1" = postgres ] && [ -s "$PGDATA/PG_VERSION" ]; then
	# Single-user mode needs no password and accepts no connections. Statements that fail are not logged. It also
	# recovers, to a point in time if there is a recovery.signal: hot_standby would require the server's settings.
	{
		alter "$POSTGRES_USER" "$POSTGRES_PASSWORD"
		alter orders "$ORDERS_DB_PASSWORD"
		alter payments "$PAYMENTS_DB_PASSWORD"
	} | postgres --single -j -D "$PGDATA" "${archive[@]}" -c hot_standby=off -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
fi
exec docker-entrypoint.sh "$@" "${archive[@]}"
