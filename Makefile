# make check     what CI runs and a change must pass: formatting, vet, staticcheck, fixes, modules, race tests
# make test      the tests alone
# make fuzz      every fuzz target for FUZZTIME each
# make cover     how much of the statements of COVERED the tests reach, and that docs/coverage.md says why not more
# make bench     the micro-benchmarks of frame, messages and chunks
# make demo      a real move between real processes
# make sim       MOVES simulated moves under every fault, from a fresh seed
# make explore   every state of the core within the documented bounds (about a quarter of an hour, much memory)
# make chaos     KILLS real moves, each with a kill -9 at an aimed step (about forty minutes for 660)
# make tla       the TLA+ model, where Java is there
# make vuln      known vulnerabilities in what we call (SKIPPED where the database cannot be reached)
# make cross     build and vet for systems other than this one
# make licences  the licence of every module we are built with

GO       ?= go
FUZZTIME ?= 60s
MOVES    ?= 1000000
KILLS    ?= 660
# The slowest package drives real processes; the limit is for a hang, not for a slow machine.
TESTFLAGS ?= -race -timeout 9m

STATICCHECK = $(GO) tool -modfile=tools/go.mod staticcheck

.PHONY: check fmt vet staticcheck fix tidy test fuzz bench cover demo sim explore chaos tla vuln licences cross

check: fmt vet staticcheck fix tidy test

fmt:
	@echo "== gofmt"
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }

vet:
	@echo "== go vet"
	@$(GO) vet ./...

staticcheck:
	@echo "== staticcheck"
	@$(STATICCHECK) ./...

fix:
	@echo "== go fix"
	@out=$$($(GO) fix -diff ./... 2>&1); test -z "$$out" || { echo "$$out"; echo "go fix would change this"; exit 1; }

tidy:
	@echo "== go mod tidy"
	@$(GO) mod tidy -diff

test:
	@echo "== go test $(TESTFLAGS)"
	@$(GO) test $(TESTFLAGS) ./...

# First the share of inputs that each target of ./fuzz and below accepts; then go says the executions a second of each.
fuzz:
	@out=$$($(GO) test -count 1 -run '^(TestReplay|TestCanaries)$$' -v ./fuzz/...) || { echo "$$out"; exit 1; }; \
	  echo "$$out" | grep -E 'accepted|found:|^ok'
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    GO="$(GO)" .ci/fuzz $$pkg $$target $(FUZZTIME) || exit 1; \
	  done; \
	done

COVERED = frame proto0500 snapshot identity migration
COVERPROFILE ?= cover.out

cover:
	@$(GO) test -short -count=1 -coverprofile=$(COVERPROFILE) -coverpkg=$$(echo $(COVERED:%=./%) | tr ' ' ,) \
	  $(COVERED:%=./%) ./proto0500/jsonform ./fuzz/... ./internal/sim/... > $(COVERPROFILE).log || { cat $(COVERPROFILE).log; exit 1; }
	@$(GO) run ./internal/cover $(COVERPROFILE)

bench:
	@$(GO) test -run '^$$' -bench . -benchmem ./frame ./proto0500 ./snapshot

demo:
	@$(GO) run ./cmd/ferry demo

sim:
	@$(GO) run ./internal/sim/cmd/sim -moves $(MOVES)

explore:
	@$(GO) run ./internal/sim/cmd/explore

chaos:
	@$(GO) run ./internal/chaos -moves $(KILLS)

tla:
	@tla/check

# One of each kind: other families of systems, and integers of 32 bits.
CROSS ?= windows/amd64 darwin/arm64 freebsd/amd64 linux/386

cross:
	@for t in $(CROSS); do echo "== $$t"; CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./... || exit 1; done

vuln:
	@.ci/vuln

licences:
	@.ci/licences
