# make demo   see Lacre work            make test   everything CI runs
# make lint   vet, staticcheck, vulns   make bench  figures against nginx, HAProxy, Caddy

GO          ?= go
BIN         := bin/lacre
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CADDY       := github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9
FUZZTIME    ?= 60s
SOAK        ?= 1h

export CGO_ENABLED ?= 0

.PHONY: all build demo test deps race rotation openssl sdk lint vuln fuzz nightly soak bench pgo clean

all: build

build: ## the one binary
	$(GO) build -trimpath -o $(BIN) ./cmd/lacre

demo: build ## create, serve, modify and serve again, then stay up (ONCE=--once exits)
	$(BIN) demo $(ONCE)

test: deps lint race rotation openssl sdk ## everything

# What the tests need beside Go: a C compiler for the race detector, and the peers that
# they start (Keystone without its service; Tongsuo is no package, see docs/sm2.md).
# A test whose peer is missing skips, unless CI=true.
NEEDS := cc:build-essential openssl:openssl curl:curl python3:python3 keystone-manage:python3-keystone

deps:
	@missing=; for need in $(NEEDS); do \
	  command -v $${need%%:*} >/dev/null || missing="$$missing $${need##*:}"; \
	done; test -z "$$missing" || { apt-get update && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; } >/dev/null || \
	  echo "these packages cannot be installed here, tests will skip or fail:$$missing" >&2

# The race detector needs cgo and a C compiler; the product does not.
race:
	CGO_ENABLED=1 $(GO) test -race -timeout 9m ./...

# What the race detector is too slow for: all 10,000 rotations under traffic (it makes
# 2,000), and what the worst upload costs.
rotation:
	$(GO) test -count=1 -timeout 9m -run 'TestRotation|TestWorstUploads' ./cmd/lacre ./keypair

# The official SDK and Terraform's requests against this build, a module of its own.
sdk: build
	cd test && LACRE_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 ./...

# The build that has OpenSSL sign with RSA keys, where there is a C compiler; the library
# itself is looked for when lacre starts.
openssl: ## bin/lacre-openssl
	@command -v cc >/dev/null || { echo "no C compiler: $(BIN)-openssl is not built"; test -z "$$CI"; exit; }; set -e; \
	CGO_ENABLED=1 $(GO) build -trimpath -tags openssl -o $(BIN)-openssl ./cmd/lacre; \
	CGO_ENABLED=1 $(GO) vet -tags openssl ./edge; \
	CGO_ENABLED=1 $(GO) test -tags openssl -run 'OpenSSL|TestHandshake|TestExplainAgrees|TestResumption' ./edge

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	cd test && $(GO) vet ./... && $(GO) run $(STATICCHECK) ./...
	@$(MAKE) --no-print-directory vuln

# Known vulnerabilities fail the build. Without a way to the vulnerability database that
# cannot be known: it is said, and not taken for a pass.
vuln:
	@out=$$($(GO) run $(GOVULNCHECK) ./... 2>&1); code=$$?; \
	case "$$code:$$out" in \
	0:*) echo "govulncheck: no known vulnerabilities" ;; \
	*vuln.go.dev*) echo "govulncheck: NOT CHECKED, the vulnerability database cannot be reached from here" ;; \
	*) echo "$$out"; exit $$code ;; \
	esac

fuzz: ## every fuzz target for FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; done

nightly: fuzz soak ## the long runs: 200 kills, more rotations, the soak
	LACRE_NIGHTLY=1 CGO_ENABLED=1 $(GO) test -race -timeout 60m -run 'Crash|Rotation' ./cmd/lacre ./store ./edge
	LACRE_NIGHTLY=1 $(GO) test -run CBCTiming -v ./tlcp

# Without the race detector, whose memory is not that of the product.
soak: ## 2,000 connections of every kind for SOAK while certificates are rotated
	LACRE_NIGHTLY=1 LACRE_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run TestSoak ./cmd/lacre

# The peers that are missing are installed; without a way to get them the figures say so.
bench: build openssl bin/peers/caddy ## figures of this machine, into bench/results
	@command -v nginx >/dev/null && command -v haproxy >/dev/null || apt-get install -y nginx haproxy || true
	$(GO) run ./bench $(BENCHFLAGS)

# A profile of the server under the bench's load, which go build uses from then on. The
# binary that writes it has a tag that no release has.
pgo: ## cmd/lacre/default.pgo
	rm -rf bin/pgo && mkdir -p bin/pgo
	$(GO) build -trimpath -pgo=off -tags profile -o bin/pgo/lacre ./cmd/lacre
	LACRE_CPUPROFILE=$(CURDIR)/bin/pgo/cpu $(GO) run ./bench -lacre bin/pgo/lacre -caddy none -only modify,edges -rounds 2 -results bin/pgo
	$(GO) tool pprof -proto -output cmd/lacre/default.pgo bin/pgo/cpu.*

bin/peers/caddy:
	GOBIN=$(CURDIR)/bin/peers $(GO) install $(CADDY) || true

clean:
	rm -rf bin
