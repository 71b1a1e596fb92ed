# Parley. `make run` builds the hub and plays a real conversation on a three-node cluster; `make test` runs every test.
SHELL       := /bin/bash
GO          ?= go
BIN         := bin/parley
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
GOFLAGS_BIN := -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Tests of clusters mostly wait, for elections and for disks, so more of them run side by side than there are processors.
PARALLEL    ?= 4
# Where goroutines meet; the race detector runs on these in `make check`.
RACE        := ./storage/... ./cluster/... ./httpapi/...

# Random histories and faults: this seed alone, or, where it is 0, the seeds from 1 on.
SEED        ?= 0
SEEDS       ?= 50
EPOCHS      ?= 30

.PHONY: run build test check race race-all interop interop-openmls interop-tsmls bench soak soak-bulk soak-resize verbs faults slots seeded-bugs without-checks fuzz clean

run: build ## build, start two providers, play the conversation, stay up until Ctrl-C
	@exec $(BIN) dev

build: ## one static binary
	CGO_ENABLED=0 $(GO) build $(GOFLAGS_BIN) -o $(BIN) ./cmd/parley

test: build ## every test; under ten minutes on two cores
	$(GO) test -buildvcs=false -timeout 9m -parallel $(PARALLEL) ./...

check: ## formatting, vet, staticcheck, import directions, and the race detector where goroutines meet
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './interop/*/target/*' -not -path './interop/*/node_modules/*')); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt'd:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags seededbugs ./cluster/... ./fsm/... ./storage/...
	$(GO) run $(STATICCHECK) ./...
	$(GO) test -buildvcs=false -run 'TestLayering' .
	$(MAKE) race

race: ## what `make check` has of the race detector: without the tests that it makes last for minutes
	$(GO) test -buildvcs=false -race -timeout 30m -parallel $(PARALLEL) $(RACE)

race-all: ## the race detector on every test of where goroutines meet
	PARLEY_RACE_ALL=1 $(GO) test -buildvcs=false -race -timeout 2h -parallel $(PARALLEL) $(RACE)

interop: interop-openmls interop-tsmls ## real MLS clients live through random histories with our public group as their hub

interop-openmls: ## OpenMLS; needs Rust. One seed again, as a failure prints it: make interop-openmls SEED=7 EPOCHS=30
	$(MAKE) -C interop check openmls SEED=$(SEED) SEEDS=$(SEEDS) EPOCHS=$(EPOCHS)

interop-tsmls: ## ts-mls; needs Node
	$(MAKE) -C interop tsmls SEED=$(SEED) SEEDS=$(SEEDS) EPOCHS=$(EPOCHS)

bench: ## figures; a timing is never a test's verdict
	$(GO) test -buildvcs=false -run '^$$' -bench . -benchtime 2s ./mls ./fsm/... ./storage/... ./cluster/transport/...
	$(GO) test -buildvcs=false -run '^$$' -bench Rebuild -benchtime 1x ./cluster

soak: build ## the long form: ten whole conversations with a killed leader, each on a new cluster
	@for i in 1 2 3 4 5 6 7 8 9 10; do echo "== conversation $$i of 10"; $(BIN) dev --once || exit 1; done

soak-bulk: build ## ten exchanges of bulk load with a killed deliverer and a peer that is away, each on new clusters
	@for i in 1 2 3 4 5 6 7 8 9 10; do echo "== exchange $$i of 10"; $(BIN) dev --scenario bulk || exit 1; done

soak-resize: build ## ten times a cluster that grows, splits its shards, loses a node for good and shrinks again, under load
	@for i in 1 2 3 4 5 6 7 8 9 10; do echo "== size $$i of 10"; $(BIN) dev --scenario resize || exit 1; done

verbs: build ## each long command, and the node that carries it out, is killed at each moment, and the command given again
	$(BIN) dev --scenario verbs

# One seed again, as a failure prints it: make faults SEED=7 VIRTUAL=1h MEAN=8s
VIRTUAL ?= 1h
MEAN    ?= 12s
faults: ## virtual hours of a cluster under seeded faults; no promise may break
	$(GO) test -buildvcs=false -timeout 6h -v ./cluster/clustertest -run 'TestFaults$$' -seed $(SEED) -seeds $(SEEDS) -virtual $(VIRTUAL) -mean $(MEAN)

# Slots go to and fro between shards, a node is killed at each step: make slots SEED=7 MOVES=100 MEAN=8s
MOVES   ?= 100
slots: ## slots moved to and fro under load, faults and kills at each step; no promise may break
	$(GO) test -buildvcs=false -timeout 2h -v ./cluster/clustertest -run 'TestSlotsToAndFro$$' -seed $(SEED) -moves $(MOVES) -mean $(MEAN)

seeded-bugs: ## known mistakes are put into the program, one after the other, and have to be found
	$(GO) test -buildvcs=false -timeout 2h -tags seededbugs -v ./cluster/clustertest -run 'TestSeeded' -virtual 10m -mean 6s
	$(GO) test -buildvcs=false -tags seededbugs -v ./cluster/transport -run 'TestSeeded'
	$(GO) test -buildvcs=false -tags seededbugs -v ./storage -run 'TestRaftDoesNotGrantAfterACutOffVote'

without-checks: ## each check of MLS is taken out, one after the other, and the rows of docs/mls-checks.md have to be accepted then
	$(GO) test -buildvcs=false -tags withoutchecks -timeout 30m -v ./mls -run 'TestWithoutChecks'

# One target, or another time each: make fuzz FUZZ=FuzzApplyPath FUZZTIME=1h
FUZZ     ?= Fuzz
FUZZTIME ?= 10m
fuzz: ## every fuzz target of mls, one after the other
	@for target in $$($(GO) test -list '$(FUZZ)' ./mls | grep '^Fuzz'); do \
	  echo "== $$target"; $(GO) test -buildvcs=false -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x ./mls || exit 1; done

clean:
	rm -rf bin .parley
