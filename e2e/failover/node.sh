#!/bin/bash
# Starts PostgreSQL: as a standby with a copy of the data of $PRIMARY, or as a primary if it is empty.
set -euo pipefail
[ -n "$PRIMARY" ] || exec /start.sh "$@"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	chmod 700 "$PGDATA"
	PGPASSWORD=$STANDBY_PASSWORD pg_basebackup -d "host=$PRIMARY user=standby" -D "$PGDATA" -R -X stream --checkpoint=fast
fi
exec "$@" -c listen_addresses='*'
