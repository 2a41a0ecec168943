# Everything a newcomer needs: Python 3.11+ and make. `make help` lists the targets.
PYTHON ?= python3
# Tests wait for servers more than they compute, so more of them than there are cores run at once.
TEST_WORKERS ?= 5
VENV := .venv
BIN := $(VENV)/bin
# The tests start our services hundreds of times: what was compiled once is kept, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
SOURCES := ledger media gateway sandbox verifier tests benchmarks proto/generate.py

.PHONY: help demo up test soak lint format bench stubs freeze pins clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

# The stamp is as new as the last complete installation, so an interrupted one is done again.
$(VENV)/installed: requirements.txt pyproject.toml verifier/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Indelible needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name one with: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing pinned dependencies into $(VENV) (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ./verifier -e .
	@touch $@

demo: $(VENV)/installed ## Record a session and a camera clip, seal, time-stamp, export, verify and tamper, all on this machine
	@$(BIN)/indelible demo

up: $(VENV)/installed ## Run the whole product on this machine until Ctrl-C
	@$(BIN)/indelible up

test: $(VENV)/installed ## Run the tests
	@$(BIN)/python -m pytest -q -m "not soak" -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

soak: $(VENV)/installed ## Kill the service and PostgreSQL over and over under load (takes many minutes)
	@$(BIN)/python -m pytest -q -m soak --timeout=0

lint: $(VENV)/installed ## Check style, types, import rules, contracts and generated stubs
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint
	@$(BIN)/buf breaking --against proto/released.binpb
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py --check
	@echo "Style, types, import rules, contracts and stubs are in order."

format: $(VENV)/installed ## Rewrite the sources in the house style
	@$(BIN)/ruff check --quiet --fix $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

bench: $(VENV)/installed ## Measure speed and memory against floors of the same run (JSON lines)
	@$(BIN)/python -m benchmarks.run

stubs: $(VENV)/installed ## Generate proto/gen from the contracts
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py

freeze: $(VENV)/installed ## At a release: keep the contracts that later changes may not break
	@$(BIN)/buf build -o proto/released.binpb

pins: ## Resolve requirements.txt anew from pyproject.toml
	@$(PYTHON) -m venv $(VENV)-pins && $(VENV)-pins/bin/pip install --quiet uv
	@$(VENV)-pins/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-package indelible-verifier --extra sandbox --extra dev --extra web pyproject.toml verifier/pyproject.toml -o requirements.txt
	@rm -rf $(VENV)-pins

clean: ## Remove what the other targets made
	@rm -rf $(VENV) $(VENV)-pins artifacts build dist *.egg-info verifier/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
