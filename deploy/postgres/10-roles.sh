#!/bin/sh
# Creates a role and a schema for each service in one database. A role has no access to the
# schema of another. The database image runs this script once, when it creates its volume.
# psql reads the passwords from files, because arguments are visible in ps. Statements that
# fail are not logged, because they may contain a password.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
SET log_min_error_statement = panic;
\set orders_password `cat /run/secrets/orders_db_password`
\set payments_password `cat /run/secrets/payments_db_password`

REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE ROLE orders LOGIN PASSWORD :'orders_password';
CREATE SCHEMA orders AUTHORIZATION orders;
ALTER ROLE orders SET search_path = orders;

CREATE ROLE payments LOGIN PASSWORD :'payments_password';
CREATE SCHEMA payments AUTHORIZATION payments;
ALTER ROLE payments SET search_path = payments;
SQL
