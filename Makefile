# Everything installs into .venv from the hash-locked requirements; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Many tests wait for other processes, so one more than the usual two cores.
PYTEST_WORKERS ?= 3

.PHONY: demo test lint bench evaluate faults clean train lock sbom audit
.DEFAULT_GOAL := demo

# Labelled sets to measure the classifier on as well: make evaluate DATA=folder
DATA ?= $(wildcard ../shared/data/classification)

# The stamp's name holds the lock's digest, so that a new lock means a new install and an old one is not repeated.
RUN_STAMP := $(VENV)/run-$(shell cksum requirements/run.txt pyproject.toml | cksum | cut -d' ' -f1)
DEV_STAMP := $(VENV)/dev-$(shell cksum requirements/dev.txt pyproject.toml | cksum | cut -d' ' -f1)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "triage needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	@echo "building the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "python3 has no venv module; on Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }

$(RUN_STAMP): $(VENV)/bin/python
	@echo "installing the locked packages (about 90 MB the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(DEV_STAMP): $(VENV)/bin/python
	@echo "installing the locked packages for development ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@ $(RUN_STAMP)

demo: $(RUN_STAMP)
	@exec $(BIN)/triage demo

test: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(DEV_STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/python -m requirements.check

bench: $(DEV_STAMP)
	@$(BIN)/python -m tests.bench

faults: $(DEV_STAMP)
	@$(BIN)/python -m tests.faults --write

evaluate: $(DEV_STAMP)
	@$(BIN)/python -m tests.measure $(if $(DATA),--data $(DATA))

train: $(RUN_STAMP)
	@$(BIN)/triage train --out models/default

sbom: $(DEV_STAMP)
	@$(BIN)/python -m requirements.sbom dist/triage-inbox.cdx.json

# Known vulnerabilities: the only check here that needs a service, so it is no part of lint.
audit: $(DEV_STAMP)
	@$(BIN)/python -m requirements.audit

lock:
	@sh requirements/lock.sh --upgrade

clean:
	rm -rf $(VENV) .state .demo .faults dist build
