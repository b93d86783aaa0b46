#!/bin/sh
# Writes the list of host names that nginx responds to, and starts nginx. The names are those of the loopback interface
# and ALLOWED_HOSTS, comma separated and without ports. If HTTPS_PORT is set, nginx serves HTTPS on port 8443, which is
# published as HTTPS_PORT, with the certificate in /run/tls.
set -eu

names=$(printf '%s\n' "localhost,127.0.0.1,[::1],${ALLOWED_HOSTS:-}" | tr 'A-Z, ' 'a-z\n\n' | grep . | sort -u)
if bad=$(printf '%s\n' "$names" | grep -vxE '[a-z0-9._-]+|\[[0-9a-f:.]+\]'); then
	echo "ALLOWED_HOSTS: not a host name (it must not contain a port, and IPv6 addresses must be in brackets):" >&2
	echo "$bad" >&2
	exit 1
fi
printf '%s\n' "$names" | sed 's/.*/"&" 1;/' > /tmp/allowed-hosts.conf

# Variables that are set with maps exist in every phase of a request. Those of `set` do not when nginx refuses a TRACE.
suffix=
[ "${HTTPS_PORT:-443}" = 443 ] || suffix=":$HTTPS_PORT"
cat > /tmp/variables.conf <<END
map "" \$gateway { default "${GATEWAY:-gateway:8080}"; }
map "" \$https_port { default "${HTTPS_PORT:-}"; }
map "" \$https_suffix { default "$suffix"; }
END

{
	[ -z "${HTTPS_PORT:-}" ] || cat <<'END'
listen 8443 ssl default_server;
http2 on;
http2_max_concurrent_streams 100;
ssl_certificate /run/tls/cert.pem;
ssl_certificate_key /run/tls/key.pem;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:2m;
ssl_session_tickets off;
END
} > /tmp/server.conf

exec nginx -g 'daemon off;'
