#!/usr/bin/env bash
# Makes sure that the named base images can be had, and writes to .env which ones
# they are: what the user has chosen, the official image, or, where no registry can
# be reached, a stand-in made from Debian packages.
#
#   deploy/images/ensure.sh postgres rabbitmq nginx golang browser node
set -euo pipefail
cd "$(dirname "$0")/../.."

facts() { # facts NAME: sets what is known of an image (no arrays by name: bash 3 has none)
	case "$1" in
	postgres) variable=POSTGRES_IMAGE official=postgres:17 standin=gozon-standin/postgres:17 folder=postgres ;;
	rabbitmq) variable=RABBITMQ_IMAGE official=rabbitmq:4.0-management standin=gozon-standin/rabbitmq:4.0 folder=rabbitmq ;;
	nginx) variable=NGINX_IMAGE official=nginx:1.26 standin=gozon-standin/nginx:1.26 folder=nginx ;;
	golang) variable=GO_IMAGE official=golang:1.26 standin=gozon-standin/golang:1.26 folder= ;;
	browser) variable=BROWSER_IMAGE official=chromedp/headless-shell:stable standin=gozon-standin/browser:1 folder=browser ;;
	node) variable=NODE_IMAGE official=node:22-slim standin=gozon-standin/browser:1 folder=browser ;;
	*) say "unknown image $1"; exit 2 ;;
	esac
}
base=gozon-standin/base:trixie

touch .env

say() { printf '%s\n' "$*" >&2; }

recipe() { # the hash of all that the stand-in is made of
	{
		cat deploy/images/ensure.sh
		if [ -n "$folder" ]; then cat "deploy/images/$folder"/*; else go version; fi
	} | sha256sum | cut -c1-16
}

has() { # has IMAGE RECIPE
	[ "$(docker image inspect -f '{{index .Config.Labels "gozon.recipe"}}' "$1" 2>/dev/null)" = "$2" ]
}

make_base() {
	docker image inspect "$base" >/dev/null 2>&1 && return
	if ! command -v mmdebstrap >/dev/null; then
		say 'installing mmdebstrap, which makes the stand-ins'
		sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
		$sudo apt-get update -qq
		$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
	fi
	mmdebstrap --quiet --variant=minbase --include=ca-certificates trixie - | docker import - "$base" >/dev/null
}

make_golang() { # the base, this machine's Go, and the authorities that this machine trusts
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

make_standin() {
	local want log
	want=$(recipe)
	has "$standin" "$want" && return
	say "no registry gives $official: making the stand-in $standin from Debian packages"
	make_base
	if [ -z "$folder" ]; then
		make_golang "$standin" "$want"
		return
	fi
	log=$(mktemp)
	if ! DOCKER_BUILDKIT=0 docker build --label "gozon.recipe=$want" -t "$standin" "deploy/images/$folder" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		say "the stand-in $standin could not be made"
		return 1
	fi
	rm -f "$log"
}

pids=
for name in "$@"; do
	facts "$name"
	chosen=${!variable:-}
	[ -n "$chosen" ] || chosen=$(sed -n "s/^$variable=//p" .env | tail -n 1)
	case "$chosen" in
	"")
		if docker image inspect "$official" >/dev/null 2>&1 || docker pull -q "$official" >/dev/null 2>&1; then
			continue # it is the default
		fi
		;;
	"$standin") ;;
	*) continue ;; # the user's own
	esac
	# The first makes the base; after that they do not need each other.
	if docker image inspect "$base" >/dev/null 2>&1; then
		make_standin &
		pids="$pids $!"
	else
		make_standin
	fi
	grep -q "^$variable=" .env || echo "$variable=$standin" >> .env
done
for pid in $pids; do wait "$pid"; done
