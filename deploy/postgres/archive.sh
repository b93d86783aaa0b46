#!/bin/bash
# Archives the write-ahead log of PostgreSQL, compressed, and reads it for a recovery. Each cluster has a folder of
# its own, because clusters use the same file names.
#
#   archive.sh put FILE PATH
#   archive.sh get FILE PATH
set -euo pipefail
cluster=$(pg_controldata -D "$PGDATA" | sed -n 's/^Database system identifier: *//p')
archived=/var/lib/postgresql/archive/$cluster/$2.gz
case "$1" in
put)
	mkdir -p "${archived%/*}"
	gzip -1 < "$3" > "$archived.new"
	sync "$archived.new"
	mv "$archived.new" "$archived"
	;;
get)
	[ -f "$archived" ] && gzip -dc "$archived" > "$3"
	;;
esac
