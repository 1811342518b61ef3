# pricecut: `make demo` and `make test` do all the set-up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONUNBUFFERED := 1
# Where the local DVC remote stands; a second clone on this machine finds it there.
PRICECUT_REMOTE ?= $(HOME)/.local/share/pricecut/dvc-remote

# Where `make server` listens, which workers and `pricecut schedule` ask.
PREFECT_API_URL ?= http://127.0.0.1:4200/api

.PHONY: help demo server worker test test-all lint lock data remote dag clean
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.venv/.installed: requirements.lock pyproject.toml
	@echo "setting up .venv from requirements.lock (a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv: .venv/.installed  ## the environment, from the lock

remote: .venv/.installed  ## configure the local DVC remote (PRICECUT_REMOTE)
	@mkdir -p "$(PRICECUT_REMOTE)"
	@$(BIN)/dvc remote add --local --force --default storage "$(PRICECUT_REMOTE)" > /dev/null
	@echo "DVC remote 'storage': $(PRICECUT_REMOTE)"

demo: .venv/.installed remote  ## customer_service, from raw sources to the report
	@$(BIN)/pricecut run customer_service

# As flows/settings.py. Leases of places in pools outlive the server that granted them. PREFECT_API_DATABASE_CONNECTION_URL names
# another database than SQLite in ~/.prefect.
server: export PREFECT_SERVER_ANALYTICS_ENABLED := false
server: export DO_NOT_TRACK := 1
server: export PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE := prefect.server.concurrency.lease_storage.filesystem
server: export PREFECT_SERVER_LOGGING_LEVEL := ERROR
server: .venv/.installed  ## a Prefect server on loopback, port 4200, with its page (docs/operators.md)
	@$(BIN)/prefect server start --host 127.0.0.1

worker: .venv/.installed  ## a worker that does scheduled runs in this clone (PREFECT_API_URL)
	@PRICECUT_HOME="$(CURDIR)" PREFECT_API_URL="$(PREFECT_API_URL)" $(BIN)/prefect worker start --pool pricecut

test: .venv/.installed  ## the tests, in under 10 minutes
	$(BIN)/python -m pytest

test-all: .venv/.installed  ## the long tests too
	$(BIN)/python -m pytest -m ""

lint: .venv/.installed  ## ruff, mypy (strict), import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

data:  ## link benchmarks/public to $PRICECUT_DATA, and say what is missing
	@$(PYTHON) -m benchmarks.data

dag: .venv/.installed  ## write code dependencies and the benchmark pipeline into the dvc.yaml files
	$(BIN)/python -m flows.dependencies --write

lock:  ## resolve pyproject.toml anew, in a fresh environment, and write requirements.lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0
	.venv-lock/bin/python -m pip install --quiet setuptools wheel -e '.[dev]'
	@{ echo "# Exact versions of everything, tried together (Python 3.11, Linux x86-64). Made by: make lock"; \
	  .venv-lock/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' | sort -f; } > requirements.lock
	rm -rf .venv-lock

clean:  ## remove the environment and the caches of tools, not data
	rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis
