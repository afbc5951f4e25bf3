# Every target sets up what it needs in .venv the first time, so a checkout, Python and make are enough.
# make PYTHON=/path/to/python3.12 demo    uses another Python than `python3`.
# make test PYTEST_ARGS="-k threads -x"   passes arguments on to pytest; BENCH_ARGS likewise.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
SOAK_ARGS ?= 600
SUITES_ARGS ?=
MATRIX_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
QUICKSTART := notebooks/01_quickstart.ipynb
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable

.DEFAULT_GOAL := help
.PHONY: help demo test lab bench soak slurm suites matrix check clean chromium slurmd
.DELETE_ON_ERROR:
.SUFFIXES:

help: ## list the targets
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1	\2/p' Makefile | expand -t 10

demo: $(VENV)/.installed-demo ## run the quickstart notebook on real data, with progress here, and say what it found
	@$(BIN)/python notebooks/demo.py

test: $(VENV)/.installed-test chromium slurmd ## run all tests, those in a real browser and the notebooks included
	@$(BIN)/python -m pytest tests $(NOTEBOOKS) --nbval-lax $(PYTEST_ARGS)

lab: $(VENV)/.installed-demo ## open JupyterLab on the quickstart notebook
	@$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(QUICKSTART)

bench: $(VENV)/.installed-bench ## measure the overhead per task against other schedulers
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

soak: $(VENV)/.installed-test ## random work on a cluster under kills, stops, cancels and interrupts; ten minutes, or SOAK_ARGS=3600
	@$(BIN)/python -m tests.engines.cluster.soak $(SOAK_ARGS)

slurm: $(VENV)/.installed-test slurmd ## a real SLURM of one node, here: run what is tested on it
	@$(BIN)/python -m pytest tests/adapters/clusters/test_slurm.py $(PYTEST_ARGS)
	@$(BIN)/python -m tests.adapters.clusters.slurm $(BIN)/python -m pytest notebooks/06_clusters.ipynb --nbval-lax

suites: $(VENV)/.installed-test ## dask's and xarray's own tests on each engine, and in what they differ; hours, or SUITES_ARGS="--suites core --engines threads"
	@$(BIN)/python -m tests.adapters.suites $(SUITES_ARGS)

matrix: $(VENV)/.installed-test ## the tests of the dask adapter with the last few releases of dask, or MATRIX_ARGS="2026.3.0"
	@$(BIN)/python -m tests.adapters.suites.matrix $(MATRIX_ARGS)

check: $(VENV)/.installed-test ## lint, check the formatting and the types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

clean: ## remove caches and build products (to start afresh, delete .venv too)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -path ./$(VENV) -prune -o -path ./.git -prune -o \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +

# ---- set-up: each step leaves a stamp in .venv and is done again when pyproject.toml changes ----

# $(call install,EXTRA): the checkout, editable, with one extra of pyproject.toml
install = @$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[$(1)]' \
	  || { echo "taskloom could not be installed: pip says why above." >&2; exit 1; }

$(VENV)/.installed-demo: pyproject.toml $(VENV)/.created
	@echo "Installing taskloom and what the demo needs into $(VENV) (once, about a minute) ..."
	$(call install,demo)
	@touch $@

$(VENV)/.installed-test: pyproject.toml $(VENV)/.created
	@echo "Installing taskloom and what its tests need into $(VENV) (once, one to two minutes) ..."
	$(call install,test)
	@touch $(VENV)/.installed-demo $@ # the test extra holds the demo extra

$(VENV)/.installed-bench: pyproject.toml $(VENV)/.created
	@echo "Installing taskloom and whom it is measured against into $(VENV) (once, two minutes) ..."
	$(call install,bench)
	@touch $(VENV)/.installed-demo $(VENV)/.installed-test $@ # the bench extra holds the others

$(VENV)/.created:
	@found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || { \
	  echo "taskloom needs Python 3.11 or newer, and '$(PYTHON)' does not run here." >&2; \
	  echo "Install Python (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "taskloom needs Python 3.11 or newer, and '$(PYTHON)' is Python $$found." >&2; \
	  echo "Install a newer one, or name it if you have it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }; \
	$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' (Python $$found) cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	  echo "Debian and Ubuntu ship them apart: apt-get install python3-venv (or python$$found-venv)" >&2; \
	  exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo "Making a virtual environment in $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@touch $@

chromium:
	@for name in $(BROWSERS); do command -v $$name >/dev/null 2>&1 && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing Chromium for the tests in a browser (once) ..."; \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium fonts-dejavu-core >/dev/null && exit 0; \
	fi; \
	echo "The tests drive a real browser, and none of these is installed: $(BROWSERS)." >&2; \
	echo "Install Chromium with your system's package manager (Debian: apt-get install chromium), then: make test" >&2; \
	exit 1

# Installed and not started: the tests start daemons of their own. They skip what needs SLURM where it is not to be had.
slurmd:
	@PATH="$$PATH:/usr/sbin" command -v slurmctld >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing SLURM for the tests of its clusters (once) ..."; \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    slurmctld slurmd slurm-client munge >/dev/null && exit 0; \
	fi; \
	echo "SLURM is not installed: its tests will be skipped." >&2
