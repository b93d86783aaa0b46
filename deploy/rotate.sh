#!/usr/bin/env bash
# Replaces passwords of the running shop by random ones, without a restart. The services read them for each new
# connection, and open connections continue. The arguments are the compose command and the names of the passwords;
# without names, all passwords are replaced.
#
# A file must be written in place. The containers would not see one that replaces it, because each file is mounted.
set -euo pipefail
cd "$(dirname "$0")/.."
compose=$1
shift
dir=${SECRETS_DIR:-$(sed -n 's/^SECRETS_DIR=//p' .env | tail -n 1)}
[ -d "$dir" ] || { echo 'There are only development passwords. Run make up first.' >&2; exit 1; }
[ $# -gt 0 ] || set -- $(cd "$dir" && ls -d *_password)

# The password is piped, because arguments are visible in ps. A statement that fails is not logged.
change_role() {
	printf 'SET log_min_error_statement = panic;\nALTER ROLE "%s" PASSWORD '"'%s'"';\n' "$1" "$2" |
		$compose exec -T postgres psql -qX -v ON_ERROR_STOP=1 -U gozon -d gozon
}

for name in "$@"; do
	[ -f "$dir/$name" ] || { echo "There is no $dir/$name." >&2; exit 1; }
	password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
	case "$name" in
	*_db_password) change_role "${name%_db_password}" "$password" ;;
	esac
	printf '%s\n' "$password" > "$dir/$name"
	case "$name" in
	*_amqp_password) $compose exec -T rabbitmq /start.sh reload ;; # it reads the file
	esac
	echo "replaced $name"
done
