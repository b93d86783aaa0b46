# Commands to run, test and check the shop. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# MODULES limits lint, fmt, vulncheck and test-modules to some Go modules: make lint MODULES="orders e2e"
SERVICES        := orders payments gateway
TESTED_MODULES   = $(or $(MODULES),shared $(SERVICES))
CHECKED_MODULES  = $(or $(MODULES),shared $(SERVICES) e2e e2e/yardsticks)

COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
ENSURE  := deploy/images/ensure.sh
BIN     := $(CURDIR)/.bin

# Exports the names of the base images that .env sets.
define image_env
[ ! -f .env ] || eval "$$(sed -n 's/^\([A-Z]*_IMAGE=.*\)/export \1/p' .env)";
endef

# The environment of tests. If this machine is itself a container, the containers of the tests are reached at
# 127.0.0.1. If the image of Ryuk, which removes leftover containers, is not available, Ryuk is disabled.
define test_env
$(image_env) \
export COMPOSE="$(COMPOSE)"; \
[ ! -e /.dockerenv ] || export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1; \
docker image inspect testcontainers/ryuk:0.13.0 >/dev/null 2>&1 || docker pull -q testcontainers/ryuk:0.13.0 >/dev/null 2>&1 || export TESTCONTAINERS_RYUK_DISABLED=true;
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: docker
docker:
	@docker info >/dev/null 2>&1 || { echo 'Cannot connect to Docker. Is the engine running, and do you have access to it?' >&2; exit 1; }

# TLS=1 adds HTTPS to the compose files that are used.
ifdef TLS
up: export COMPOSE_FILE := $(or $(COMPOSE_FILE),$(shell sed -n 's/^COMPOSE_FILE=//p' .env 2>/dev/null),docker-compose.yml):deploy/tls.yml
endif

.PHONY: up
up: docker ## build and start the shop at http://localhost; with TLS=1, at https://localhost
	@$(ENSURE) postgres rabbitmq nginx golang
	@[ -z "$(TLS)" ] || deploy/certificate.sh
	@restart=$$(deploy/secrets.sh); set -x; $(COMPOSE) up -d --build $$restart
	@deploy/wait.sh "$(COMPOSE)"

.PHONY: rotate
rotate: docker ## replace the passwords of the running shop, or one of them: make rotate SECRET=orders_db_password
	@deploy/rotate.sh "$(COMPOSE)" $(SECRET)

.PHONY: down
down: docker ## stop the shop, keep its data
	$(COMPOSE) down

.PHONY: clean
clean: docker ## stop the shop and delete its data
	$(COMPOSE) down --volumes --remove-orphans

.PHONY: logs
logs: docker ## follow the logs of all services
	$(COMPOSE) logs -f --tail=100

.PHONY: ps
ps: docker ## show the containers of the shop
	$(COMPOSE) ps

.PHONY: test
test: docker test-modules test-frontend test-e2e ## run all tests (a running shop is not affected)

# -count=1: Go's test cache does not track the files in docs/ and in other modules that tests read.
.PHONY: test-modules
test-modules: docker ## test the Go modules with real PostgreSQL and RabbitMQ
	@$(ENSURE) postgres pgbouncer rabbitmq
	@$(test_env) for m in $(TESTED_MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go test -race -count=1 -timeout 15m ./...); done

.PHONY: test-frontend
test-frontend: docker ## test the JavaScript modules of the web page
	@if command -v node >/dev/null; then cd frontend && node --test test/*.test.js; \
	else $(ENSURE) node; $(test_env) docker run --rm -v "$(CURDIR)/frontend:/frontend:ro" -w /frontend "$${NODE_IMAGE:-$$(deploy/images/official.sh node)}" sh -c "node --test test/*.test.js"; fi

.PHONY: test-e2e
test-e2e: docker ## test the whole shop from outside, and the web page in a browser
	@$(ENSURE) postgres pgbouncer rabbitmq nginx golang browser
	@$(test_env) cd e2e && GOWORK=off go test -count=1 -tags e2e -timeout 25m ./...

.PHONY: faults
faults: docker ## kill each part of a separate shop under load, then audit the money
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/faults

# FROM is the revision to update from and to go back to; the default is the previous release, if there is one.
.PHONY: rolling
rolling: FROM ?= $(shell git describe --tags --abbrev=0 HEAD^ 2>/dev/null)
rolling: docker ## restart, update and downgrade a separate shop under load, replica by replica: make rolling FROM=v1.2.0
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/rolling -from "$(FROM)"

.PHONY: overload
overload: docker ## offer a separate shop four times the orders that it can carry, and check what it does
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/overload

.PHONY: bench
bench: docker ## measure the figures of docs/performance.md, each against a yardstick in the same run
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/bench

.PHONY: images
images: docker ## build all images; an image of a service must be smaller than 25 MB
	@$(ENSURE) nginx golang
	@$(image_env) for image in $(SERVICES) frontend; do \
		docker build -q --build-arg GO_IMAGE --build-arg NGINX_IMAGE --target $$image -t gozon-check/$$image . >/dev/null; \
		size=$$(docker image inspect -f '{{.Size}}' gozon-check/$$image); \
		echo "$$image: $$size bytes"; \
		[ $$image = frontend ] || [ $$size -lt 25000000 ] || { echo "the image of $$image is too large" >&2; exit 1; }; \
	done

# Dependabot updates deploy/images/official.Dockerfile; this copies its pins to the files that repeat them.
.PHONY: pins
pins: ## copy the pinned images to where they are used; REFRESH=true: of the current digests
	@deploy/images/pins.sh $(if $(REFRESH),refresh)

.PHONY: lint
lint: $(BIN)/golangci-lint ## lint the Go modules
	@for m in $(CHECKED_MODULES); do echo "== $$m"; (cd $$m && GOWORK=off $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## format the Go modules
	@for m in $(CHECKED_MODULES); do (cd $$m && GOWORK=off $(BIN)/golangci-lint fmt --config $(CURDIR)/.golangci.yml); done

.PHONY: actionlint
actionlint: $(BIN)/actionlint ## lint the GitHub workflows
	@$(BIN)/actionlint .github/workflows/*.yml

.PHONY: vulncheck
vulncheck: $(BIN)/govulncheck ## search the Go modules for known vulnerabilities (needs vuln.go.dev)
	@for m in $(CHECKED_MODULES); do echo "== $$m"; (cd $$m && GOWORK=off $(BIN)/govulncheck -tags e2e ./...); done

# The jobs of .github/workflows/ci.yml run the same targets in parallel, and vulncheck. vulncheck is not part of ci
# because ci must also run where vuln.go.dev, the vulnerability database, is not reachable.
.PHONY: ci
ci: actionlint lint test images ## run all checks of a change

# Tools are installed into .bin at pinned versions.
define install
@mkdir -p $(BIN)
GOBIN=$(BIN) GOWORK=off go install $(1)
@touch $@
endef

$(BIN)/golangci-lint: Makefile
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0)

$(BIN)/actionlint: Makefile
	$(call install,github.com/rhysd/actionlint/cmd/actionlint@v1.7.9)

$(BIN)/govulncheck: Makefile
	$(call install,golang.org/x/vuln/cmd/govulncheck@v1.9.0)
