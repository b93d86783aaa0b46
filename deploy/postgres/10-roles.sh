#!/bin/bash
# Creates the roles and schemas. The database image runs this script once, when it creates its volume. The statements
# are piped, because arguments are visible in ps.
set -euo pipefail
/roles.sh | psql -qX -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB"
