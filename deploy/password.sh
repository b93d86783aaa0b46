#!/bin/sh
# Prints the password in /run/secrets/$1. It refuses an empty one, and a development password, which everybody can read
# in the repository, if the shop may be reached from other machines.
set -eu
password=$(grep . "/run/secrets/$1") || { echo "/run/secrets/$1 contains no password" >&2; exit 1; }
case "${BIND_ADDR:-127.0.0.1}/$password" in
127.*/* | localhost/* | ::1/* | "[::1]"/*) ;;
*/development-*)
	echo "BIND_ADDR is $BIND_ADDR, and /run/secrets/$1 is a development password: make up makes random ones, or set BIND_ADDR to a loopback address" >&2
	exit 1
	;;
esac
printf '%s' "$password"
