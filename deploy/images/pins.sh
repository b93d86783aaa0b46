#!/usr/bin/env bash
# Copies the pins of official.Dockerfile to the files that must repeat them. With "refresh", it first replaces each
# digest with the one that the tag has now; this pulls the images, so it needs a registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
pins=deploy/images/official.Dockerfile

while read -r _ image _ name; do
	tag=${image%@*}
	if [ "${1:-}" = refresh ]; then
		digest=$(docker pull "$tag" | sed -n 's/^Digest: //p')
		sed -i.old "s|^FROM $image AS|FROM $tag@$digest AS|" "$pins"
		image=$tag@$digest
	fi
	# Repeated as a default: ${POSTGRES_IMAGE:-image} in Compose files, ARG GO_IMAGE=image in the Dockerfile.
	sed -i.old -E "s#(_IMAGE(:-|=))${tag%:*}:[A-Za-z0-9._-]+(@sha256:[0-9a-f]+)?#\1$image#" \
		Dockerfile docker-compose.yml deploy/pooler.yml e2e/failover/compose.yml
	echo "$name: $image"
done < <(grep '^FROM ' "$pins")
rm -f ./*.old deploy/*.old deploy/images/*.old e2e/failover/*.old
