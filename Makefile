# kubectl-infer: `make` lists the targets. Each says what it does while it does it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN      := bin
PROGRAMS := kubectl-infer kubectl-infer-sandbox body-router endpoint-picker model-server-sim
IMAGES   := body-router endpoint-picker model-server-sim
GOBUILD  := CGO_ENABLED=0 go build -trimpath -ldflags "-s -w"
PACKAGES := ./cmd/... ./pkg/... ./picker/... ./plugin/...
# Two cores: the end-to-end packages start real servers, one package at a time.
E2E      := ./e2e/...

.PHONY: help demo test lint bench soak build assets unit e2e clean tools peers gate-sim packers images release-check picker-sim picker-live sbom-tool

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build assets ## a canary promoted and one rolled back, on a real API server and a real Envoy (about 2 min)
	@echo "== demo: two rollouts under live traffic"
	@time e2e/demo/run.sh $(BIN)

test: build assets unit e2e ## everything CI tests: unit with the race detector, CLI sessions, real Envoy, sandbox

unit: ## unit tests with the race detector
	@echo "== unit tests, race detector on"
	@go test -race -shuffle=on $(PACKAGES)

e2e: build assets packers ## CLI sessions, data plane on real Envoy, cluster tests on the sandbox, OpenAI's clients
	@echo "== end-to-end tests on real parts"
	@go test -p 1 -count=1 -timeout 25m $(E2E)
	@echo "== OpenAI's clients for Go and Python against the simulated model server"
	@cd e2e/openai && go test -count=1 ./...

lint: tools ## gofumpt, go vet, staticcheck, links and snippets of the docs
	@echo "== gofumpt"; out=$$($(BIN)/tools/gofumpt -l cmd pkg picker plugin e2e tools); test -z "$$out" || { echo "not formatted:"; echo "$$out"; echo "hint: bin/tools/gofumpt -w FILE"; exit 1; }
	@echo "== go vet"; go vet -tags soak ./... && (cd e2e/openai && go vet ./...) && (cd tools/release && go vet ./...)
	@echo "== staticcheck"; $(BIN)/tools/staticcheck -tags soak ./...
	@echo "== links and snippets of the docs"; go test -count=1 ./e2e/docs

bench: build assets peers ## server CPU per request beside an echo floor and the reference, in one run; writes docs/benchmarks.md
	@echo "== benchmarks (about 10 minutes)"
	@go run ./e2e/bench --suite body-router --write docs/benchmarks.md
	@go run ./e2e/bench --suite endpoint-picker --write docs/benchmarks.md
	@go run ./e2e/bench --suite start --write docs/benchmarks.md

peers:
	@echo "== the reference body router and endpoint picker, pinned in e2e/peers (about 5 minutes the first time)"
	@e2e/peers/build.sh

gate-sim: ## healthy and harmed canaries by the thousand, for docs/gates.md; resumable
	@echo "== gate simulation (bin/gate-sim.jsonl keeps what is done)"
	@mkdir -p $(BIN)
	@go run ./e2e/gatesim --state $(BIN)/gate-sim.jsonl

picker-sim: ## ways to choose a model server on a simulated fleet, the table of docs/picker-quality.md (about 2 min)
	@echo "== picker simulation"
	@go run ./e2e/pickersim

picker-live: build assets peers ## the same ways live, with the real reference picker, in a sandbox (about 4 min)
	@echo "== ways to choose a model server, live"
	@e2e/pickerlive/run.sh $(BIN)

soak: build assets ## long campaigns (SOAK_ROUNDS, default 10): live gates, crash matrix, endings, restarts, hostile bodies, a million documents
	@echo "== soak"
	@go test -count=$${SOAK_ROUNDS:-10} -timeout 0 -run 'Crash' ./e2e/cluster/ ./pkg/rollout/
	@go test -tags soak -count=1 -timeout 0 -v -run 'SoakKilled|SoakCrash|SoakFailing' ./e2e/cluster
	@SOAK_ROUNDS=$${SOAK_ROUNDS:-10} go test -count=1 -timeout 0 -run 'EveryEnding' ./e2e/sandbox
	@go test -tags soak -count=1 -timeout 0 -run 'Soak' ./pkg/bodyrouter ./e2e/dataplane
	@e2e/gatelive/run.sh $(BIN) $${SOAK_ROUNDS:-10} $(BIN)/gate-live.jsonl
	@$(MAKE) picker-live

build: ## the programs, into bin/
	@echo "== build $(PROGRAMS)"
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do $(GOBUILD) -o $(BIN)/$$p ./cmd/$$p; done

assets: build ## find or obtain kube-apiserver, kubectl, etcd, Envoy, Prometheus and CRDs (cached; about 7 min the first time)
	@echo "== assets"
	@$(BIN)/kubectl-infer-sandbox assets
	@$(BIN)/kubectl-infer-sandbox assets prometheus
	@$(BIN)/kubectl-infer-sandbox assets envoy-extension-crds istio-crds agentgateway-crds monitor-crds tekton-crds argo-workflow-crds

tools:
	@echo "== lint tools, pinned in tools/go.mod"
	@mkdir -p $(BIN)/tools
	@cd tools && go build -o ../$(BIN)/tools/gofumpt mvdan.cc/gofumpt && go build -o ../$(BIN)/tools/staticcheck honnef.co/go/tools/cmd/staticcheck

packers: ## krew, its validator, and what packs archives, manifest and images
	@echo "== krew and tools/release, pinned in tools/release/go.mod"
	@mkdir -p $(BIN)/tools
	@cd tools/release && go build -o ../../$(BIN)/tools/release . \
	  && go build -o ../../$(BIN)/tools/krew sigs.k8s.io/krew/cmd/krew \
	  && go build -o ../../$(BIN)/tools/validate-krew-manifest sigs.k8s.io/krew/cmd/validate-krew-manifest

images: packers ## OCI archives of the in-cluster programs in dist/images, without a container engine
	@echo "== images of $(IMAGES)"
	@for arch in amd64 arm64; do for p in $(IMAGES); do \
	  GOOS=linux GOARCH=$$arch $(GOBUILD) -o dist/bin/linux_$$arch/$$p ./cmd/$$p; done; done
	@$(BIN)/tools/release images --bin dist/bin --out dist/images $(IMAGES)

sbom-tool: ## what lists the modules in a program, for a release
	@mkdir -p $(BIN)/tools
	@cd tools/sbom && go build -o ../../$(BIN)/tools/cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

release-check: packers sbom-tool ## a snapshot of the whole release, but for publishing and signing (about 10 min)
	@echo "== goreleaser, pinned in tools/goreleaser/go.mod (a few minutes the first time)"
	@cd tools/goreleaser && go build -o ../../$(BIN)/tools/goreleaser github.com/goreleaser/goreleaser/v2
	@$(BIN)/tools/goreleaser check
	@PATH=$(CURDIR)/$(BIN)/tools:$$PATH $(BIN)/tools/goreleaser release --snapshot --clean --skip=publish,sign
	@echo "== what is in the programs"
	@for f in dist/*.cdx.json; do echo "$$f: $$(grep -c '"type": "library"' $$f) modules"; done
	@test $$(ls dist/*.cdx.json | wc -l) -eq 8
	@echo "== krew manifest"
	@$(BIN)/tools/release manifest --dist dist --version v0.0.0 --url https://github.com/kubectl-infer/kubectl-infer/releases/download/v0.0.0
	@$(BIN)/tools/validate-krew-manifest -manifest dist/infer.yaml -skip-install
	@echo "== images, twice"
	@$(MAKE) --no-print-directory images | grep '^sha256' >dist/digests
	@$(MAKE) --no-print-directory images | grep '^sha256' | diff dist/digests -
	@cat dist/digests

clean: ## remove what make built; the asset cache stays
	@echo "== clean"; rm -rf $(BIN) dist dist-completions
