# `make repro`: environment, pipeline, results. `make test`: environment, tests. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The build of torch that fits the machine; on a GPU machine: make repro TORCH="torch==2.13.0 --index-url <CUDA index>"
TORCH ?= torch==2.13.0
# Folder of wheels made by `make vendor`: with it the environment is installed without any network.
WHEELS ?=
VENV := .venv
READY := $(VENV)/.ready
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --no-input
PIP_SOURCE = $(if $(WHEELS),--no-index --find-links $(WHEELS),)
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: help setup repro report test test-all lint verify verify-spot verify-full profile dependencies lock vendor clean

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## the locked environment in .venv

$(READY): requirements.lock pyproject.toml
	@echo "setup: $(VENV) with $$($(PYTHON) --version)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "setup: torch"
	@$(PIP) install -q $(PIP_SOURCE) $(TORCH) 2> >(grep -v '^WARNING: Location' >&2)
	@echo "setup: locked packages"
	@$(PIP) install -q $(PIP_SOURCE) --require-hashes --no-deps -r requirements.lock 2> >(grep -v '^WARNING: Location' >&2)
	@$(PIP) install -q $(PIP_SOURCE) --no-deps --no-build-isolation -e . 2> >(grep -v '^WARNING: Location' >&2)
	@$(PIP) check
	@touch $@

repro: $(READY) ## run the pipeline, end with the results
	@dvc repro
	@python -m synthdrive.pipeline.results reports

report: $(READY) ## print the results of the last run
	@python -m synthdrive.pipeline.results reports

test: $(READY) ## the test suite
	@python -m pytest -m "not slow"

test-all: $(READY) ## the test suite with its slow tests
	@python -m pytest

lint: $(READY) ## style, types, import layers, declared dependencies
	@ruff check . && ruff format --check .
	@mypy
	@lint-imports
	@python -m synthdrive.pipeline.dependencies

verify: $(READY) ## does dvc.lock match code and parameters? (needs no data)
	@python -m synthdrive.pipeline.verify lock

verify-spot: $(READY) ## make the data again and compare its bytes
	@python -m synthdrive.pipeline.verify spot

verify-full: $(READY) ## train again and compare the metrics
	@python -m synthdrive.pipeline.verify full

profile: $(READY) ## make profile NAME=paper: merge profiles/NAME.yaml into params.yaml
	@python -m synthdrive.pipeline.profiles $(NAME)

dependencies: $(READY) ## write the stages' imports into dvc.yaml
	@python -m synthdrive.pipeline.dependencies --write

# torch and what only its CUDA builds need stay out: they are installed first, in the build that fits the machine.
lock: ## resolve requirements.in into requirements.lock (needs uv)
	@uv pip compile requirements.in --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --no-emit-index-url --no-annotate --no-header --quiet --no-emit-package torch --no-emit-package triton \
	  $$(uv pip compile requirements.in --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate \
	     --no-header --quiet | sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+).*/--no-emit-package \1/p') -o requirements.lock

vendor: $(READY) ## make vendor WHEELS=wheels: every wheel of the environment into a folder, for a set-up without network
	@test -n "$(WHEELS)" || { echo "usage: make vendor WHEELS=<folder>" >&2; exit 2; }
	@mkdir -p $(WHEELS)
	@$(PIP) download -q -d $(WHEELS) $(TORCH) 2> >(grep -v '^WARNING: Location' >&2)
	@$(PIP) download -q -d $(WHEELS) --require-hashes --no-deps -r requirements.lock 2> >(grep -v '^WARNING: Location' >&2)

clean: ## remove the environment (data and models belong to DVC)
	@rm -rf $(VENV)
