# All that one does with the shop. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULES := shared orders payments gateway
COMPOSE := $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
ENSURE  := deploy/images/ensure.sh
BIN     := $(CURDIR)/.bin

# What tests need to know: the images that .env names, and where containers are
# found when this machine is itself a container.
define test_env
[ ! -f .env ] || eval "$$(sed -n 's/^\([A-Z]*_IMAGE=.*\)/export \1/p' .env)"; \
export COMPOSE="$(COMPOSE)"; \
[ ! -e /.dockerenv ] || export TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1; \
docker image inspect testcontainers/ryuk:0.13.0 >/dev/null 2>&1 || docker pull -q testcontainers/ryuk:0.13.0 >/dev/null 2>&1 || export TESTCONTAINERS_RYUK_DISABLED=true;
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: docker
docker:
	@docker info >/dev/null 2>&1 || { echo 'Docker does not answer: is the engine running, and may you use it?' >&2; exit 1; }

.PHONY: up
up: docker ## build and start the shop at http://localhost
	@$(ENSURE) postgres rabbitmq nginx golang
	@deploy/secrets.sh
	$(COMPOSE) up -d --build
	@deploy/wait.sh "$(COMPOSE)"

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
test: docker test-modules test-frontend test-e2e ## run every test (never touches a shop that is running)

# -count=1: tests read the goldens and docs/ of other modules, which Go's cache does not watch.
.PHONY: test-modules
test-modules: docker ## test each Go module, on real PostgreSQL and RabbitMQ
	@$(ENSURE) postgres rabbitmq
	@$(test_env) for m in $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go test -race -count=1 -timeout 15m ./...); done

.PHONY: test-frontend
test-frontend: docker ## test the web page's modules
	@if command -v node >/dev/null; then cd frontend && node --test test/*.test.js; \
	else $(ENSURE) node; $(test_env) docker run --rm -v "$(CURDIR)/frontend:/frontend:ro" -w /frontend "$${NODE_IMAGE:-node:22-slim}" sh -c "node --test test/*.test.js"; fi

.PHONY: test-e2e
test-e2e: docker ## test the whole shop from outside, and the page in a browser
	@$(ENSURE) postgres rabbitmq nginx golang browser
	@$(test_env) cd e2e && GOWORK=off go test -count=1 -tags e2e -timeout 25m ./...

.PHONY: faults
faults: docker ## kill every part of a shop of its own while orders come in, then audit the money
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/faults

.PHONY: bench
bench: docker ## measure orders a second against PostgreSQL doing the same SQL one by one
	@$(ENSURE) postgres rabbitmq nginx golang
	@$(test_env) cd e2e && GOWORK=off go run ./cmd/bench

.PHONY: lint
lint: $(BIN)/golangci-lint ## lint every Go module
	@for m in $(MODULES) e2e; do echo "== $$m"; (cd $$m && $(BIN)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...); done

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## format every Go module
	@for m in $(MODULES) e2e; do (cd $$m && $(BIN)/golangci-lint fmt --config $(CURDIR)/.golangci.yml); done

.PHONY: actionlint
actionlint: ## check the workflows
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.9 .github/workflows/*.yml

$(BIN)/golangci-lint: Makefile
	@mkdir -p $(BIN)
	GOBIN=$(BIN) GOWORK=off go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	@touch $@
