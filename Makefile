# Everything a newcomer or CI does goes through here: `make crawl`, `make test`, `make check`.
.DEFAULT_GOAL := help
.PHONY: help install install-dev crawl check test test-spark lock clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SEEDS  ?=
CONTACT ?=
OUT    ?= crawl

help:
	@echo "make crawl                                       crawl the bundled demo web, no network needed"
	@echo "make crawl SEEDS='https://example.org' CONTACT=me@example.org   crawl the real one"
	@echo "make install | test | test-spark | check | lock | clean"

# Debian and Ubuntu split ensurepip into python3-venv: install it where we may, say so where not.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "comity needs Python >= 3.11; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  v=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && { apt-get install -y -qq $$v || apt-get install -y -qq python3-venv; }; \
	  else echo "$(PYTHON) has no venv module: sudo apt-get install $$v" >&2; exit 2; fi; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install -q --require-hashes -r requirements.lock
	$(PIP) install -q --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) install -q --require-hashes -r requirements-dev.lock
	@touch $@

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

crawl: install
ifeq ($(strip $(SEEDS)),)
	$(BIN)/comity demo
else
	$(BIN)/comity crawl $(SEEDS) --contact "$(CONTACT)" --out "$(OUT)"
endif

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests mostly wait, for delays and deadlines: two processes per core.
test: install-dev
	$(BIN)/pytest -n $$((2 * $$(nproc))) --dist worksteal

# Apart from the others: PySpark is half a gigabyte, and wants a Java runtime.
test-spark: install-dev
	@command -v "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" >/dev/null || \
	  { echo "Spark needs a Java runtime: sudo apt-get install openjdk-17-jre-headless" >&2; exit 2; }
	$(PIP) install -q -e '.[spark]'
	$(BIN)/pytest -m spark

# Needs uv (pip install uv); the locks hold for Python 3.11 and newer on any platform.
UV_COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header pyproject.toml
lock:
	$(UV_COMPILE) -o requirements.lock
	$(UV_COMPILE) --extra dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
