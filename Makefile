# `make demo` and `make test` are all that a fresh machine needs: both build .venv from the hash-pinned locks first.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

PIP := $(BIN)/python -m pip --disable-pip-version-check
UV := env -u UV_FIND_LINKS $(BIN)/uv

# What is younger than a week has not been looked at by anyone yet.
LOCK_CUTOFF = $(shell $(PYTHON) -c 'import datetime as d; t = d.datetime.now(d.timezone.utc); print(t.date() - d.timedelta(days=7))')
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' --exclude-newer $(LOCK_CUTOFF)T00:00:00Z

.PHONY: venv demo test check lock docs bench bench-full soak wheel clean
.DEFAULT_GOAL := test

venv: $(STAMP)

# --clear: what another Python, or an older lock, left there would be found first.
# Debian's pip 23.0 refuses an editable install together with hashes, hence two steps; the second fetches nothing.
$(STAMP): pyproject.toml requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) install --quiet --no-deps --require-hashes -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)
	$(BIN)/khunjerab demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_tidy.py

# The versions locked now are kept where they still fit; `make lock UPGRADE=--upgrade` takes newer ones.
lock: $(STAMP)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements.lock
	$(COMPILE) $(UPGRADE) -c requirements.lock --group dev pyproject.toml -o requirements-dev.lock

# What is written from the program itself; tests/test_docs.py fails where it is not as here.
docs: $(STAMP)
	$(BIN)/python -m tests.support.pages

bench: $(STAMP)
	$(BIN)/python -m bench

bench-full: $(STAMP)
	$(BIN)/python -m bench --full

soak: $(STAMP)
	KHUNJERAB_SOAK=1 $(BIN)/python -m pytest -m soak

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(wildcard bench tests protocol keys broker clients khunjerab) -name __pycache__ -type d -prune -exec rm -rf {} +
