# Needs Python 3.11 or later, and make. Everything else is installed into .venv.
# PYTHON=python3.12 selects an interpreter, VENV=.venv-3.12 the folder of the virtual environment,
# ARGS="--port 9800" the options of the demo, and PYTEST_ARGS="-k settings" the options of pytest.
# UPGRADE=1 takes the newest versions into the lock file.
# PEERS=1 adds other webhook receivers to the benchmark, and SOAK=1 ten minutes of load.

PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=
PEERS ?=
SOAK ?=
UPGRADE ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
# A change of these files installs again. The code itself is installed editable.
SOURCES := setup.py pyproject.toml datalayer_stripe/_version.py

VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' datalayer_stripe/_version.py)
DEPLOYMENT_TOOLS := bubblewrap mmdebstrap debian-archive-keyring nginx-light openssl systemd

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run play test test-browser test-lowest test-packages test-faults test-deployment deployment-tools lock image figures settings commands documented openapi stripe-cli promtool vendor labextension screenshots bench bench-micro lint format docs build audit release-check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed-demo ## start the demo: the service and a local Stripe
	@$(BIN)/datalayer-stripe demo $(ARGS)

play: $(VENV)/.installed-demo ## play the demo's story and check each step
	@$(BIN)/datalayer-stripe demo --play $(ARGS)

# The commands that the tests start compile every module anew where the environment says so.
test test-browser test-packages test-faults: export PYTHONDONTWRITEBYTECODE =

# Run all tests of a file in one worker, because they share fixtures that start slowly. Run the files
# with slow tests first (tests/conftest.py), so that no worker is left with one at the end.
IN_WORKERS := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(VENV)/.installed-test ## run the tests, but for those of the pages
	@$(BIN)/python -m pytest $(IN_WORKERS) --ignore=tests/browser $(PYTEST_ARGS)

test-browser: $(VENV)/.installed-test ## run the tests of the pages; needs Chromium or Chrome
	@$(BIN)/python -m pytest $(IN_WORKERS) tests/browser $(PYTEST_ARGS)

test-lowest: $(VENV)/.installed-dev ## run the tests with the lowest versions of the dependencies
	@$(MAKE) --no-print-directory test VENV=.venv-lowest \
	  INSTALL="$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct"

test-packages: $(VENV)/.installed-dev ## build, install and use the packages and the tutorial's plugin; needs PyPI and npm
	@$(BIN)/python -m pytest -m packages $(PYTEST_ARGS)

test-faults: $(VENV)/.installed-test ## kill processes, cut connections and overload the service; takes minutes
	@$(BIN)/python -m pytest -m faults $(PYTEST_ARGS)

# Build the image's steps in an empty folder, and run what ships the service.
test-deployment: $(VENV)/.installed-deployment ## check the image and the files of conf/ that deploy it; needs Debian or Ubuntu
	@$(BIN)/python -m pytest -m deployment $(PYTEST_ARGS)

deployment-tools: ## install the programs that test-deployment needs; needs apt-get and root or sudo
	@as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	$$as_root apt-get update -qq && \
	$$as_root apt-get install -qq --yes --no-install-recommends $(DEPLOYMENT_TOOLS) </dev/null >/dev/null

lock: $(VENV)/.installed-dev ## write requirements.lock, from which the image is built
	@$(BIN)/python -m tests.support.lock_file $(if $(UPGRADE),--upgrade)

image: ## build the image datalayer-stripe with its labels; needs Docker
	docker build --tag datalayer-stripe --build-arg VERSION="$(VERSION)" \
	  --build-arg REVISION="$$(git rev-parse HEAD)" \
	  --build-arg SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" $(ARGS) .

figures: $(VENV)/.installed-test ## write the figures of the fault tests into docs/reliability.md
	@$(BIN)/python -m tests.faults.figures

settings: $(VENV)/.installed-test ## generate the documentation of the settings
	@$(BIN)/python -m tests.support.settings_documents

commands: $(VENV)/.installed-test ## generate the documentation of the commands
	@$(BIN)/python -m tests.support.command_documents

documented: $(VENV)/.installed-test ## generate the parameters that Stripe documents from the types of its SDK
	@$(BIN)/python -m tests.support.stripe_documented

openapi: $(VENV)/.installed-test ## generate docs/openapi.json from the handlers and their models
	@$(BIN)/python -m tests.support.openapi_document

stripe-cli: $(VENV)/.installed-test ## install the official Stripe CLI for the tests; needs npm
	@$(BIN)/python -m tests.support.stripe_cli

promtool: $(VENV)/.installed-test ## unpack promtool, which checks the alerts, for the tests; needs apt-get
	@$(BIN)/python -m tests.support.promtool

vendor: $(VENV)/.installed-test ## write the files of npm packages that the pages use; needs npm
	@$(BIN)/python -m tests.support.vendored

labextension: $(VENV)/.installed-test ## build the JupyterLab extension into labextension/prebuilt; needs npm
	@$(BIN)/python -m tests.support.labextension

screenshots: $(VENV)/.installed-test ## create the screenshots of the documents
	@$(BIN)/python -m tests.browser.screenshots

bench: $(VENV)/.installed-bench ## measure `serve` beside reference servers; needs Linux, two cores and wrk
	@$(BIN)/python -m benchmarks $(if $(PEERS),--peers) $(if $(SOAK),--soak-seconds 600) $(ARGS)

bench-micro: $(VENV)/.installed-test ## measure parts of the service inside one process
	@$(BIN)/python -m benchmarks.micro.deliveries
	@$(BIN)/python -m benchmarks.micro.streams
	@$(BIN)/python -m benchmarks.micro.redaction
	@$(BIN)/python -m benchmarks.micro.tracing
	@$(BIN)/python -m benchmarks.micro.storage

lint: $(VENV)/.installed-dev ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# --strict fails on a broken link, an unknown anchor and a public name without a docstring.
# No --quiet: it hides the warnings from --strict.
docs: $(VENV)/.installed-docs ## build the documentation site in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

build: $(VENV)/.installed-dev ## build the sdist and the wheel in dist/
	rm -rf build dist
	$(BIN)/python -m build

audit: $(VENV)/.installed-audit ## check the workflow, and look for known vulnerabilities; needs the advisories of PyPI
	@$(BIN)/zizmor $(if $(GH_TOKEN),,--offline) .github
	@$(BIN)/pip-audit --disable-pip --require-hashes --requirement requirements.lock

release-check: build $(VENV)/.installed-release ## check that the packages are ready to be published
	@$(BIN)/python -m tests.support.release_check

clean: ## remove everything that the other targets create
	rm -rf .venv .venv-* build dist site .cache *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find benchmarks datalayer_stripe plugins tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp file is written last, so that an interrupted installation is repeated.
$(VENV)/.installed-%: $(SOURCES) | $(VENV)/.created
	@echo "Installing datalayer-stripe[$*] into $(VENV). This is done once and takes a moment."
	@$(INSTALL) --editable '.[$*]'
	@touch $@

# An environment that a person has created is kept, with what is installed in it; one of uv gets pip.
# pip writes its RECORD last: without it, the creation was interrupted. A PYTHON that is named the
# first time gets a new environment.
$(VENV)/.created:
	@has_pip='import sys; from importlib.metadata import distribution'; \
	has_pip="$$has_pip; sys.exit(sys.version_info < (3, 11) or not distribution('pip').files)"; \
	if [ -z "$(PYTHON)" ] && { $(BIN)/python -c "$$has_pip" || \
	    { $(BIN)/python -m ensurepip && $(BIN)/python -c "$$has_pip"; }; } >/dev/null 2>&1; then \
	  exit 0; \
	fi; \
	python=; candidates="$(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)"; \
	for candidate in $$candidates; do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "datalayer-stripe needs Python 3.11 or later, but found none in: $$candidates."; \
	  echo "Install one (https://www.python.org/downloads/), or select one: make PYTHON=/path/to/python3.12"; \
	  exit 1; \
	fi; \
	echo "Creating the virtual environment $(VENV) with $$python."; \
	if ! "$$python" -m venv --clear $(VENV); then \
	  echo "$$python cannot create a virtual environment."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv (or, for Python 3.12, python3.12-venv)."; \
	  exit 1; \
	fi
	@touch $@
