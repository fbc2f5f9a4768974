# make demo: the main job, on namespaces it makes.    make test: every check of this machine.
# make check-all: those of other targets, toolchains, systems and kernels too.

export LC_ALL ?= C.UTF-8
WITH_NETNS := scripts/with-netns

# mix and cargo lock their builds, and the checks share them.
.NOTPARALLEL:

.PHONY: help setup setup-checks setup-browser build demo test check-all bench agent soak \
	check-format check-clippy check-targets check-cargo check-loom check-mix-format check-compile \
	check-mix check-dialyzer check-agent check-agent-browser check-agent-load check-packaging check-rust \
	check-debian check-sanitize check-containers check-emulated check-kernels check-telemetry clean

help:
	@echo 'make demo    ask three namespaces for their links and addresses'
	@echo 'make test    every check (make -n test names them; each can be run alone)'
	@echo 'make check-all    the same, and with other targets, toolchains, systems and kernels: hours'
	@echo 'make bench   compare with what nlns replaces; QUICK=1 for under a minute'
	@echo 'make soak    churn for two minutes; NLNS_SOAK_SECONDS for longer'
	@echo 'make agent   the example agent, on namespaces it makes'

setup:
	@scripts/setup

setup-checks:
	@scripts/setup checks

setup-browser:
	@scripts/setup browser

build: setup
	MIX_ENV=prod mix compile

# +Bd: Ctrl-C ends it, instead of asking what to do.
demo: build
	MIX_ENV=prod ELIXIR_ERL_OPTIONS=+Bd $(WITH_NETNS) mix run examples/demo.exs

test: setup-checks check-format check-mix-format check-compile check-clippy check-cargo \
	check-loom check-mix check-dialyzer check-agent
	@echo 'every check has passed'

# Some need root and Debian's packages, which they install. Not among them: check-telemetry, which needs Hex.
check-all: test check-agent-browser check-agent-load check-targets check-packaging check-rust check-debian \
	check-sanitize check-containers check-emulated check-kernels
	@echo 'every check has passed, but check-telemetry, which was not run'

check-format:
	cargo fmt --all --check

check-clippy:
	cargo clippy --locked --workspace --all-targets -- -D warnings

# The same for each processor; the first run gets or builds the other's standard library.
check-targets:
	scripts/check-targets

# The core, because the NIF crates link only into a VM. Built before, because where the tests run there
# may be no network to fetch crates from.
check-cargo:
	cargo test --locked --package nlns_core --no-run
	$(WITH_NETNS) cargo test --locked --package nlns_core

# Apart, because it builds the core with loom's atomics in the place of the processor's.
check-loom:
	RUSTFLAGS='--cfg loom' cargo test --locked --package nlns_core --test loom --target-dir target/loom

check-mix-format:
	mix format --check-formatted

check-compile:
	MIX_ENV=dev mix compile --warnings-as-errors
	MIX_ENV=test mix compile --warnings-as-errors

check-mix: check-compile
	MIX_ENV=test $(WITH_NETNS) mix test

check-dialyzer: check-compile
	scripts/dialyze

# The example is what people start from.
AGENT_TEST := cd examples/agent && MIX_ENV=test PATH="$$PATH:$(CURDIR)/_build/promtool" \
	../../$(WITH_NETNS) mix do compile --warnings-as-errors, test

check-agent: check-compile
	cd examples/agent && mix format --check-formatted
	$(AGENT_TEST)

# nlns as a dependency, in releases, for other targets, and in other people's settings.
check-packaging:
	scripts/test-packaging

# With the oldest Rust that it is for, which is that of Debian 13.
check-rust:
	scripts/test-debian trixie env PATH=/usr/sbin:/usr/bin MIX_BUILD_PATH=_build/oldest-rust \
		mix do compile --force, nlns.doctor

check-debian:
	scripts/test-debian bookworm
	scripts/test-debian trixie

check-sanitize:
	scripts/sanitize

check-containers:
	scripts/test-containers

# In a VM that QEMU runs as one process.
check-emulated:
	scripts/test-emulated

check-kernels:
	scripts/test-kernel bullseye
	scripts/test-kernel bookworm
	scripts/test-kernel -c 8 trixie
	scripts/test-kernel trixie selinux

# Its page in a browser, its metrics, its demonstration.
check-agent-browser: setup-browser check-compile
	$(AGENT_TEST) --only browser --only promtool --only demo

# Ten minutes with 3,000 namespaces, of which a hundred come and go, and one with 2,000 interfaces.
check-agent-load:
	$(WITH_NETNS) examples/agent/load 3000 600 2000

# With the libraries that nlns does not depend on: from Hex, or from $(TELEMETRY), a directory of their sources.
check-telemetry:
	$(WITH_NETNS) scripts/test-telemetry $(TELEMETRY)

bench:
	@scripts/setup bench
	MIX_ENV=prod bench/run

# The model test is built before, for the same reason as check-cargo's.
soak: build
	cargo test --locked --release --package nlns_core --test model --no-run
	$(WITH_NETNS) scripts/soak

agent: setup
	examples/agent/run

clean:
	rm -rf _build priv target
