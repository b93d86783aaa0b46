#!/bin/bash
# Starts PostgreSQL with the passwords from the environment. The image only sets them when it creates the
# volume. Without this script, losing .env would lock the services out of their own data.
set -euo pipefail

# alter ROLE PASSWORD prints the statement that sets the password. The output is piped, because arguments are
# visible in ps.
alter() { printf "ALTER ROLE \"%s\" PASSWORD '%s';\n\n" "$1" "${2//\'/\'\'}"; }

if [ "$1" = postgres ] && [ -s "$PGDATA/PG_VERSION" ]; then
	# Single-user mode needs no password and accepts no connections. Statements that fail are not logged.
	{
		alter "$POSTGRES_USER" "$POSTGRES_PASSWORD"
		alter orders "$ORDERS_DB_PASSWORD"
		alter payments "$PAYMENTS_DB_PASSWORD"
	} | postgres --single -j -D "$PGDATA" -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
fi
exec docker-entrypoint.sh "$@"
