#!/usr/bin/env bash
# Makes sure that the named base images can be had, and writes to .env which ones
# they are: what the user has chosen, the official image, or, where no registry can
# be reached, a stand-in made from Debian packages.
#
#   deploy/images/ensure.sh postgres rabbitmq nginx golang browser node
set -euo pipefail
cd "$(dirname "$0")/../.."

declare -A variable=([postgres]=POSTGRES_IMAGE [rabbitmq]=RABBITMQ_IMAGE [nginx]=NGINX_IMAGE [golang]=GO_IMAGE [browser]=BROWSER_IMAGE [node]=NODE_IMAGE)
declare -A official=([postgres]=postgres:17 [rabbitmq]=rabbitmq:4.0-management [nginx]=nginx:1.26 [golang]=golang:1.26 [browser]=chromedp/headless-shell:stable [node]=node:22-slim)
declare -A standin=([postgres]=gozon-standin/postgres:17 [rabbitmq]=gozon-standin/rabbitmq:4.0 [nginx]=gozon-standin/nginx:1.26 [golang]=gozon-standin/golang:1.26 [browser]=gozon-standin/browser:1 [node]=gozon-standin/browser:1)
declare -A folder=([postgres]=postgres [rabbitmq]=rabbitmq [nginx]=nginx [golang]=golang [browser]=browser [node]=browser)
base=gozon-standin/base:trixie

touch .env

say() { printf '%s\n' "$*" >&2; }

recipe() { # the hash of all that a stand-in is made of
	{
		cat deploy/images/ensure.sh
		[ ! -d "deploy/images/${folder[$1]}" ] || cat "deploy/images/${folder[$1]}"/*
		[ "$1" != golang ] || go version
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

make_standin() { # make_standin NAME
	local image=${standin[$1]} want log
	want=$(recipe "$1")
	has "$image" "$want" && return
	say "no registry gives ${official[$1]}: making the stand-in $image from Debian packages"
	make_base
	if [ "$1" = golang ]; then
		make_golang "$image" "$want"
		return
	fi
	log=$(mktemp)
	if ! DOCKER_BUILDKIT=0 docker build --label "gozon.recipe=$want" -t "$image" "deploy/images/${folder[$1]}" >"$log" 2>&1; then
		tail -n 40 "$log" >&2
		say "the stand-in $image could not be made"
		return 1
	fi
	rm -f "$log"
}

pids=()
for name in "$@"; do
	var=${variable[$name]}
	chosen=${!var:-}
	[ -n "$chosen" ] || chosen=$(sed -n "s/^$var=//p" .env 2>/dev/null | tail -n 1)
	case "$chosen" in
	"")
		if docker image inspect "${official[$name]}" >/dev/null 2>&1 || timeout 600 docker pull -q "${official[$name]}" >/dev/null 2>&1; then
			continue # it is the default
		fi
		;;
	"${standin[$name]}") ;;
	*) continue ;; # the user's own
	esac
	# The first makes the base; after that they do not need each other.
	if docker image inspect "$base" >/dev/null 2>&1; then
		make_standin "$name" & pids+=($!)
	else
		make_standin "$name"
	fi
	grep -q "^$var=" .env 2>/dev/null || echo "$var=${standin[$name]}" >> .env
done
for pid in "${pids[@]}"; do wait "$pid"; done
