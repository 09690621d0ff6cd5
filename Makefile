# The words for working on cohabit. `make help` lists them; CI uses the same ones (.ci/run).
# Everything is installed into .venv; what cannot be (Debian packages) is asked for with the line to type,
# and installed without asking only on CI or as root when there is no other way to have a .venv.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv
PY := $(VENV)/bin/python

# Any Python from 3.11 on makes the .venv, the lowest first: say which with `make setup PYTHON=python3.12`.
# One with ensurepip is preferred, since Debian keeps that in a package of its own.
find_python = $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys$(1); sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTHON ?= $(or $(call find_python,$(comma) ensurepip),$(find_python))
comma := ,
# How many worlds `make sim` tries, how many runs `make faults`, how many process trees `make ownership`; what `make test`
# runs, and further words for pytest.
SEEDS ?= 1000
FAULTS ?= 1000
FAULT_JOBS ?= 1
TREES ?= 1000
TESTS ?= tests
ARGS ?=
# Test processes at the same time. One of them has the container tests, which wait more than they compute.
WORKERS ?= 3
PYTEST := $(PY) -m pytest --numprocesses=$(WORKERS) --dist=loadgroup --durations=15 --durations-min=1
# What `make test-versions` runs tests/unit with; also any python3.N in the PATH.
VERSIONS ?= lowest newest trixie

# Debian packages: the commands that the tests need, and what brings them. procps, util-linux: ps, unshare, setpriv.
TEST_COMMANDS := docker dockerd mmdebstrap unshare setpriv ps strace
TEST_PACKAGES := docker.io mmdebstrap debian-archive-keyring util-linux procps strace

# $(call apt_install,PACKAGES): as root installs them, as anybody else says what to type and fails.
define apt_install
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1); \
	else \
		echo "cannot go on: Debian packages are missing (type: sudo apt-get install $(1))" >&2; exit 69; \
	fi
endef

.PHONY: help
help: ## List these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv with cohabit and the tools (nothing to do: nothing done)
	@:

.PHONY: check
check: $(VENV)/.installed ## Lint, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

.PHONY: test
test: $(VENV)/.installed test-packages ## All tests that can run here; TESTS=tests/unit, ARGS="-k word" for fewer
	$(PYTEST) $(TESTS) $(ARGS)

.PHONY: test-quick
test-quick: $(VENV)/.installed ## A first look: unit tests with few examples, tidiness, a short simulation
	$(PYTEST) --hypothesis-profile=quick -m 'not exhaustive' tests/unit tests/tidy $(ARGS)
	$(PY) tests/sim/run.py 50

.PHONY: coverage
coverage: $(VENV)/.installed ## The branches of plan/ and engine/ that unit tests take; the floor is in pyproject.toml
	$(PY) -m coverage run -m pytest $(filter-out %short_histories.py,$(wildcard tests/unit/test_engine_*.py)) \
		$(wildcard tests/unit/test_plan_*.py) tests/unit/test_record.py
	$(PY) -m coverage report

.PHONY: test-versions
test-versions: $(VENV)/.installed test-packages ## The unit tests with other versions of Python and the libraries
	$(PY) tools/versions.py $(VERSIONS)

# Long runs, each a target with a count that is a variable: CI runs a sample of each, with the counts in .ci/run.
LONG_RUNS := sim faults

.PHONY: ci
ci: check coverage test-versions $(LONG_RUNS) test ## All that CI runs (.ci/run); what `make test` reports comes last
	@:

.PHONY: sim
sim: $(VENV)/.installed ## The simulator: SEEDS=100000 worlds
	$(PY) tests/sim/run.py $(SEEDS)

.PHONY: faults
faults: $(VENV)/.installed test-packages ## Let system calls of process 1 fail: FAULTS=1000 runs, FAULT_JOBS side by side
	$(PY) tests/faults/run.py $(FAULTS) --jobs $(FAULT_JOBS)

.PHONY: ownership
ownership: $(VENV)/.installed ## Whose process is whose, on the real kernel: TREES=1000 process trees
	$(PY) tests/linux/ownership.py --trees $(TREES)

.PHONY: bench
bench: $(VENV)/.installed ## Measure cohabit and its peers side by side
	$(PY) bench/run.py

.PHONY: demo
demo: $(VENV)/.installed ## Twenty seconds: an ordered start, a crash, a clean stop
	@cd examples/demo && ../../$(VENV)/bin/cohabit up; \
		code=$$?; echo "(exit code $$code, that of the service client)"; [ $$code = 42 ]

.PHONY: docs
docs: $(VENV)/.installed ## Generate the commands page and the module map, and check links
	$(PY) tools/cli_page.py
	$(PY) tools/package_map.py
	@find . -name '.?*' -prune -o -name '*.md' -print | while read -r page; do \
		grep -oE '\]\([^) #]+' "$$page" | cut -c3- | grep -v '^[a-z]*:' | while read -r link; do \
			[ -e "$$(dirname "$$page")/$$link" ] || echo "$$page: cannot follow $$link: no such file"; \
		done; \
	done | sort -u | { ! grep .; }

# On CI the tests must run, so what they need is installed; elsewhere they say themselves what they miss.
.PHONY: test-packages
test-packages:
	@[ "$$CI" != true ] || for command in $(TEST_COMMANDS); do \
		command -v $$command >/dev/null || { $(call apt_install,$(TEST_PACKAGES)); break; }; \
	done

# docs/adr/0015. The environment is for tests of every supported Python, hence --universal.
LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'
.PHONY: lock
lock: $(VENV)/.installed ## Renew requirements/: the newest versions of libraries and tools, with hashes
	$(LOCK) --output-file requirements/run.txt pyproject.toml
	$(LOCK) --output-file requirements/dev.txt --constraint requirements/run.txt --group dev

$(VENV)/.installed: $(PY) pyproject.toml $(wildcard requirements/*.txt bin/*)
	$(PY) -m pip install --quiet --require-hashes -r requirements/run.txt -r requirements/dev.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Debian keeps venv's better half in a package of its own.
$(PY):
	@[ -n "$(PYTHON)" ] || { echo "cannot make .venv: no Python from 3.11 on (type: apt-get install python3)" >&2; exit 69; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt_install,$$($(PYTHON) -c \
		'import sys; print("python%d.%d-venv" % sys.version_info[:2])')); }
	$(PYTHON) -m venv $(VENV)
