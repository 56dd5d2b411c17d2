# Everything that a person or CI does here. `make` alone lists it. A fresh machine needs Python 3.11 or later, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# The caller's own Ansible settings must not reach the checks.
test test-fast bench lint: export ANSIBLE_CONFIG := $(CURDIR)/.ci/ansible.cfg
# Every start of Python would compile all of it again, and each worker every test.
unexport PYTHONDONTWRITEBYTECODE
STEP := .ci/step
PYTEST_ARGS ?=
# Most tests wait for something real: twice as many workers as the machine that they were measured on has cores.
PYTEST_WORKERS ?= 4
# In the order of tests/conftest.py: xdist's own would begin with the modules of most tests, which are the quick ones.
PYTEST := pytest -n $(PYTEST_WORKERS) --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv packages demo test test-fast bench acceptance lint format picture clean constraints

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## the environment in .venv, with everything that the other targets need

$(VENV)/.ready: python/pyproject.toml python/constraints.txt .ci/link-collection
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or later: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(STEP) "environment in $(VENV)" $(PYTHON) -m venv $(VENV)
	@$(STEP) "stoker, its tests and its tools installed" $(BIN)/python -m pip install --quiet --constraint python/constraints.txt --editable 'python[test,lint]'
	@$(BIN)/python .ci/link-collection
	@touch $@

packages: ## the Debian packages that the tests use (as root)
	@.ci/packages tests/testbed/packages.txt

demo: venv ## train a small model on this machine, through stoker
	@examples/demo.sh

test: venv packages lint ## everything that CI checks
	@rm -f .acceptance.json
	@.ci/tests $(PYTEST) --durations=10 --durations-min=5 $(PYTEST_ARGS)
	@python tests/acceptance.py --check

test-fast: venv ## unit tests and conformance, without the slow ones
	@$(PYTEST) -q -m 'not slow and not root' tests/unit tests/conformance $(PYTEST_ARGS)

bench: venv packages ## measure against ssh and plain Ansible, side by side
	@python -m tests.bench

acceptance: venv ## the rows of docs/acceptance.md that no passing test stands for, as of the last `make test`
	@python tests/acceptance.py

lint: venv ## ruff, mypy, import rules, ansible-lint, changelog, ansible-test sanity
	@.ci/lint

format: venv ## put the sources into ruff's format, and mend what it can
	@ruff check --quiet --fix-only . && ruff format --quiet .

picture: venv ## the terminal picture of the README, from a real run
	@python examples/picture.py docs/demo.svg examples/demo.sh

clean: ## remove everything that make made
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .ansible .acceptance.json dist *.tar.gz
	@find . -path ./.git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

constraints: venv ## take the newest versions of everything, and pin them
	@pip install --quiet --upgrade --editable 'python[test,lint]'
	@pip freeze --exclude-editable > python/constraints.txt
