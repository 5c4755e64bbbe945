# kubectl-infer: `make` lists the targets. Each says what it does while it does it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN      := bin
PROGRAMS := kubectl-infer kubectl-infer-sandbox body-router endpoint-picker model-server-sim
GOBUILD  := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w"
PACKAGES := ./cmd/... ./pkg/... ./picker/... ./plugin/...
# Two cores: the end-to-end packages start real servers, one package at a time.
E2E      := ./e2e/...

.PHONY: help demo test lint bench soak build assets unit e2e clean tools

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build assets ## a canary promoted and one rolled back, on a real API server and a real Envoy (about 2 min)
	@echo "== demo: two rollouts under live traffic"
	@time e2e/demo/run.sh $(BIN)

test: build assets unit e2e ## everything CI tests: unit with the race detector, CLI sessions, real Envoy, sandbox

unit: ## unit tests with the race detector
	@echo "== unit tests, race detector on"
	@go test -race -shuffle=on $(PACKAGES)

e2e: build assets ## CLI sessions, data plane on real Envoy, cluster tests on the sandbox
	@echo "== end-to-end tests on real parts"
	@go test -p 1 -count=1 -timeout 20m $(E2E)

lint: tools ## gofumpt, go vet, staticcheck
	@echo "== gofumpt"; out=$$($(BIN)/tools/gofumpt -l cmd pkg picker plugin e2e); test -z "$$out" || { echo "not formatted:"; echo "$$out"; echo "hint: bin/tools/gofumpt -w FILE"; exit 1; }
	@echo "== go vet"; go vet ./...
	@echo "== staticcheck"; $(BIN)/tools/staticcheck ./...

bench: build assets ## benchmarks, each beside a floor measured in the same run
	@echo "== benchmarks"
	@go test -run '^$$' -bench . -benchmem $(PACKAGES)

soak: build assets ## long campaigns, in slices (SOAK_ROUNDS, default 10): crash matrix, restarts, differential tests
	@echo "== soak"
	@go test -count=$${SOAK_ROUNDS:-10} -timeout 0 -run 'Crash' ./e2e/cluster/ ./pkg/rollout/

build: ## the programs, into bin/
	@echo "== build $(PROGRAMS)"
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do $(GOBUILD) -o $(BIN)/$$p ./cmd/$$p; done

assets: build ## find or obtain kube-apiserver, kubectl, etcd, Envoy and CRDs (cached; about 5 min the first time)
	@echo "== assets"
	@$(BIN)/kubectl-infer-sandbox assets

tools:
	@echo "== lint tools, pinned in tools/go.mod"
	@mkdir -p $(BIN)/tools
	@cd tools && go build -o ../$(BIN)/tools/gofumpt mvdan.cc/gofumpt && go build -o ../$(BIN)/tools/staticcheck honnef.co/go/tools/cmd/staticcheck

clean: ## remove what make built; the asset cache stays
	@echo "== clean"; rm -rf $(BIN)
