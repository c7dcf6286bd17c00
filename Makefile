# Everything a newcomer needs, each a sentence. With Python 3.11 to 3.13, git and make, any target sets itself up.
.DEFAULT_GOAL := help
.PHONY: help setup demo ui test stories spark lint docs bench clean
SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/ready
DEMO := examples/flights
# uv brings its own certificates; behind a proxy with others, the second attempt in $(READY) uses the system's.
INSTALL = VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --compile-bytecode -c constraints.txt \
  -e '.[all,demo]' --group test --group lint
unexport PYTHONDONTWRITEBYTECODE

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## prepare .venv with everything (the other targets do it by themselves)

demo: $(READY)  ## run the whole story on a year of flights: features, training, gate, serving, monitoring
	$(BIN)/python $(DEMO)/demo.py

ui: $(READY)  ## open the pages of the demo's project again
	cd $(DEMO) && ../../$(BIN)/trivet server

test: $(READY)  ## run the tests that a change must pass (a few minutes)
	$(BIN)/pytest -q -n 2 --dist loadscope -m "not slow"

stories: $(READY)  ## run the slow tests: whole stories from end to end
	$(BIN)/pytest -q -m slow

spark: $(READY)  ## run the tests on Spark, in an environment of their own (needs Java 17 or newer)
	TRIVET_CI=1 $(BIN)/pytest -q -m slow tests/stories/test_on_spark.py

lint: $(READY)  ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)  ## generate the reference pages, follow every link and run every block of the documentation
	$(BIN)/python -m docs.generate
	$(BIN)/pytest -q -n 2 --dist worksteal tests/test_docs.py

bench: $(READY)  ## measure everything in benchmarks/
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean:  ## remove what was built, downloaded or recorded here, .venv too
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/.work
	rm -rf $(DEMO)/.trivet $(DEMO)/data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is younger than what it was installed from, so nothing is installed twice.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { \
	  for python in "$(PYTHON)" python3.11 python3.12 python3.13 python3; do \
	    $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
	    rm -rf .venv; $$python -m venv .venv && exit 0; rm -rf .venv; \
	    echo "$$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; \
	  done; \
	  echo "Trivet needs Python 3.11, 3.12 or 3.13. Install one, or say where it is: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@echo "Installing into .venv, once; about a minute."
	@$(INSTALL) 2>.venv/said || UV_SYSTEM_CERTS=1 $(INSTALL) || { cat .venv/said; exit 1; }
	@touch $@
