# Needs Python 3.11 or later, and make. Everything else goes into .venv.
# PYTHON=python3.12 chooses another interpreter and VENV=.venv-3.12 another folder for it;
# ARGS="--port 9800" passes options on, PYTEST_ARGS="-k settings" chooses tests.

PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# What an installation depends on; the code itself is installed editable.
SOURCES := setup.py pyproject.toml datalayer_stripe/_version.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run play test test-packages test-faults figures settings pictures bench lint format docs build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed-demo ## start the demo: the service and a local Stripe
	@$(BIN)/datalayer-stripe demo $(ARGS)

play: $(VENV)/.installed-demo ## play the demo's story and check each step of it
	@$(BIN)/datalayer-stripe demo --play $(ARGS)

# Each file's tests stay together, since they share what takes long to start. Files with slow tests
# come first (tests/conftest.py), so that no worker is left with one at the end.
test: $(VENV)/.installed-test ## run the tests
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-packages: $(VENV)/.installed-test ## build, install and use packages, the tutorial's too; needs PyPI
	@$(BIN)/python -m pytest -m packages $(PYTEST_ARGS)

test-faults: $(VENV)/.installed-test ## kill, cut and overload it, for minutes
	@$(BIN)/python -m pytest -m faults $(PYTEST_ARGS)

figures: $(VENV)/.installed-test ## put what the fault tests tried into docs/reliability.md
	@$(BIN)/python -m tests.faults.figures

settings: $(VENV)/.installed-test ## generate what documents say of the settings
	@$(BIN)/python -m tests.support.settings_documents

pictures: $(VENV)/.installed-test ## make the pictures of docs/checkout.md anew
	@$(BIN)/python -m tests.browser.pictures

bench: $(VENV)/.installed-test ## measure deliveries, open streams and hostile text in the log
	@$(BIN)/python -m benchmarks.deliveries
	@$(BIN)/python -m benchmarks.streams
	@$(BIN)/python -m benchmarks.redaction

lint: $(VENV)/.installed-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## rewrite the code in its style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# --strict fails on a broken link, an unknown anchor and a public name without a docstring.
# No --quiet: it hides the warnings from --strict.
docs: $(VENV)/.installed-docs ## build the documentation site in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

build: $(VENV)/.installed-dev ## make the sdist and the wheel in dist/
	rm -rf build dist
	$(BIN)/python -m build

clean: ## remove everything that the other targets made
	rm -rf .venv .venv-* build dist site .cache *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find benchmarks datalayer_stripe plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last: what was interrupted is done again.
$(VENV)/.installed-%: $(SOURCES) | $(VENV)/.created
	@echo "Installing datalayer-stripe[$*] into $(VENV), once; this takes a moment."
	@$(PIP) install --quiet --editable '.[$*]'
	@touch $@

$(VENV)/.created:
	@python=; candidates="$(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)"; \
	for candidate in $$candidates; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "datalayer-stripe needs Python 3.11 or later, and none of these is: $$candidates."; \
	  echo "Install one (https://www.python.org/downloads/), or name it: make PYTHON=/path/to/python3.12"; \
	  exit 1; \
	fi; \
	if ! "$$python" -m venv --clear $(VENV); then \
	  echo "$$python cannot make a virtual environment."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv (or python3.12-venv, as the version is)."; \
	  exit 1; \
	fi
	@touch $@
