#!/bin/sh
# Prints an official image as official.Dockerfile pins it: deploy/images/official.sh postgres
set -eu
image=$(sed -n "s/^FROM \(.*\) AS $1\$/\1/p" "$(dirname "$0")/official.Dockerfile")
[ -n "$image" ] || { echo "unknown image $1" >&2; exit 2; }
echo "$image"
