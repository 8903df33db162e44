# Everything is built with one profile, release: DuckDB is compiled from source, which takes about 25 minutes
# per profile. All checkouts share one target directory for the same reason.
ifeq ($(strip $(CARGO_TARGET_DIR)),)
    CARGO_TARGET_DIR := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/podledger/target
endif
export CARGO_TARGET_DIR

CARGO_DENY_VERSION := 0.20.2
TOOLS := $(CARGO_TARGET_DIR)/tools
VENV := $(CARGO_TARGET_DIR)/venv
VENV_FOCUS := $(CARGO_TARGET_DIR)/venv-focus
JDBC_VERSION := 42.7.7

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo tools venv venv-focus debian jdbc build test soak bench check format-check lint deny

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo "target directory: $(CARGO_TARGET_DIR)"

tools: ## check that what builds and tests need is installed
	@missing=0; \
	if ! command -v cargo > /dev/null; then \
	    echo "cargo is missing: install Rust from https://rustup.rs" >&2; missing=1; \
	fi; \
	set -- $${CXX:-c++}; \
	if ! command -v "$$1" > /dev/null; then \
	    echo "the C++ compiler '$$1' is missing, and DuckDB is compiled from source:" \
	        "install one (Debian: apt-get install g++; macOS: xcode-select --install) or set CXX" >&2; missing=1; \
	fi; \
	if ! command -v python3 > /dev/null; then \
	    echo "python3 is missing: install it (Debian: apt-get install python3; macOS: brew install python3)" >&2; missing=1; \
	fi; \
	exit $$missing

demo: build ## show what it does, on two weeks of a simulated platform
	@"$(CARGO_TARGET_DIR)/release/podledger" demo

build: tools ## build the binary
	cargo build --release --workspace

venv: tools ## install the Python programs that tests compare with, into the target directory
	@command -v java > /dev/null || { \
	    echo "java is missing, and Spark needs it: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)" >&2; exit 1; }
	@if ! cmp --silent tests/parity/requirements.txt "$(VENV)/requirements.txt"; then \
	    rm -rf "$(VENV)" && python3 -m venv "$(VENV)" && \
	    "$(VENV)/bin/pip" install --quiet --disable-pip-version-check --requirement tests/parity/requirements.txt && \
	    cp tests/parity/requirements.txt "$(VENV)/requirements.txt"; \
	fi

venv-focus: tools ## install FOCUS's validator, which needs Python 3.12, into the target directory
	@if ! cmp --silent tests/exports/requirements.txt "$(VENV_FOCUS)/requirements.txt"; then \
	    python=; \
	    for each in python3.12 python3 "$$HOME"/.pyenv/versions/3.12*/bin/python3; do \
	        if "$$each" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null; then python="$$each"; break; fi; \
	    done; \
	    [ -n "$$python" ] || { \
	        echo "Python 3.12 is missing, and FOCUS's validator needs it: install it (pyenv install 3.12; macOS: brew install python@3.12)" >&2; exit 1; }; \
	    rm -rf "$(VENV_FOCUS)" && "$$python" -m venv "$(VENV_FOCUS)" && \
	    "$(VENV_FOCUS)/bin/pip" install --quiet --disable-pip-version-check --requirement tests/exports/requirements.txt && \
	    cp tests/exports/requirements.txt "$(VENV_FOCUS)/requirements.txt"; \
	fi

debian: ## install the programs that tests run beside, where Debian's packages are and may be installed
	@missing=; \
	command -v kubectl > /dev/null || missing="$$missing kubernetes-client"; \
	command -v promtool > /dev/null || missing="$$missing prometheus"; \
	command -v chromium > /dev/null || missing="$$missing chromium"; \
	command -v psql > /dev/null || missing="$$missing postgresql-client"; \
	command -v mvn > /dev/null || missing="$$missing maven"; \
	command -v javac > /dev/null || missing="$$missing default-jdk-headless"; \
	[ -z "$$missing" ] || { \
	    command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ] && apt-get update --quiet --quiet && \
	    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --quiet --quiet --no-install-recommends $$missing > /dev/null; \
	} || { echo "these are missing, by Debian's names:$$missing: install them (macOS: brew install kubernetes-cli prometheus chromium libpq maven openjdk)" >&2; exit 1; }

jdbc: debian ## fetch PostgreSQL's JDBC driver into the target directory
	@[ -f "$(CARGO_TARGET_DIR)/jdbc/postgresql-$(JDBC_VERSION).jar" ] || \
	    mvn --quiet --batch-mode dependency:copy -Dartifact=org.postgresql:postgresql:$(JDBC_VERSION) -DoutputDirectory="$(CARGO_TARGET_DIR)/jdbc"

test: venv venv-focus debian jdbc ## run every test; a tool that a test needs and does not find is a failure
	PODLEDGER_REQUIRE_TOOLS=1 cargo test --release --workspace

soak: venv venv-focus debian jdbc ## run the long seeds and the whole trace
	PODLEDGER_REQUIRE_TOOLS=1 PODLEDGER_SOAK=1 cargo test --release --workspace --test main -- --nocapture conservation exports file_size parity simulated crashes replay rightsizing live::faults live::month

bench: tools ## measure: the crates' benches
	cargo bench --workspace --profile release --benches

check: format-check lint deny ## formatting, lints, licences and sources of dependencies

format-check: ## fail if rustfmt would change anything
	cargo fmt --all -- --check

lint: tools ## clippy, warnings are errors
	cargo clippy --release --all-targets --workspace -- -D warnings

deny: ## licences, bans and sources of dependencies (installs cargo-deny if it is absent)
	@if [ "$$("$(TOOLS)/bin/cargo-deny" --version 2> /dev/null)" != "cargo-deny $(CARGO_DENY_VERSION)" ]; then \
	    echo "installing cargo-deny $(CARGO_DENY_VERSION) into $(TOOLS)"; \
	    CARGO_TARGET_DIR="$(TOOLS)-build" \
	        cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --force --root "$(TOOLS)"; \
	fi
	"$(TOOLS)/bin/cargo-deny" --workspace check licenses bans sources
