#!/bin/bash
# Creates the role of standbys. The database image runs this script when it creates its volume.
set -euo pipefail
psql -qX -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<SQL
CREATE ROLE standby REPLICATION LOGIN PASSWORD '$STANDBY_PASSWORD';
SQL
