#!/bin/sh
# Starts pgbouncer in front of PostgreSQL, with the passwords from /run/secrets. POOL_SIZE is the number of
# sessions that all replicas of a service share.
#
#   start.sh [reload]    reload makes the running pgbouncer use the current passwords for new sessions
set -eu
umask 077

for role in orders payments; do
	password=$(sh /password.sh "${role}_db_password")
	printf '"%s" "%s"\n' "$role" "$(printf '%s' "$password" | sed 's/"/""/g')"
done > /tmp/userlist.txt
if [ "${1:-}" = reload ]; then
	exec kill -HUP 1
fi

cat > /tmp/pgbouncer.ini <<END
[databases]
gozon = host=postgres port=5432

[pgbouncer]
listen_addr = 0.0.0.0
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /tmp/userlist.txt
pool_mode = transaction
max_prepared_statements = 200
default_pool_size = $POOL_SIZE
max_client_conn = 1000
END
exec pgbouncer /tmp/pgbouncer.ini
