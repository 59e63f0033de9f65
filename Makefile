# Needs Python 3.11 to 3.13 and make; everything else is installed into .venv from the lock.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.installed
ONCE ?=
JSON ?=

.PHONY: demo up test test-kafka check bench bench-kafka lock format clean

demo: $(READY)  ## a simulated quarter of a market through the real stack
	$(BIN)/surgeline demo $(if $(ONCE),--once)

up: $(READY)  ## broker, Redis, worker and exporter in this terminal
	$(BIN)/surgeline up

test: $(READY)  ## everything that needs no server but the embedded ones
	$(BIN)/python -m pytest -m "not kafka" -n 2 --dist loadgroup

test-kafka: $(READY)  ## the integration suite against Apache Kafka 4 and Redis 7
	$(BIN)/python -m pytest -m kafka tests/integration tests/contract

check: $(READY)  ## lint, format, types, walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## throughput against stock Faust and aiokafka; JSON=FILE writes the table
	$(BIN)/python -m tests.bench $(if $(JSON),--json $(JSON))

bench-kafka: $(READY)  ## delay from produce to committed score on Apache Kafka
	$(BIN)/python -m tests.bench.delay $(if $(JSON),--json $(JSON))

lock: $(READY)  ## resolve the dependencies anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 -c requirements.lock pyproject.toml -o deploy/requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 deploy/build-requirements.in -o deploy/build-requirements.lock

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Surgeline needs Python 3.11, 3.12 or 3.13 with venv; set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
