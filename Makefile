# Everything a contributor types, from a fresh clone on: `make demo`, `make test`. Each sets up what it needs.
# Other Pythons, PyTorch builds and places: make test PYTHON=python3.12 TORCH=torch==2.12.0 VENV=/tmp/venv

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format clean

help: ## Print this list.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(INSTALLED) ## Make the virtual environment; the targets below do it when it is missing or stale.

demo: $(INSTALLED) ## Retune the example prompt for its GPU, which need not be in this machine.
	$(BIN)/codegen retune docs/examples/prompt.md --inputs 'float32[8192,4096]' --reference 'X @ X.T' --diff

test: $(INSTALLED) ## Run the whole suite.
	$(BIN)/python -m pytest

lint: $(INSTALLED) ## Check style, types and the generated kernels.
	$(BIN)/ruff check
	$(BIN)/black --check $(BLACKENED)
	$(BIN)/mypy
	$(if $(wildcard generated/*.py),$(BIN)/codegen check generated)

format: $(INSTALLED) ## Format the sources and sort their imports.
	$(BIN)/ruff check --quiet --select I --fix
	$(BIN)/black --quiet $(BLACKENED)

clean: ## Remove the virtual environment and everything made.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Test cases are input: some are badly formatted or no Python at all, on purpose.
BLACKENED := codegen tests --extend-exclude '^/tests/cases/'

# PyTorch goes in first and alone, so that no range of another package's moves it to another build.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo 'codegen needs Python 3.11 or newer: name one, as in `make PYTHON=python3.12`' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'Python cannot make virtual environments: on Debian, `apt-get install python3-venv`' >&2; exit 1; }
	@echo 'Setting up $(VENV), once; PyTorch takes a while.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[toolchain,dev]'
	@touch $@
