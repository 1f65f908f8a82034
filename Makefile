# Kairos. `make` lists the targets.
GO       ?= go
BIN      := bin
TOOLS    := $(GO) tool -modfile=tools/go.mod
PACKAGES := ./...

.DEFAULT_GOAL := help
.PHONY: help demo dev build test race fuzz bench bench-dto lint verify generate tidy setup

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing: Postgres, Redis, Chromium (asks nothing as root on Debian, otherwise names it)
	@sh tools/setup.sh

build: ## Build bin/kairos
	$(GO) build -o $(BIN)/kairos ./cmd/kairos

demo: setup-run build ## Run the main job end to end on local parts; ARGS="--exit" stops afterwards
	$(BIN)/kairos demo $(ARGS)

dev: setup-run build ## Run everything in one process on local parts
	$(BIN)/kairos dev $(ARGS)

.PHONY: setup-run
setup-run:
	@sh tools/setup.sh run

test: setup ## Run all tests (installs what they need when it can)
	$(GO) test -timeout 20m $(PACKAGES)

race: setup ## Run the tests of the concurrent packages under the race detector
	$(GO) test -race -timeout 30m ./internal/... ./delivery/... ./api/... ./analysis/... ./creation/... ./orchestration/...

fuzz: ## Run every fuzz target for FUZZTIME (default 30s)
	@sh tools/fuzz.sh $${FUZZTIME:-30s}

bench: setup ## Measure the main paths beside their ceilings; ARGS="--list", "--only all", "--only sendgrid --size small"
	$(GO) run ./cmd/kairos-bench $(ARGS)

bench-dto: build ## Measure the error rates, power, lift, speed and memory of delivery times (half an hour); ARGS="--markdown"
	$(BIN)/kairos dto evaluate --bench --rhythms dto/testdata/replay_dev.csv.gz $(ARGS)

chaos: setup ## Break a running installation on purpose and count what came of it; ARGS="--size full --only kill-sender --seed 7"; make repro-NAME SEED=7 repeats one
	$(GO) run ./cmd/kairos-chaos $(ARGS)

SEED ?= 1
SIZE ?= short
repro-%: setup
	$(GO) run ./cmd/kairos-chaos --only $* --seed $(SEED) --size $(SIZE) --keep $(ARGS)

lint: ## Run the linters
	$(TOOLS) golangci-lint run --allow-parallel-runners $(PACKAGES)

generate: ## Generate the dashboard's templates and the API reference
	$(TOOLS) templ generate -path api/dashboard

verify: ## Build, vet, import law, schema and OpenAPI drift, generated code fresh, lint
	$(GO) build $(PACKAGES)
	$(GO) vet $(PACKAGES)
	$(GO) test -run 'TestImportLaw|TestOnlyTheQueueImportsAsynq|TestSchemaDrift|TestOpenAPIGolden' . ./api ./migrations
	@sh tools/fresh.sh "$(TOOLS)"
	$(MAKE) lint

tidy: ## Tidy both module files
	$(GO) mod tidy
	cd tools && $(GO) mod tidy
