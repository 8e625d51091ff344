# make demo | test | lint | docs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN ?= runs/demo
JOBS ?= 2

.PHONY: demo test lint docs install clean-demo

install: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The extras are installed again only when the package metadata changed.
$(STAMP): setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[smartapi,iec104,study,test,bench,docs,lint]'
	touch $(STAMP)

demo: $(STAMP) clean-demo
	$(BIN)/heila run scenarios/congestion_day.yaml --out $(RUN)
	@echo "open $(CURDIR)/$(RUN)/report.html"

clean-demo:
	rm -rf $(RUN)

# JOBS=0 runs the tests one after the other in one process, for a debugger.
test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Warnings are errors; internal links and anchors are checked. Examples run with the tests (tests/docs).
docs: $(STAMP)
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html
	@echo "open $(CURDIR)/docs/_build/html/index.html"
