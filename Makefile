# make demo   creates .venv and shows four models side by side on embedded data
# make test   creates .venv and runs the tests
# make torture kills runs and comparisons at every step of their life, a hundred times, in a quarter of an hour
# make bench  times training against other loops, in about 7 minutes; BENCH=full takes an hour, LIKELIER_DATA=DATA takes
#             real images in place of noise, and `make bench-pythae` before it adds pythae in an environment of its own
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
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(CORES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# The lab's variance of ½ was chosen with 784 pixels; on the 64 of these digits it would hardly ask for a likeness.
DEMO_SETTINGS ?= --set vae.variance=0.05

# The rounds of a benchmark, and the seconds of each contender in one.
BENCH ?= quick
BENCH_quick := --batch 128 512 --rounds 3 --slot 0.2
BENCH_full := --batch 64 128 512 2048 --rounds 5 --slot 0.7

.PHONY: demo test test-all test-min torture check bench bench-pythae extractors clean

demo: $(VENV)/installed
	@if [ -e $(DEMO)/compare.json ]; then $(BIN)/likelier compare --resume $(DEMO); \
	else $(BIN)/likelier compare --out $(DEMO) $(DEMO_SETTINGS); fi

test: check
	$(PYTEST) -m "not slow and not torture"

test-all: check
	$(PYTEST) -m "not torture"

# Two at a time, and what each trial did is printed. TORTURE_SEED=1 kills elsewhere.
torture: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m torture tests/torture --numprocesses 2 --dist worksteal -rP

# With the oldest versions that pyproject.toml allows, torch excepted, in an environment of its own.
test-min: $(VENV)-min/installed
	OMP_NUM_THREADS=1 $(VENV)-min/bin/pytest --numprocesses $(CORES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m "not slow and not torture"

check: $(VENV)/installed-dev
	$(BIN)/ruff check src tests recipes benchmarks docs notebooks
	$(BIN)/ruff format --check src tests recipes benchmarks docs notebooks
	$(BIN)/mypy

bench: $(VENV)/installed
	$(BIN)/python benchmarks/training.py --data mnist cifar10 --threads 1 2 \
		$(or $(BENCH_$(BENCH)),$(error BENCH is quick or full)) --json benchmarks/results.json

bench-pythae: $(VENV)-pythae/installed

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

$(VENV)-min/installed: constraints-oldest.txt pyproject.toml
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps --constraint $< torch
	$(@D)/bin/pip install --quiet --constraint $< --editable '.[dev]'
	touch $@

$(VENV)-pythae/installed: constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) --no-deps --constraint constraints.txt torch
	$(@D)/bin/pip install --quiet --constraint constraints.txt pythae==0.1.2
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-min $(VENV)-pythae $(DEMO) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
