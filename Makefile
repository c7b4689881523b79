# Everything here works on a machine with Python >= 3.11, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
AUDIT  := .venv-audit
AUDITED := $(AUDIT)/.ready
RUN    := .venv-run
RUNS   := $(RUN)/.ready
# What runs the program: the environment of the developers where it is there, else one of what running needs.
PROGRAM := $(if $(wildcard $(READY)),$(READY),$(RUNS))
DOCS   := .venv-docs
DOCUMENTED := $(DOCS)/.ready
EXAMPLES ?= 10000
DIST   := dist

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-train test browser fuzz audit check release newest format lint types contracts docs site screenshots lock vendor bench bench-quick bench-check sweep test-cluster clean

help:            ## show what can be made
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## create .venv with the pinned, hashed requirements

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(PROGRAM) ## run the main job on the embedded sandbox, nothing else needed
	$(dir $(PROGRAM))bin/python $(dir $(PROGRAM))bin/asyncfilter demo

demo-train: $(PROGRAM) ## train a model, run it, correct it and stop it in the sandbox; two minutes
	$(dir $(PROGRAM))bin/python -c 'import numpy' 2>/dev/null || $(PYTHON) -m pip --python $(dir $(PROGRAM))bin/python install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/train.txt
	$(dir $(PROGRAM))bin/python $(dir $(PROGRAM))bin/asyncfilter demo --train

# The program runs from this folder, as in .venv, without being built. What is imported is compiled when it is.
$(RUNS): requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv --clear --without-pip $(RUN)
	$(PYTHON) -m pip --python $(RUN)/bin/python install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/run.txt
	@$(RUN)/bin/python -c 'import os, site; print(os.getcwd(), file=open(site.getsitepackages()[0] + "/asyncfilter.pth", "w"))'
	@printf '%s\n' "#!$(CURDIR)/$(RUN)/bin/python" "from asyncfilter.__main__ import main" "" "main()" > $(RUN)/bin/asyncfilter
	@chmod +x $(RUN)/bin/asyncfilter
	@touch $@

# Most of the time of tests/cli is waiting for processes: three at a time use two cores.
test: $(READY) browser ## run the tests, three processes at a time, the longest first
	@printf '%s\n' "$(wildcard tests/cli/test_[a-l]*.py)" "$(wildcard tests/cli/test_[m-z]*.py)" "tests/property tests/engine" \
	"$(wildcard tests/contract/test_[m-z]*.py)" "$(wildcard tests/contract/test_[a-l]*.py)" "tests/unit tests/real" tests/web \
	| xargs -P 3 -L 1 $(BIN)/python -m pytest -q

# The browser of the tests of the review page: those skip with a reason where there is none.
browser:
	@command -v chromium >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } \
	|| echo 'No chromium: the tests of the review page are skipped. Install it: apt-get install chromium'

fuzz: $(READY)   ## 10,000 damaged documents for every reader of foreign bytes; EXAMPLES=N for another number
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q -k fuzz tests/property tests/unit

audit: $(AUDITED) ## known vulnerabilities of the dependencies, and of the code
	$(AUDIT)/bin/bandit --quiet --configfile pyproject.toml --recursive asyncfilter
	$(AUDIT)/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements/dev.txt

$(AUDITED): requirements/audit.txt
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@

release: $(READY) $(AUDITED) ## wheel, sdist and SBOM in dist/, and the demo from each in a fresh environment
	rm -rf $(DIST)
	$(BIN)/hatchling build --directory $(DIST)
	$(PYTHON) -m venv --clear --without-pip $(DIST)/.venv
	$(BIN)/python -m pip --python $(DIST)/.venv/bin/python install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip --python $(DIST)/.venv/bin/python install --quiet --no-deps $(DIST)/*.whl
	$(AUDIT)/bin/cyclonedx-py environment --output-reproducible --output-file $(DIST)/.venv/installed.json $(DIST)/.venv/bin/python
	$(AUDIT)/bin/python requirements/sbom.py $(DIST)/.venv/installed.json $(DIST)/asyncfilter.cdx.json
	rm -rf $(DIST)/.venv
	RELEASE_FOLDER=$(DIST) $(BIN)/python -m pytest -q -m release tests/release

newest: $(READY) ## the demo with the newest dependencies of every range, on each Python on PATH
	NEWEST=1 $(BIN)/python -m pytest -q -m release -k newest tests/release

check: $(READY) format lint types contracts docs test  ## all that CI runs

format: $(READY) ## the formatting is checked, not changed
	$(BIN)/ruff format --check .

lint: $(READY)   ## lint
	$(BIN)/ruff check .

types: $(READY)  ## strict types
	$(BIN)/mypy

contracts: $(READY) ## imports point down only
	$(BIN)/lint-imports

docs: $(READY) site ## generated documents are current, and the site builds
	$(BIN)/python -m asyncfilter.job.documentation --check
	$(BIN)/python -m asyncfilter.policy.permissions.documentation --check
	$(BIN)/python -m website --check

# Not --quiet: it hides warnings from --strict, too.
site: $(DOCUMENTED) ## the documentation site in site/, which also works from there without a server
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

$(DOCUMENTED): requirements/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $@

screenshots: $(READY) ## pictures for the site, of commands that run on the sandbox; two minutes
	$(BIN)/python -m website.screenshots
	$(BIN)/python -m website.notebook
	$(BIN)/python -m website.review_strip

lock: $(READY)   ## compile the pinned, hashed requirements
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --extra dev --extra datasets --extra onnx --extra pandas --extra parquet --extra ray --extra sandbox-training -o requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --constraint requirements/dev.txt -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --constraint requirements/dev.txt --extra sandbox-training -o requirements/train.txt pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --constraint requirements/dev.txt --extra onnx -o requirements/onnx.txt pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe --constraint requirements/dev.txt --extra onnx --extra ray -o requirements/cluster.txt pyproject.toml requirements/cluster.in
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/audit.txt requirements/audit.in
	for name in build docs; do $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --allow-unsafe -o requirements/$$name.txt requirements/$$name.in; done

# npm reads nothing but the lock, whose packages are pinned by their hashes; none of their scripts runs.
vendor:          ## remake the libraries of the review page from the pinned, hashed npm packages
	npm ci --prefix requirements/page --ignore-scripts --no-audit --no-fund --silent
	node requirements/page/bundle.js

bench: $(READY)  ## measure ours and its peers for three quarters of an hour; BENCH="--data FOLDER" for recorded answers
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: $(READY) ## the same in four minutes; rewrites nothing
	$(BIN)/python -m benchmarks --quick $(BENCH)

bench-check: $(READY) ## has the program become slower than in the committed results?
	$(BIN)/python -m benchmarks --check $(BENCH)

sweep: $(READY)  ## 200 random moments each of Ctrl-C, SIGTERM and kill -9, 100 of leases and of trainings, 50 machines lost on each of two S3 servers, 200 fleets in trouble, for hours
	$(BIN)/python -m tests.kit.sweep signals
	$(BIN)/python -m tests.kit.sweep kills
	set -e; for job in lanes ranges onnx copy state; do \
	  $(BIN)/python -m tests.kit.sweep signals --job $$job --moments 20; \
	  $(BIN)/python -m tests.kit.sweep kills --job $$job --moments 50; done
	$(BIN)/python -m tests.kit.sweep leases --moments 100
	$(BIN)/python -m tests.kit.sweep trainings --moments 100
	$(BIN)/python -m tests.kit.sweep states --moments 50
	$(BIN)/python -m tests.kit.sweep states-elsewhere --moments 50
	$(BIN)/python -m tests.kit.sweep fleets

test-cluster: $(READY) ## what a fleet promises, on a local Ray of a head and three nodes, for hours; PROOFS="--repeat N [KIND ...]" for less
	$(BIN)/python -c 'import ray' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/cluster.txt
	status=0; $(BIN)/python -u -m tests.kit.cluster_image || status=$$?; \
	  $(BIN)/python -u -m tests.kit.cluster_proofs $(PROOFS) || status=$$?; exit $$status

clean:           ## remove what make made
	rm -rf $(VENV) $(AUDIT) $(RUN) $(DOCS) $(DIST) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .asyncfilter-demo .asyncfilter-demo-train requirements/page/node_modules
