#!/bin/bash
# Starts PostgreSQL with the passwords of the environment. The image sets them when it makes the volume,
# and never again: without this, a lost .env would lock the services out of their own data.
set -euo pipefail

# alter ROLE PASSWORD: the statement that sets it. It goes through a pipe: arguments show up in ps.
alter() { printf "ALTER ROLE \"%s\" PASSWORD '%s';\n\n" "$1" "${2//\'/\'\'}"; }

if [ "$1" = postgres ] && [ -s "$PGDATA/PG_VERSION" ]; then
	# Single-user mode needs no password and lets nobody in meanwhile. A statement that fails is not logged.
	{
		alter "$POSTGRES_USER" "$POSTGRES_PASSWORD"
		alter orders "$ORDERS_DB_PASSWORD"
		alter payments "$PAYMENTS_DB_PASSWORD"
	} | postgres --single -j -D "$PGDATA" -c exit_on_error=on -c log_min_error_statement=panic postgres >/dev/null
fi
exec docker-entrypoint.sh "$@"
