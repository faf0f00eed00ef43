# Every target builds on `install`, which does nothing when pyproject.toml and requirements.lock have not changed.
PYTHON ?= python3
ARGS ?=

# Two cores run 5 tests at a time: those that start servers mostly wait. Each process takes 0.4 GB, and 8 s to begin.
# For Apache Kafka 3 are enough, since each starts a server of its own.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(12, 5 * (os.cpu_count() or 1) // 2))')

VENV := .venv
BIN := $(VENV)/bin
# What is locked: each package with the hashes of its files, and no address, so that any mirror will do.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install check test test-slow test-kafka test-demo lint format types contracts docs demo bench chaos fuzz lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## everything into .venv, at the locked versions

$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("driftline needs Python 3.11 or newer; this \
	is %d.%d (%s). Name another one: make install PYTHON=python3.12" % (v[0], v[1], sys.executable))'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

check: lint types contracts test test-slow test-kafka test-demo fuzz ## all of these

test: install ## tests and doctests, on embedded servers; pass more with ARGS="-k ladder"
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow and not kafka and not demo" $(ARGS)

test-slow: install ## the tests that take more than 15 s each, on embedded servers too
	$(BIN)/python -m pytest -n $(WORKERS) --maxschedchunk 1 -m "slow and not kafka and not demo" $(ARGS)

test-kafka: install ## all tests that need a broker on a real Apache Kafka, where there are Java and Maven
	$(BIN)/python -m pytest -n 3 --dist worksteal -m kafka $(ARGS)

test-demo: install ## the demo in real time, looked at by a test; give it the machine to itself
	$(BIN)/python -m pytest -m demo $(ARGS)

lint: install ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: install ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: install ## mypy, strict
	$(BIN)/mypy

contracts: install ## import-linter: who may know whom
	$(BIN)/lint-imports --no-logo

docs: install ## this documentation as a site in site/, all links checked; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict $(ARGS)

demo: install ## an embedded broker and store, seven planted faults, the alerts they raise, a worker that is killed
	$(BIN)/driftline demo $(ARGS)

bench: install ## speed of the core on one core, beside River and scipy, then end to end on Kafka
	$(BIN)/python -m load_tests.bench.core
	$(BIN)/python -m load_tests.bench.throughput

chaos: install ## nothing lost, nothing twice, while all around fails; ARGS="--events 60000 --faults 13" is a short one
	$(BIN)/python -m load_tests.chaos $(ARGS)

fuzz: install ## damaged inputs for every parser of foreign bytes, a minute; ARGS="--seconds 900 --seed 3" takes longer
	$(BIN)/python -m load_tests.fuzz $(ARGS)

lock: install ## resolve the three locks again, after a change of dependencies
	$(LOCK) --all-extras --upgrade --output-file requirements.lock pyproject.toml
	$(LOCK) --constraints requirements.lock --output-file requirements-run.lock pyproject.toml
	printf '%s\n' hatchling hatch-fancy-pypi-readme | $(LOCK) --constraints requirements.lock --output-file requirements-build.lock -

clean: ## remove .venv and everything generated
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
