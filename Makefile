# For those who work on pgkeep. What users include in theirs is Makefile.dev.

PREFIX ?= /usr/local
CARGO ?= cargo

# rustup's folder is on the PATH of login shells only.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
TOOLS := $(sort $(patsubst bins/%/main.rs,%,$(wildcard bins/*/main.rs)))
ALL_TESTS := $(sort $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)) $(patsubst tests/%.rs,%,$(wildcard tests/*.rs)))
# These need Docker, a browser, or a server that is long in building.
TESTS := $(filter-out stack garage page,$(ALL_TESTS))

.PHONY: help build test test-all check bench demo install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

build: ## the programs, in target/release
	$(CARGO) build --release --locked

demo: ## back up a private PostgreSQL, wreck it, bring it back
	@scripts/setup
	@$(MAKE) --no-print-directory build
	@scripts/demo

# One invocation, so that one summary ends the output (nextest's), or one per target (cargo's own).
define run_tests
	@scripts/setup $(2)
	@if command -v cargo-nextest >/dev/null; then run='nextest run'; else run=test; fi; \
	set -x; $(CARGO) $$run --locked --no-fail-fast --lib --bins $(addprefix --test ,$(1))
endef

test: ## all tests but those that need Docker, a browser or Garage
	$(call run_tests,$(TESTS),test)

test-all: ## all tests
	$(call run_tests,$(ALL_TESTS),docker)

check: ## all that CI runs
	@scripts/check

bench: build ## time the programs against their peers (SIZE_MB=1000 RUNS=5)
	@scripts/bench
	@scripts/bench-restore
	@scripts/bench-validate
	@scripts/bench-volumes

install: ## what `make build` built, to PREFIX=/usr/local (DESTDIR=)
	@for tool in $(TOOLS); do test -x "$(RELEASE)/$$tool" || \
		{ echo "install: $(RELEASE)/$$tool is missing: run 'make build' first" >&2; exit 1; }; done
	install -d $(addprefix "$(DESTDIR)$(PREFIX)"/,bin share/man/man1 share/doc/pgkeep/examples share/pgkeep/scripts)
	install -m 755 $(addprefix "$(RELEASE)"/,$(TOOLS)) "$(DESTDIR)$(PREFIX)/bin"
	install -m 644 docs/*.1 "$(DESTDIR)$(PREFIX)/share/man/man1"
	install -m 644 README.md LICENSE-* docs/*.md docs/*.yml "$(DESTDIR)$(PREFIX)/share/doc/pgkeep"
	install -m 644 docs/examples/* "$(DESTDIR)$(PREFIX)/share/doc/pgkeep/examples"
	install -m 644 Makefile.dev "$(DESTDIR)$(PREFIX)/share/pgkeep"
	cp -R scripts/setup scripts/dev* scripts/stack scripts/git-hooks scripts/seed* "$(DESTDIR)$(PREFIX)/share/pgkeep/scripts"
	chmod -R u+w,go-w,a+rX "$(DESTDIR)$(PREFIX)/share/pgkeep"

clean: ## remove target/
	$(CARGO) clean
