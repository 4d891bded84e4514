# Everything sets itself up: Python 3.11 or newer, make and git are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2

# environments of tests/integrations, and what of Rehone each is installed with
ENVIRONMENTS := tools airflow engines
EXTRAS_tools := prefect,kubeflow,mlflow,wandb
EXTRAS_airflow := airflow
EXTRAS_engines := objects,duckdb,postgres,engines,xgboost,dask,ray

.PHONY: demo test test-pages test-integrations $(ENVIRONMENTS:%=test-%) soak simulations quick lint bench bench-serve proof docs clean

demo: $(READY)  ## two years of real data, month by month, with a live service
	$(BIN)/python examples/bike_high_demand/demo.py

test: $(READY)  ## every test but those of `make soak` and `make simulations`
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not soak and not simulation"

simulations: $(READY)  ## error rates, coverage and scenarios over many draws
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m simulation

test-integrations: $(ENVIRONMENTS:%=test-%)  ## every orchestrator, tracker and engine for real, each in an environment it can live in

$(ENVIRONMENTS:%=test-%): test-%: .envs/%/.ready
	.envs/$*/bin/python -m pytest -n $(JOBS) --dist loadfile tests/integrations/$*

soak: $(READY)  ## pages pasted whole, whole drills and replays, fleets, and real services for a long time
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m soak

test-pages: $(READY)  ## the pages in a real browser: Chromium or Chrome on the PATH, or $$CHROMIUM
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/pages

quick: $(READY)  ## the tests without simulations and crash matrices
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not soak and not simulation"

lint: $(READY)  ## format, style, types, and who may import whom
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## Rehone against the tutorial way, as ratios from one run
	$(BIN)/python bench/run.py

bench-serve: $(READY)  ## the model service against what others use, as ratios from one run
	$(BIN)/python bench/serve/run.py

proof: $(READY)  ## the service under load: versions swapped, a worker killed, and beside the tutorial way
	$(BIN)/python bench/serve/swap.py --swaps 5
	$(BIN)/python bench/serve/kill.py --times 2
	$(BIN)/python bench/serve/run.py --quick

docs: $(READY)  ## write the generated pages of docs/reference
	$(BIN)/python docs/generate.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Rehone needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --build-constraint constraints.txt --editable . --group test --group lint --group bench --group integrations --group pages
	touch $(READY)

.envs/%/.ready: pyproject.toml tests/integrations/%/constraints.txt tests/integrations/%/requirements.txt | $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .envs/$*
	$(BIN)/uv pip install --quiet --compile-bytecode --python .envs/$*/bin/python --constraint tests/integrations/$*/constraints.txt --requirement tests/integrations/$*/requirements.txt --editable ".[$(EXTRAS_$*)]"
	touch .envs/$*/.ready

clean:  ## remove what the targets made
	rm -rf $(VENV) .envs demo-run bench-run .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
