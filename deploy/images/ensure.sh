#!/usr/bin/env bash
# Makes the named base images available. In order of preference, an image is the one that
# the user has set in the environment or in .env, the official one, or a stand-in that this
# script builds from Debian packages. The stand-in is used if no registry is reachable; its
# name is written to .env.
#
#   deploy/images/ensure.sh postgres pgbouncer rabbitmq nginx golang browser node
set -euo pipefail
cd "$(dirname "$0")/../.."

describe() { # describe NAME sets the variables that describe an image (bash 3 has no associative arrays)
	case "$1" in
	postgres) variable=POSTGRES_IMAGE standin=gozon-standin/postgres:17 folder=postgres ;;
	pgbouncer) variable=PGBOUNCER_IMAGE standin=gozon-standin/pgbouncer:1.24 folder=pgbouncer ;;
	rabbitmq) variable=RABBITMQ_IMAGE standin=gozon-standin/rabbitmq:4.0 folder=rabbitmq ;;
	nginx) variable=NGINX_IMAGE standin=gozon-standin/nginx:1.26 folder=nginx ;;
	golang) variable=GO_IMAGE standin=gozon-standin/golang:1.26 folder= ;;
	browser) variable=BROWSER_IMAGE standin=gozon-standin/browser:1 folder=browser ;;
	node) variable=NODE_IMAGE standin=gozon-standin/browser:1 folder=browser ;;
	*) log "unknown image $1"; exit 2 ;;
	esac
	official=$(deploy/images/official.sh "$1")
}
base=gozon-standin/base:trixie

touch .env

log() { printf '%s\n' "$*" >&2; }

recipe() { # prints a hash of everything that the stand-in is built from
	{
		cat deploy/images/ensure.sh
		if [ -n "$folder" ]; then cat "deploy/images/$folder"/*; else go version; fi
	} | sha256sum | cut -c1-16
}

is_current() { # is_current IMAGE RECIPE reports whether the image exists and was built from the recipe
	[ "$(docker image inspect -f '{{index .Config.Labels "gozon.recipe"}}' "$1" 2>/dev/null)" = "$2" ]
}

build_base() {
	docker image inspect "$base" >/dev/null 2>&1 && return
	if ! command -v mmdebstrap >/dev/null; then
		log 'installing mmdebstrap to build the stand-in images'
		sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
		$sudo apt-get update -qq
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
	fi
	mmdebstrap --quiet --variant=minbase --include=ca-certificates trixie - | docker import - "$base" >/dev/null
}

build_golang() { # adds this machine's Go and CA certificates to the base image
	local container tar
	tar=$(mktemp)
	container=$(docker create "$base" true)
	docker export -o "$tar" "$container"
	docker rm "$container" >/dev/null
	tar --append -f "$tar" --exclude=./test --transform 's,^\.,usr/local/go,' -C "$(go env GOROOT)" .
	tar --append -f "$tar" --transform 's,^\.,usr/local/share,' -C /etc/ssl/certs ./ca-certificates.crt
	docker import -c 'ENV GOPATH=/go SSL_CERT_FILE=/usr/local/share/ca-certificates.crt PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
		-c "LABEL gozon.recipe=$2" "$tar" "$1" >/dev/null
	rm -f "$tar"
}

build_standin() {
	local want output
	want=$(recipe)
	is_current "$standin" "$want" && return
	log "$official is not available, building the stand-in $standin from Debian packages"
	build_base
	if [ -z "$folder" ]; then
		build_golang "$standin" "$want"
		return
	fi
	output=$(mktemp)
	if ! DOCKER_BUILDKIT=0 docker build --label "gozon.recipe=$want" -t "$standin" "deploy/images/$folder" >"$output" 2>&1; then
		tail -n 40 "$output" >&2
		log "building the stand-in $standin failed"
		return 1
	fi
	rm -f "$output"
}

pids=
for name in "$@"; do
	describe "$name"
	chosen=${!variable:-}
	[ -n "$chosen" ] || chosen=$(sed -n "s/^$variable=//p" .env | tail -n 1)
	case "$chosen" in
	"")
		if docker image inspect "$official" >/dev/null 2>&1 || docker pull -q "$official" >/dev/null 2>&1; then
			continue # the official image is the default
		fi
		;;
	"$standin") ;;
	*) continue ;; # chosen by the user
	esac
	# The first build creates the base image. Once it exists, the builds run in parallel.
	if docker image inspect "$base" >/dev/null 2>&1; then
		build_standin &
		pids="$pids $!"
	else
		build_standin
	fi
	grep -q "^$variable=" .env || echo "$variable=$standin" >> .env
done
for pid in $pids; do wait "$pid"; done
