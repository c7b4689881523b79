# Everything here works on a machine with Python >= 3.11, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format lint types contracts docs lock bench bench-quick bench-check clean

help:            ## show what can be made
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv with the pinned, hashed requirements

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)   ## run the main job on the embedded sandbox, nothing else needed
	$(BIN)/asyncfilter demo

test: $(READY)   ## run the tests
	$(BIN)/python -m pytest -q

check: $(READY) format lint types contracts docs test  ## all that CI runs

format: $(READY) ## the formatting is checked, not changed
	$(BIN)/ruff format --check .

lint: $(READY)   ## lint
	$(BIN)/ruff check .

types: $(READY)  ## strict types
	$(BIN)/mypy

contracts: $(READY) ## imports point down only
	$(BIN)/lint-imports

docs: $(READY)   ## generated documents are current
	$(BIN)/python -m asyncfilter.job.documentation --check

lock: $(READY)   ## compile the pinned, hashed requirements
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --extra dev --extra onnx -o requirements/dev.txt pyproject.toml

bench: $(READY)  ## measure ours and its peers for half an hour; BENCH="--data FOLDER" for recorded answers
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: $(READY) ## the same in two minutes; rewrites nothing
	$(BIN)/python -m benchmarks --quick $(BENCH)

bench-check: $(READY) ## has the program become slower than in the committed results?
	$(BIN)/python -m benchmarks --check $(BENCH)

clean:           ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .asyncfilter-demo
