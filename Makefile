# `make repro`: environment, pipeline, results. `make test`: environment, tests. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Interpreter, 3.11 to 3.13, and build of torch: cpu, cuda, or arguments of pip ("torch==2.13.0 --index-url <index>"). By
# default, an installed torch is kept; a first set-up installs the build that fits the machine.
PYTHON ?=
TORCH ?=
# Folder of wheels made by `make vendor`: with it the environment is installed without any network.
WHEELS ?=
# Runs (a variant with a seed) at a time: as many as cores, one where a GPU trains, or make repro JOBS=4.
JOBS ?=
# Inside the image the environment is there already, and SYNTHDRIVE_CONTAINER says where.
VENV := $(or $(SYNTHDRIVE_CONTAINER),$(CURDIR)/.venv)
export PATH := $(VENV)/bin:$(PATH)

.PHONY: help setup environment repro report experiments test test-all test-versions faults fuzz lint gpu-check verify verify-spot verify-full repair profile profile-name lock vendor vendor-test audit container container-test clean

help: ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: environment ## the locked environment in .venv

environment:
ifndef SYNTHDRIVE_CONTAINER
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" WHEELS="$(WHEELS)" containers/install-environment.sh .venv
endif

# If DVC has a default remote, artifacts stored there are pulled instead of computed.
repro: environment ## run the pipeline, as many runs side by side as there are cores (or JOBS=4); end with the results
	@python -m tools.raw_data
	@[ -z "$$(dvc config core.remote)" ] || dvc pull --run-cache || echo "repro: what could not be pulled is made here"
	@python -m tools.side_by_side $(if $(JOBS),--jobs $(JOBS))
	@$(MAKE) --no-print-directory report

report: ## print the results of the last run
	@[ -f reports/summary.txt ] || { echo "report: no results yet (reports/summary.txt); make repro computes them" >&2; exit 2; }
	@cat reports/summary.txt
	@echo "report: reports/index.html"

experiments: environment ## the experiments side by side: parameters that differ, minFDE6 by variant (or METRIC=MR6, minADE6)
	@python -m tools.experiment_table --metric $(or $(METRIC),minFDE6)

# A process for each core, up to eight, of one thread each; the tests of a file share what it sets up, so they stay together.
PYTEST := OMP_NUM_THREADS=1 python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

test: environment ## the test suite, as many files side by side as there are cores
	@$(PYTEST) -m "not slow"

test-all: environment ## the test suite with its slow tests
	@$(PYTEST)

# Each version has its own environment in .versions/<version> and takes all other packages from .venv. A CUDA build
# needs 5 to 7 GB.
TORCHES ?= 2.6.0 2.9.1
test-versions: environment ## make test-versions TORCHES="2.6.0 2.9.1": networks and training under other versions of torch
	@rest=$$(python -c 'import site; print(site.getsitepackages()[0])'); \
	for torch in $(TORCHES); do \
	  own=$(CURDIR)/.versions/$$torch; echo "torch $$torch"; \
	  [ -f $$own/ready ] || { python -m venv --clear $$own && $$own/bin/pip install --quiet torch==$$torch && \
	    $$own/bin/python -c "import site; open(site.getsitepackages()[0] + '/rest.pth', 'w').write('$$rest')" && touch $$own/ready; }; \
	  PYTHONPATH=$(CURDIR)/src $(subst python,$$own/bin/python,$(PYTEST)) -m "not slow" tests/models tests/training tests/pretraining tests/finetuning; \
	done

faults: environment ## kill, starve and damage every stage of a small pipeline: does it survive? (10 minutes)
	@python tests/faults

# atheris is not in the lock file; if it is missing, the command says how to install it.
fuzz: environment ## make fuzz SECONDS=120: fuzz each file reader for that many seconds
	@python tests/hostile/fuzz.py --seconds $(or $(SECONDS),60) $(TARGETS)

lint: environment ## style, types, import layers, declared dependencies
	@ruff check . && ruff format --check .
	@mypy
	@lint-imports
	@python -m tools.dependencies

gpu-check: ## on a machine with CUDA: check results and repeatability, measure speed by precision and at the paper's size
	@PYTHONPATH=src $(or $(PYTHON),python) benchmarks/gpu_check.py --out gpu-check

verify: environment ## does dvc.lock match code and parameters? (needs no data)
	@python -m tools.verify lock

verify-spot: environment ## make the data again and compare its bytes, score the stored forecasts again
	@python -m tools.verify spot

verify-full: environment ## train again and compare the metrics
	@python -m tools.verify full

repair: environment ## read every artifact and cached copy again, repair damaged ones
	@python -m tools.repair

profile: profile-name environment ## make profile NAME=paper: params.yaml as committed, with profiles/NAME.yaml merged into it
	@python -m tools.profiles $(NAME)
	@python -m tools.raw_data || { status=$$?; echo "profile: params.yaml has the profile's values"; exit $$status; }

profile-name:
	@[ -n "$(NAME)" ] && [ -f "profiles/$(NAME).yaml" -o -f "$(NAME)" ] || \
	{ echo "profile: found NAME=$(NAME), expected one of: $(patsubst profiles/%.yaml,%,$(wildcard profiles/*.yaml))" >&2; exit 2; }

# torch and the packages that only its CUDA builds require are left out: they are installed separately, in the build that
# fits the machine. nvidia-ml-py is kept, because DVCLive requires it on every machine.
lock: ## resolve requirements.in into requirements.lock (needs uv)
	@uv pip compile requirements.in --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	  --no-emit-index-url --no-annotate --no-header --quiet --no-emit-package torch --no-emit-package triton \
	  $$(uv pip compile requirements.in --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate \
	     --no-header --quiet | sed -nE '/^nvidia-ml-py=/d; s/^((nvidia|cuda)-[a-z0-9-]+).*/--no-emit-package \1/p') -o requirements.lock

vendor: ## make vendor WHEELS=wheels: every wheel of the environment into a folder; then make setup WHEELS=wheels needs no network
	@PYTHON="$(PYTHON)" TORCH="$(TORCH)" containers/vendor-wheels.sh $(WHEELS)

vendor-test: ## make vendor-test WHEELS=wheels: does the set-up work in a fresh clone where there is no network?
	@PYTHON="$(PYTHON)" containers/vendor-test.sh $(WHEELS)

audit: environment ## check that the lock is complete, hashed, minimal and installed; LICENCES=1 lists licences, ADVISORIES=all.zip checks for known vulnerabilities
	@python -m tools.lock_audit $(if $(LICENCES),--licences) $(if $(ADVISORIES),--advisories $(ADVISORIES))

container: ## build the image with docker, podman or buildah; WHEELS=wheels (of make vendor): without a package index
	@WHEELS="$(WHEELS)" containers/build.sh

container-test: ## tests and pipeline inside the image, on a fresh clone, not as root; same results as outside?
	@containers/test.sh

clean: ## remove the environment (data and models belong to DVC)
	@rm -rf .venv
