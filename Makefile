# `make repro`: environment, pipeline, results. `make test`: environment, tests. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The build of torch that fits the machine, in pip's words: make setup TORCH="torch==2.13.0 --index-url <index>". Without
# a choice the one that is installed stays, and a first set-up takes pip's own.
TORCH ?=
# Folder of wheels made by `make vendor`: with it the environment is installed without any network.
WHEELS ?=
# Cells that `make cells` trains at a time; each has its share of the processors, unless OMP_NUM_THREADS is set.
JOBS ?= 1
# `make study` with other parameters: what its variants' names get appended, and what is said of them.
SUFFIX ?=
NOTE ?=
# Its cells: judged on the val scenes (runs) or on a fold of the train scenes (choices, after make profile NAME=choices).
INTO ?= runs
# Inside the image the environment is there already, and SYNTHDRIVE_CONTAINER says where.
VENV := $(or $(SYNTHDRIVE_CONTAINER),.venv)
READY := $(VENV)/.ready
# What the environment was set up with, and what it is to be; .torch holds what was chosen, nothing for the default.
TORCH_DEFAULT := torch==2.13.0
RECORDED := $(or $(strip $(shell cat $(VENV)/.torch 2> /dev/null)),$(TORCH_DEFAULT))
CHOSEN := $(or $(if $(WHEELS),WHEELS=$(abspath $(WHEELS))),$(strip $(TORCH)),$(RECORDED))
FOLDER := $(patsubst WHEELS=%,%,$(filter WHEELS=%,$(CHOSEN)))
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --no-input
export PATH := $(abspath $(VENV))/bin:$(PATH)

.PHONY: help setup repro cells study report experiments test test-all faults fuzz lint verify verify-spot verify-full repair profile another-choice dependencies lock vendor vendor-test audit container container-test clean

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY) ## the locked environment in .venv

ifndef SYNTHDRIVE_CONTAINER
ifneq ($(CHOSEN),$(RECORDED))
$(READY): another-choice
another-choice:
	@echo "setup: another choice than $(RECORDED)"
endif

# One build of torch does not replace another of the same version: another choice empties the environment first.
$(READY): requirements.lock pyproject.toml
	@echo "setup: $(VENV) with $$($(PYTHON) --version)"
ifneq ($(FOLDER),)
	@PYTHONPATH=src $(PYTHON) -m tools.wheels check $(FOLDER)
endif
	@rm -f $@
ifeq ($(CHOSEN),$(RECORDED))
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
else
	@$(PYTHON) -m venv --clear $(VENV)
endif
	@echo "$(if $(subst $(TORCH_DEFAULT),,$(CHOSEN)),$(CHOSEN))" > $(VENV)/.torch
ifneq ($(FOLDER),)
	@$(PIP) install -q --no-index --find-links $(FOLDER) --require-hashes --no-deps -r $(FOLDER)/vendored.lock
else
	@echo "setup: torch"
	@$(PIP) install -q $(CHOSEN) 2> >(grep -v '^WARNING: Location' >&2)
	@echo "setup: locked packages"
	@$(PIP) install -q --require-hashes --no-deps -r requirements.lock 2> >(grep -v '^WARNING: Location' >&2)
endif
	@$(PIP) install -q --no-index --no-deps --no-build-isolation -e . 2> >(grep -v '^WARNING: Location' >&2)
	@$(PIP) check
	@touch $@
endif

repro: $(READY) ## run the pipeline, end with the results
	@dvc repro
	@$(MAKE) --no-print-directory report

# DVC runs one stage after another, but several of it may run side by side: each cell is a chain of its own.
cells: $(READY) ## make cells JOBS=2: train and judge variants and seeds side by side, seed by seed; `make repro` then finds them done
	@dvc repro check_raw check_synthetic evaluate_baselines
	@[ $(JOBS) = 1 ] || export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$$(($$(nproc) > $(JOBS) ? $$(nproc) / $(JOBS) : 1))}; \
	dvc stage list --name-only | sed -n 's/^evaluate@//p' | sort -s -t- -k2,2n | xargs -P $(JOBS) -I{} dvc repro evaluate@{}

study: cells ## make study JOBS=2: cells, and what they show as studies/argoverse1_small (after make profile NAME=argoverse1-small)
	@PYTHONPATH=src python -m studies.argoverse1_small --suffix '$(SUFFIX)' --note '$(NOTE)' --into $(INTO)

report: ## print the results of the last run
	@cat reports/summary.txt
	@echo "report: reports/index.html"

# A column for each parameter that differs and for each variant, of one metric, so that the table fits a terminal. DVC's own
# names of columns with a path (metrics of single runs, the hashes of what stages read) are left out.
METRIC ?= minFDE6
experiments: $(READY) ## make experiments METRIC=MR6: experiments side by side, parameters that differ a metric by variant (or METRIC=.*lanes.gain)
	@dvc exp show --only-changed --hide-workspace --drop '.*/|Created$$|.*\.(yaml|lock)$$|(metrics|forecasts)$$|(?!$(METRIC))(MR6|minFDE6|minADE6|reconstruction)\.'

test: $(READY) ## the test suite
	@python -m pytest -m "not slow"

test-all: $(READY) ## the test suite with its slow tests
	@python -m pytest

faults: $(READY) ## kill, starve and damage every stage of a small pipeline: does it survive? (10 minutes)
	@python tests/faults

# atheris is no part of the lock; where it is absent, this says how to have it.
fuzz: $(READY) ## make fuzz SECONDS=120: give each reader damaged files for so long
	@python tests/hostile/fuzz.py --seconds $(or $(SECONDS),60) $(TARGETS)

lint: $(READY) ## style, types, import layers, declared dependencies
	@ruff check . && ruff format --check .
	@mypy
	@lint-imports
	@python -m tools.dependencies

verify: $(READY) ## does dvc.lock match code and parameters? (needs no data)
	@python -m tools.verify lock

verify-spot: $(READY) ## make the data again and compare its bytes, score the stored forecasts again
	@python -m tools.verify spot

verify-full: $(READY) ## train again and compare the metrics
	@python -m tools.verify full

repair: $(READY) ## read every artifact and cached copy again, make good what a disk has damaged
	@python -m tools.repair

profile: $(READY) ## make profile NAME=paper: params.yaml as committed, with profiles/NAME.yaml merged into it
	@python -m tools.profiles $(NAME)

dependencies: $(READY) ## write the stages' imports into dvc.yaml
	@python -m tools.dependencies --write

# torch and what only its CUDA builds need stay out: they are installed first, in the build that fits the machine.
lock: ## resolve requirements.in into requirements.lock (needs uv)
	@uv pip compile requirements.in --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --no-emit-index-url --no-annotate --no-header --quiet --no-emit-package torch --no-emit-package triton \
	  $$(uv pip compile requirements.in --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate \
	     --no-header --quiet | sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+).*/--no-emit-package \1/p') -o requirements.lock

vendor: ## make vendor WHEELS=wheels: every wheel of the environment into a folder; then make setup WHEELS=wheels needs no network
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" containers/vendor-wheels.sh $(WHEELS)

vendor-test: ## make vendor-test WHEELS=wheels: does the set-up work in a fresh clone where there is no network?
	@PYTHON="$(PYTHON)" containers/vendor-test.sh $(WHEELS)

audit: $(READY) ## is the lock whole, hashed, minimal and what is installed? LICENCES=1 lists licences, ADVISORIES=all.zip looks for known holes
	@python -m tools.lock_audit $(if $(LICENCES),--licences) $(if $(ADVISORIES),--advisories $(ADVISORIES))

container: ## build the image with docker, podman or buildah; WHEELS=wheels (of make vendor): without a package index
	@WHEELS="$(WHEELS)" containers/build.sh

container-test: ## tests and pipeline inside the image, on a fresh clone, not as root; same results as outside?
	@containers/test.sh

clean: ## remove the environment (data and models belong to DVC)
	@rm -rf $(VENV)
