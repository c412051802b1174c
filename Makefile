# Everything a newcomer needs; each target does its own set-up in .venv.
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
PORT ?= 0

.PHONY: help run test lint types bench clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

run: .venv/installed  ## Serve the hello example and print its address (PORT=8000 for a fixed one)
	$(BIN)/python -m uwsgi_async --http-socket 127.0.0.1:$(PORT) --async 100 --wsgi-file examples/hello.py

test: .venv/installed  ## Run the tests
	-@$(BIN)/python -m tests.parity.oracle  # beforehand, as it takes longer than a test may
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

lint: .venv/installed-lint  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed-lint  ## mypy, strict
	$(BIN)/mypy

clean:  ## Remove the environment
	rm -rf .venv

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: none of python3.13, python3.12, python3.11, python3 is"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group test --editable .
	@touch $@

.venv/installed-lint: .venv/installed
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@
