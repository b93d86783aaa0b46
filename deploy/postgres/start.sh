#!/bin/bash
# Starts PostgreSQL with the roles of roles.sh and the passwords from /run/secrets. The image only creates them together
# with the volume. Without this script, losing the passwords would lock the services out of their own data.
set -euo pipefail

archive=()
if [ "$1" = postgres ] && [ -e /archive.sh ]; then # mounted by deploy/archive.yml
	archive=(-c archive_mode=on -c archive_timeout=60s -c 'archive_command=/archive.sh put %f %p'
		-c 'restore_command=/archive.sh get %f %p' -c recovery_target_action=promote)
fi

statements=$(/roles.sh)
if [ "$1" = postgres ] && [ -s "$PGDATA/PG_VERSION" ]; then
	# Single-user mode needs no password and accepts no connections. Statements that fail are not logged. It also
	# recovers, to a point in time if there is a recovery.signal: hot_standby would require the server's settings.
	printf '%s\n\n' "$statements" |
		postgres --single -j -D "$PGDATA" "${archive[@]}" -c hot_standby=off -c exit_on_error=on -c log_min_error_statement=panic "$POSTGRES_DB" >/dev/null
elif [ "$1" = postgres ]; then
	# The image requires a password of the administrator. roles.sh removes it: pg_hba.conf does not ask for one.
	POSTGRES_PASSWORD=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	export POSTGRES_PASSWORD
fi
exec docker-entrypoint.sh "$@" "${archive[@]}"
