# What a developer does with kvstore. `make` alone explains the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SEEDS    ?= 300# of the simulated cluster
FROM     ?= 1# the first of them
FUZZTIME ?= 10s# for each fuzz target
FOR      ?= 10m# of faults in a real cluster
TOOL     := go tool -modfile=tests/tools.mod

.PHONY: build test race sim chaos fuzz lint bench profile cover check help

build: ## build ./kvstore
	go build -o kvstore .

test: ## run all tests, real clients too; installs what they need and is missing
	tests/install
	go test ./...

race: ## run the tests of the packages under the race detector
	go test -race -timeout 10m $$(go list ./... | grep -v '/tests/')

# Two processes, each with one processor, take every other seed. Each says once a minute how far it is; what was
# stopped goes on with the seed after that as FROM.
sim: ## run the simulated cluster; SEEDS=300 says how many schedules, FROM=1 which is the first
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; failed=0; go test -c -o "$$dir/sim" ./tests/sim; cd tests/sim; \
	run() { "$$dir/sim" -test.run '^TestSim$$' -test.timeout 0 -stride=2 "$$@"; }; \
	run -seed=$$(($(FROM) + 1)) -seeds=$$(($(SEEDS) / 2)) & \
	run -seed=$(FROM) -seeds=$$((($(SEEDS) + 1) / 2)) || failed=1; \
	wait $$! || failed=1; exit $$failed

chaos: ## break a real cluster, its nodes in network namespaces, under real clients; FOR=10m says how long
	tests/install
	go test ./tests/chaos -run Chaos -count=1 -v -timeout 0 -for=$(FOR)

fuzz: ## run every fuzz target for FUZZTIME=10s
	grep -rno --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file _ func; do \
		echo "== $$(dirname "$$file") $${func#func }"; \
		go test "$$(dirname "$$file")" -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME); \
	done

lint: ## gofmt, vet, modernizers, staticcheck, govulncheck
	tests/lint

bench: ## compare with redis-server, side by side, and print the table
	tests/install
	go run ./benchmarks

profile: ## renew default.pgo, by which the compiler knows what is called most, from short runs of the benchmarks
	tests/install
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; GOFLAGS=-trimpath go run ./benchmarks -short -rounds 1 -profile "$$dir"; \
	go tool pprof -proto "$$dir"/*.cpu.pprof > "$$dir"/merged; mv "$$dir"/merged default.pgo

cover: ## write coverage.out and print the total
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -func=coverage.out | tail -1

check: lint test race sim ## everything that must hold before a change is merged

help: ## print this
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-7s %s\n", $$1, $$2 }'
