#!/bin/sh
# Writes the list of host names that nginx responds to, and starts nginx. The names are those of the loopback interface
# and ALLOWED_HOSTS, comma separated and without ports.
set -eu

names=$(printf '%s\n' "localhost,127.0.0.1,[::1],${ALLOWED_HOSTS:-}" | tr 'A-Z, ' 'a-z\n\n' | grep . | sort -u)
if bad=$(printf '%s\n' "$names" | grep -vxE '[a-z0-9._-]+|\[[0-9a-f:.]+\]'); then
	echo "ALLOWED_HOSTS: not a host name (it must not contain a port, and IPv6 addresses must be in brackets):" >&2
	echo "$bad" >&2
	exit 1
fi
printf '%s\n' "$names" | sed 's/.*/"&" 1;/' > /tmp/allowed-hosts.conf

exec nginx -g 'daemon off;'
