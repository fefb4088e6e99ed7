# Forebay: `make run` starts it here, `make test` proves it. Both set up what they need in $(VENV).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HANDLERS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-others test-integration kafka helm-test helm-tools helm-docs faults bench bench-queues lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

run: $(VENV)/run.done ## Start the ingest and the example handlers on this machine (HANDLERS=module:object for yours)
	@$(BIN)/forebay up $(HANDLERS)

test: test-others test-integration ## Set up and run every test but the long ones; its two halves side by side: make -j2 test

test-others: $(VENV)/dev.done
	@$(BIN)/python -m pytest --ignore=tests/integration

test-integration: $(VENV)/dev.done ## Run those of a part with real systems alone (mostly they wait: half of the time of all)
	@$(BIN)/python -m pytest tests/integration

kafka: $(VENV)/dev.done ## Run those tests alone that need a real Kafka
	@$(BIN)/python -m pytest -m "kafka and not faults"

helm-test: $(VENV)/dev.done helm-tools ## Run the tests of the chart and the image alone, on a real Kubernetes and a real Kafka
	@$(BIN)/python -m pytest tests/helm

helm-tools: ## Build what the tests of the chart need, once (with Go; some ten minutes), into the user's cache
	@tests/helm/tools/build.sh
	@tests/prometheus/promtool.sh

helm-docs: helm-tools ## Write the chart's README anew from its values
	@$$(tests/helm/tools/build.sh)/bin/helm-docs --chart-search-root helm --sort-values-order file

faults: $(VENV)/dev.done ## Run the long tests, and write what every fault cost into docs/faults.md
	@FOREBAY_TEST_FAULTS_REPORT=docs/faults.md $(BIN)/python -m pytest -m faults -s

bench: $(VENV)/dev.done ## Measure, and print the ratios that the README quotes (Kafka's need Java and Maven)
	@$(BIN)/python -m pytest tests/benchmarks -m benchmark -s

bench-queues: $(VENV)/dev.done ## Measure every queue beside the others, and print the table of docs/queues.md
	@$(BIN)/python -m pytest tests/benchmarks/test_queues_benchmark.py -m benchmark -s

lock: $(VENV)/dev.done ## Renew the pinned versions in constraints/
	@$(BIN)/python -m pip install --quiet uv
	@for set in run:build dev:dev; do $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --python-version 3.11 --group $${set#*:} \
		pyproject.toml --output-file constraints/$${set%:*}.txt; done
	@echo 'gunicorn_h1c>=0.6.9,<1' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
		--no-header --no-annotate --python-version 3.11 - --output-file constraints/fast.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--python-version 3.11 --constraint constraints/dev.txt --group build --extra all --extra fast \
		pyproject.toml --output-file constraints/image.txt

clean: ## Remove the environment and what the tools left
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/%.done: constraints/%.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Forebay needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints/$*.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
