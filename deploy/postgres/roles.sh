#!/bin/bash
# Prints the statements that create the roles and schemas, or repair them. They are executed at each start: by psql when
# the image creates its volume (10-roles.sh), from then on in single-user mode (start.sh), where a statement ends with a
# semicolon and an empty line.
#
# A service connects as a role that owns nothing and may do what the migrations grant. Migrations run as the owner of
# the schema. In volumes of earlier versions, the service's role is the owner, and everything that it owns is moved.
#
# Statements that fail are not logged, because they may contain a password.
set -euo pipefail

# role NAME CONNECTIONS SCHEMA
role() {
	local password
	password=$(/password.sh "$1_db_password")
	cat <<-SQL
		DO \$\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') THEN CREATE ROLE $1; END IF; END \$\$;

		ALTER ROLE $1 LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT $2 PASSWORD '${password//\'/\'\'}';

		ALTER ROLE $1 SET search_path = $3;

		GRANT CONNECT ON DATABASE "$POSTGRES_DB" TO $1;

	SQL
}

cat <<-SQL
	SET log_min_error_statement = panic;

	ALTER ROLE "$POSTGRES_USER" PASSWORD NULL;

	REVOKE ALL ON DATABASE "$POSTGRES_DB", postgres, template1 FROM PUBLIC;

	REVOKE ALL ON SCHEMA public FROM PUBLIC;

SQL
for service in orders payments; do
	# Of max_connections=200: seven replicas of a service with 11 connections each, and migrations.
	role "$service" 80 "$service"
	role "${service}_owner" 10 "$service"
	cat <<-SQL
		CREATE SCHEMA IF NOT EXISTS $service;

		ALTER SCHEMA $service OWNER TO ${service}_owner;

		REASSIGN OWNED BY $service TO ${service}_owner;

		GRANT USAGE ON SCHEMA $service TO $service;

	SQL
done
