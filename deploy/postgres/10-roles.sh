#!/bin/sh
# One database, one role and one schema a service; no role sees what is another's.
# Run once, by the database image, when its volume is made. The passwords stay in the
# environment: arguments show up in ps, and statements that fail in the log.
set -eu
export ORDERS_DB_PASSWORD="${ORDERS_DB_PASSWORD:-orders}" PAYMENTS_DB_PASSWORD="${PAYMENTS_DB_PASSWORD:-payments}"
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
SET log_min_error_statement = panic;
\getenv orders_password ORDERS_DB_PASSWORD
\getenv payments_password PAYMENTS_DB_PASSWORD

REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE ROLE orders LOGIN PASSWORD :'orders_password';
CREATE SCHEMA orders AUTHORIZATION orders;
ALTER ROLE orders SET search_path = orders;

CREATE ROLE payments LOGIN PASSWORD :'payments_password';
CREATE SCHEMA payments AUTHORIZATION payments;
ALTER ROLE payments SET search_path = payments;
SQL
