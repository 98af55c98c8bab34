# The names people type. `make` alone lists them.

CARGO ?= cargo
# How to run what needs root: directly as root, through sudo where that asks no password, else not at all.
KEEP = MILLRACE_CONVERSATIONS,MILLRACE_DAEMON,MILLRACE_ROOM_SECONDS
AS_ROOT := $(shell if [ "$$(id -u)" = 0 ]; then echo env; elif sudo -n true 2>/dev/null; then echo sudo --preserve-env=$(KEEP); fi)

# With tests, whose dependencies want other features of some crates: else all of them would be built twice.
BUILD = $(CARGO) build --workspace --all-targets

.PHONY: help run demo room test check bench interop attack rust

help:
	@echo "make demo    one call through the daemon on this machine, shown live (WAV=file SAVE=folder)"
	@echo "make room    a page on which browser tabs see and hear each other through the daemon (ADDRESS=ip PORT=number)"
	@echo "make run     the daemon in the foreground with config/millrace.conf"
	@echo "make test    every test; calls of SIPp, Chromium and baresip, and attacks, where root is available"
	@echo "make check   formatting and lints"
	@echo "make bench   our daemon and Debian's rtpengine side by side, endurance, size"

run: rust
	$(CARGO) build --release -p millrace -p millrace-testsuite --bin millrace
	exec target/release/millrace --foreground --log-stderr --config-file=config/millrace.conf

demo: rust
	$(CARGO) build --release -p millrace -p millrace-testsuite --bin millrace --bin millrace-demo
	@exec target/release/millrace-demo $(if $(WAV),--wav "$(WAV)") $(if $(SAVE),--save "$(SAVE)")

room: rust
	$(CARGO) build --release -p millrace -p millrace-testsuite --bin millrace --bin millrace-room
	@exec target/release/millrace-room $(if $(ADDRESS),--address "$(ADDRESS)") $(if $(PORT),--port "$(PORT)")

test: rust
	$(CARGO) test --workspace
	@$(MAKE) --no-print-directory interop
	@$(MAKE) --no-print-directory attack

# Calls of SIPp, Chromium and baresip, in network namespaces.
interop: rust
	@$(if $(AS_ROOT),testsuite/install-packages interop,:)
	$(BUILD)
	@$(AS_ROOT) target/debug/millrace-interop

# Attacks on media ports, in network namespaces.
attack: rust
	$(BUILD)
	@$(AS_ROOT) target/debug/millrace-attack

check: rust
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: rust
	@testsuite/install-packages bench
	$(CARGO) build --release --workspace
	$(CARGO) test --release --package millrace-testsuite --test allocation
	@$(AS_ROOT) target/release/millrace-bench all

# Cargo, and the C compiler and libraries that some crates need.
rust:
	@command -v $(CARGO) >/dev/null || { \
	    echo "cargo is missing: install Rust 1.88 or later, from https://rustup.rs or your distribution, and try again" >&2; \
	    exit 1; }
	@testsuite/install-packages build
	@testsuite/install-packages fastpath
