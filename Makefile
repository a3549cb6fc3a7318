# Every target works as the first command after a clone: it makes .venv and installs what requirements.lock names.
PYTHON ?= python3.11
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_DISABLE_PROGRESS_BARS := 1
export TOKENIZERS_PARALLELISM := false

unexport PYTHONDONTWRITEBYTECODE  # each stage and each test's process would compile the whole package anew

.PHONY: setup repro test test-slow fuzz check smoke sweep bench up down readme clean

setup: .venv/installed  ## the environment

.venv/installed: requirements.lock requirements-oracles.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv || python3 -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-oracles.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

JOBS ?= 2
repro: setup  ## the preset of params.yaml, end to end: data, models, attacks, report; JOBS stages at the same time
	python flows/reproduce.py --jobs $(JOBS)

PYTEST := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
test: setup  ## the tests, offline
	$(PYTEST) -m "not slow"

test-slow: setup  ## those with servers, several processes, kills and clocks
	$(PYTEST) -m slow

fuzz: setup  ## 10,000 odd images and texts to the verifier, and as many to the adapted model
	$(PYTEST) --hypothesis-profile=fuzz -k clear_error \
		tests/verification/test_odd_input.py tests/adaptation/test_odd_input.py

check: setup  ## format, lint, types, import contracts
	ruff format --check .
	ruff check .
	mypy
	lint-imports

smoke: setup  ## the whole graph with the tiny preset, in a temporary copy of this tree
	python flows/smoke.py

SEARCH ?= sweeps/smoke.yaml
sweep: setup  ## every point of a grid as a DVC experiment, side by side: make sweep SEARCH=sweeps/scenes.yaml JOBS=2
	python flows/sweep.py $(SEARCH) --jobs $(JOBS)

bench: setup .cache/peers/installed  ## speed of the attacks beside other libraries and the bare model's passes
	HOME=$(CURDIR)/.cache/bench OMP_NUM_THREADS=1 python -m benchmarks

.cache/peers/installed: requirements-peers.lock
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) --requirement $<
	touch $@

up: setup  ## Prefect, MLflow and the report, served on this machine
	python flows/services.py up

down: setup  ## stop what `up` started
	python flows/services.py down

readme: setup  ## the README's table from reports/scenes/metrics.json
	python -m immunize.report.readme

clean:  ## what can be made again; data, models and the DVC cache stay
	rm -rf .cache .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
