# make demo   creates .venv and shows four models side by side on embedded data
# make test   creates .venv and runs the tests
#
# On Linux without an NVIDIA GPU, TORCH_INDEX=https://download.pytorch.org/whl/cpu spares a download of gigabytes:
#     make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= demo
# A process for each core, with a thread of its own: the networks of the tests are too small to be shared out.
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(CORES) --maxprocesses 8 --dist loadfile
# The lab's variance of ½ was chosen with 784 pixels; on the 64 of these digits it would hardly ask for a likeness.
DEMO_SETTINGS ?= --set vae.variance=0.05

.PHONY: demo test test-all check extractors clean

demo: $(VENV)/installed
	@if [ -e $(DEMO)/compare.json ]; then $(BIN)/likelier compare --resume $(DEMO); \
	else $(BIN)/likelier compare --out $(DEMO) $(DEMO_SETTINGS); fi

test: check
	$(PYTEST) -m "not slow"

test-all: check
	$(PYTEST)

check: $(VENV)/installed-dev
	$(BIN)/ruff check src tests recipes benchmarks docs
	$(BIN)/ruff format --check src tests recipes benchmarks docs
	$(BIN)/mypy

# For a new recipe only: figures in new features are new figures. make extractors LIKELIER_DATA=DATA
extractors: $(VENV)/installed
	LIKELIER_DATA=$(LIKELIER_DATA) $(BIN)/python recipes/extractors/freeze.py

# torch first, and alone (constraints.txt says why); what it needs itself comes with the rest.
$(VENV)/installed: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "likelier needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
