# The targets for development. `make help` lists them; CI uses the same targets (.ci/run).
# Everything is installed into .venv, except Debian packages. For these the targets print the command to type. They
# install them only on CI, or as root if .venv cannot be made without them.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
VENV := .venv
PY := $(VENV)/bin/python

# .venv is made with the lowest Python from 3.11 on; `make setup PYTHON=python3.12` chooses another one. A Python with
# ensurepip is preferred, because Debian has that in a separate package.
find_python = $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys$(1); sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PYTHON ?= $(or $(call find_python,$(comma) ensurepip),$(find_python))
comma := ,
# The numbers of worlds of `make sim`, runs of `make faults` and process trees of `make ownership`; the tests of
# `make test`, and further arguments for pytest.
SEEDS ?= 1000
FAULTS ?= 1000
FAULT_JOBS ?= 1
TREES ?= 1000
TESTS ?= tests
ARGS ?=
# pytest keeps the modules whose assertions it has rewritten, even where Python writes no bytecode.
export PYTHONDONTWRITEBYTECODE :=
# The number of test processes. One of them runs the container tests; those and the kernel tests wait a lot.
WORKERS ?= 4
PYTEST := $(PY) -m pytest --numprocesses=$(WORKERS) --dist=loadgroup --durations=15 --durations-min=1
# The versions of `make test-versions`; any python3.N in the PATH is possible, too.
VERSIONS ?= lowest newest trixie

# The commands that the tests need, and their Debian packages. procps, util-linux: ps, unshare, setpriv.
TEST_COMMANDS := docker dockerd mmdebstrap unshare setpriv ps strace tini apache2 logrotate curl
TEST_PACKAGES := docker.io mmdebstrap debian-archive-keyring util-linux procps strace tini apache2 logrotate curl

# $(call apt_install,PACKAGES): installs them as root; otherwise prints the command to type and fails. RUNLEVEL=1: no
# daemon of theirs is started (invoke-rc.d(8)).
define apt_install
	if [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1); \
	else \
		echo "cannot continue: Debian packages are missing (type: sudo apt-get install $(1))" >&2; exit 69; \
	fi
endef

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(VENV)/.installed ## Make .venv with cohabit and the tools, if it is not up to date
	@:

.PHONY: check
check: $(VENV)/.installed ## Check lint rules, formatting and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

.PHONY: test
test: $(VENV)/.installed test-packages ## Run all tests that can run here; TESTS=tests/unit or ARGS="-k name" for fewer
	$(PYTEST) $(TESTS) $(ARGS)

.PHONY: test-quick
test-quick: $(VENV)/.installed ## Run the unit tests with few examples, the tidy tests, a short simulation
	$(PYTEST) --hypothesis-profile=quick -m 'not exhaustive' tests/unit tests/tidy $(ARGS)
	$(PY) tests/sim/run.py 50

.PHONY: coverage
coverage: $(VENV)/.installed ## Check the branch coverage of plan/ and engine/ (pyproject.toml has the minimum)
	$(PY) -m coverage run -m pytest $(filter-out %short_histories.py,$(wildcard tests/unit/test_engine_*.py)) \
		$(wildcard tests/unit/test_plan_*.py) tests/unit/test_record.py
	$(PY) -m coverage report

.PHONY: test-versions
test-versions: $(VENV)/.installed test-packages ## Run the unit tests with other versions of Python and the libraries
	$(PY) tools/versions.py $(VERSIONS)

# Long runs: targets with a variable count. CI runs a sample of each, with the counts in .ci/run.
LONG_RUNS := sim faults

.PHONY: ci
ci: check coverage test-versions $(LONG_RUNS) test ## Run all that CI runs (.ci/run), `make test` last
	@:

.PHONY: sim
sim: $(VENV)/.installed ## Run the simulator: SEEDS=100000 worlds
	$(PY) tests/sim/run.py $(SEEDS)

.PHONY: faults
faults: $(VENV)/.installed test-packages ## Let system calls of process 1 fail: FAULTS=1000 runs, FAULT_JOBS at a time
	$(PY) tests/faults/run.py $(FAULTS) --jobs $(FAULT_JOBS)

.PHONY: ownership
ownership: $(VENV)/.installed ## Test process ownership on the real kernel: TREES=1000 process trees
	$(PY) tests/linux/ownership.py --trees $(TREES)

.PHONY: bench
bench: $(VENV)/.installed ## Measure cohabit and its peers
	$(PY) bench/run.py

.PHONY: demo
demo: $(VENV)/.installed ## Twenty seconds: an ordered start, a crash, a clean stop
	@cd examples/demo && ../../$(VENV)/bin/cohabit up; \
		code=$$?; echo "(exit code $$code, that of the service client)"; [ $$code = 42 ]

.PHONY: docs
docs: $(VENV)/.installed ## Generate the pages of commands and status and the module map, and check links
	$(PY) tools/cli_page.py
	$(PY) tools/status_page.py
	$(PY) tools/package_map.py
	@find . -name '.?*' -prune -o -name '*.md' -print | while read -r page; do \
		grep -oE '\]\([^) #]+' "$$page" | cut -c3- | grep -v '^[a-z]*:' | while read -r link; do \
			[ -e "$$(dirname "$$page")/$$link" ] || echo "$$page: cannot follow the link $$link: no such file"; \
		done; \
	done | sort -u | { ! grep .; }

# On CI all tests must run, so that missing packages are installed. Elsewhere each test reports what it needs.
.PHONY: test-packages
test-packages:
	@[ "$$CI" != true ] || for command in $(TEST_COMMANDS); do \
		command -v $$command >/dev/null || { $(call apt_install,$(TEST_PACKAGES)); break; }; \
	done

# docs/adr/0015. --universal: the locks are for every supported Python.
LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'
.PHONY: lock
lock: $(VENV)/.installed ## Update requirements/ to the newest libraries and tools, with hashes
	$(LOCK) --output-file requirements/run.txt pyproject.toml
	$(LOCK) --output-file requirements/dev.txt --constraint requirements/run.txt --group dev

$(VENV)/.installed: $(PY) pyproject.toml $(wildcard requirements/*.txt bin/*)
	$(PY) -m pip install --quiet --require-hashes -r requirements/run.txt -r requirements/dev.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Debian has ensurepip in a separate package.
$(PY):
	@[ -n "$(PYTHON)" ] || { echo "cannot make .venv: there is no Python 3.11 or newer (type: apt-get install python3)" >&2; exit 69; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call apt_install,$$($(PYTHON) -c \
		'import sys; print("python%d.%d-venv" % sys.version_info[:2])')); }
	$(PYTHON) -m venv $(VENV)
