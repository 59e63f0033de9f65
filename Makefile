# Needs Python 3.11 to 3.13 and make; everything else is installed into .venv from the lock.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python
APART := -n 3 --dist loadfile --no-loadscope-reorder
ONCE ?=
MINUTES ?= 10
JSON ?=

.PHONY: demo up test test-kafka test-page test-faults fuzz check bench bench-alerts bench-board bench-collector bench-kafka bench-kpis bench-operations asyncapi dashboards kpis lock audit sbom format clean

demo: $(READY)  ## a simulated quarter of a market through the real stack
	$(BIN)/surgeline demo $(if $(ONCE),--once)

up: $(READY)  ## broker, Redis, worker and exporter in this terminal
	$(BIN)/surgeline up

test: $(READY)  ## everything that needs no server but the embedded ones
	$(BIN)/python -m pytest -m "not kafka and not faults and not page" $(APART)

test-kafka: $(READY)  ## the integration suite against Apache Kafka 4 and Redis 7
	$(BIN)/python -m pytest -m "kafka and not faults" $(APART) tests/integration tests/contract

test-page: $(READY)  ## the board's pages and the tracker in an installed chromium
	$(BIN)/python -m pytest -m page tests/system/test_page.py tests/integration/test_tracker.py

test-faults: $(READY)  ## workers and servers broken under load, on Apache Kafka 4 and Redis 7: minutes
	$(BIN)/python -m pytest -m faults tests/system/faults tests/integration/test_notifier_faults.py

fuzz: $(READY)  ## records and models that nobody would write, MINUTES for each of the four parts
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

check: $(READY)  ## lint, format, types, walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-alerts: $(READY)  ## delay from a page visit to the delivered webhook, on Apache Kafka
	$(BIN)/python -m tests.bench.alert_delay $(if $(JSON),--json $(JSON))

bench: $(READY)  ## throughput against stock Faust and aiokafka (JSON=FILE writes the table), alerts, the board, the collector
	$(BIN)/python -m tests.bench $(if $(JSON),--json $(JSON))
	$(BIN)/python -m tests.bench.alert_delay
	$(BIN)/python -m tests.bench.board
	$(BIN)/python -m tests.bench.collector

bench-kafka: $(READY)  ## delay from produce to committed score on Apache Kafka
	$(BIN)/python -m tests.bench.delay $(if $(JSON),--json $(JSON))

bench-operations: $(READY)  ## backlogs, bursts, crashes, cold starts, rolling restarts on Apache Kafka: minutes
	$(BIN)/python -m tests.bench.operations $(if $(JSON),--json $(JSON))

bench-collector: $(READY)  ## events a second over HTTP on one core beside the broker
	$(BIN)/python -m tests.bench.collector $(if $(JSON),--json $(JSON))

bench-board: $(READY)  ## the board's answers over 10,000 accounts beside a working worker
	$(BIN)/python -m tests.bench.board $(if $(JSON),--json $(JSON))

bench-kpis: $(READY)  ## the KPIs of 10,000 accounts with 500 remembered events each
	$(BIN)/python -m tests.bench.kpis $(if $(JSON),--json $(JSON))

kpis: $(READY)  ## deploy/kpis.md from the definitions of the KPIs
	$(BIN)/surgeline kpis --definitions > deploy/kpis.md.new
	mv deploy/kpis.md.new deploy/kpis.md

asyncapi: $(READY)  ## deploy/asyncapi.yaml from the event contract
	$(BIN)/surgeline asyncapi > deploy/asyncapi.yaml.new
	mv deploy/asyncapi.yaml.new deploy/asyncapi.yaml

dashboards: $(READY)  ## deploy/grafana/dashboards/*.json from deploy/grafana/generator
	$(BIN)/python -m deploy.grafana.generator

lock: $(READY)  ## resolve the dependencies anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 --all-extras pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 -c requirements.lock --extra tracing pyproject.toml -o deploy/requirements.lock
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --python-version 3.11 deploy/build-requirements.in -o deploy/build-requirements.lock

audit: $(READY)  ## known vulnerabilities of what is locked; needs the network
	$(BIN)/python .ci/audit.py requirements.lock deploy/requirements.lock

sbom: $(READY)  ## what is locked, as CycloneDX JSON: dist/image.cdx.json, dist/development.cdx.json
	mkdir -p dist
	$(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o dist/image.cdx.json deploy/requirements.lock
	$(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o dist/development.cdx.json requirements.lock

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Surgeline needs Python 3.11, 3.12 or 3.13 with venv; set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# uv installs in seconds what takes pip minutes; where it cannot, pip does it all the same.
	@awk '/^uv==/ {p = 1; print; next} p && /^    --hash/ {print; next} p {exit}' requirements.lock > .venv/uv.lock
	$(PIP) --require-hashes -r .venv/uv.lock
	$(UV) --require-hashes -r requirements.lock || $(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q scoring stream
	@touch $(READY)
