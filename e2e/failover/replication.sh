#!/bin/bash
# Lets standbys connect. The database image runs this script when it creates its volume.
set -euo pipefail
echo 'host replication all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
