#!/bin/sh
# Starts pgbouncer in front of PostgreSQL, with the passwords from the environment. POOL_SIZE is the number of
# sessions that all replicas of a service share.
set -eu
umask 077

quote() { printf '%s' "$1" | sed 's/"/""/g'; }

cat > /tmp/userlist.txt <<END
"orders" "$(quote "$ORDERS_DB_PASSWORD")"
"payments" "$(quote "$PAYMENTS_DB_PASSWORD")"
END

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
