# Two commands do everything: `make book` to read the book, `make test` to check it. What takes longer
# than a reader wants to wait, `make test-all` checks as well.
# Everything they make goes to .venv/ and _build/; no tracked file is touched.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# basedpyright looks for the packages of the first python on the path.
WITH_BIN := PATH="$(CURDIR)/$(BIN):$$PATH"
CHAPTERS := $(wildcard book/*.ipynb)
BUILD := $(BIN)/jupyter-book build . -W --keep-going -n --all
# Test processes: one a core, and no more than the memory of a usual machine holds.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count() or 2, 8))')
heading = @printf '\n==== %s ====\n' "$(1)"

# The theory needs no accelerator, and the stored outputs were computed on the CPU.
export JAX_PLATFORMS ?= cpu
# The chapters share their compiled programs.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/_build/jax-cache
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1
# Data sets are read from TFDS once and cached here.
export IGR_DATA_DIR ?= $(CURDIR)/_build/data
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# The chapters' programs are small: compiling them costs more than running them.
XLA_QUICK := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
book notebooks rehearse-book record: export XLA_FLAGS ?= $(XLA_QUICK)
export PYDEVD_DISABLE_FILE_VALIDATION = 1

.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help book test test-all test-package test-book setup lint types schemas data cluster versions \
        bench rehearse rehearse-book unit slow coverage notebooks html html-test pdf links record lock clean

help: ## print this list
	@echo 'make <target>, with Python 3.11 or newer (another one: make <target> PYTHON=python3.13)'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(STAMP) ## execute every chapter afresh and build the HTML
	$(call heading,Execute the chapters and build the book)
	@rm -rf _build/html _build/.doctrees _build/jupyter_execute
	IGR_EXECUTE=force $(BUILD)
	@printf '\nThe book is built. Open\n    file://%s/_build/html/index.html\n' '$(CURDIR)'

# The build takes one core, and so do lint and types.
test: $(STAMP) ## what a change should pass: lint, types, quick unit tests, the book in a browser
	@mkdir -p _build
	@$(MAKE) html >_build/html.log 2>&1 & built=$$!; $(MAKE) lint types schemas; passed=$$?; \
	  wait $$built || passed=$$?; cat _build/html.log; exit $$passed
	@$(MAKE) unit notebooks html-test
	$(call heading,All checks passed)

test-all: test slow ## all there is: `make test`, then the slow unit tests
	$(call heading,All checks passed)

test-package: lint types schemas unit slow ## all of the package: lint, types, all unit tests

test-book: notebooks html html-test ## all of the book: outputs, the strict build, every page in a browser

setup: $(STAMP) ## make .venv and install the locked packages and igrlib
$(STAMP): requirements.txt pyproject.toml
	$(call heading,Install the locked packages into .venv)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is missing or older than 3.11; name another: make PYTHON=...' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

lint: $(STAMP) ## ruff: lint and format
	$(call heading,Lint)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## basedpyright: igrlib, the explorers, and every type of its public surface
	$(call heading,Types)
	$(WITH_BIN) basedpyright
	$(WITH_BIN) basedpyright --verifytypes igrlib --ignoreexternal

schemas: $(STAMP) ## the workflows, the citation file and the results of benchmarks against their schemas
	$(call heading,Schemas)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --schemafile benchmarks/schema.json benchmarks/results/*.json

data: $(STAMP) ## read MNIST and CIFAR-10 once, by TensorFlow Datasets, into the cache
	$(call heading,Data)
	$(BIN)/igr data prepare mnist
	$(BIN)/igr data prepare cifar10

cluster: $(STAMP) ## unpack Slurm (of Debian or Ubuntu) and Snakemake under _build, for the tests
	$(call heading,Cluster)
	.ci/cluster

# Programs of tests are small: XLA's older way to fuse compiles them in three fifths of the time.
unit slow coverage: export XLA_FLAGS ?= --xla_cpu_use_fusion_emitters=false
UNIT := $(BIN)/pytest -q -n $(JOBS) --dist loadfile --durations=25 -m
unit: $(STAMP) ## unit tests that are quick
	$(call heading,Unit tests)
	$(UNIT) 'not html and not slow'

slow: $(STAMP) ## unit tests that are not: whole trainings, killed runs, clusters, benchmarks
	$(call heading,Slow unit tests)
	$(UNIT) slow

coverage: $(STAMP) ## all unit tests, with the coverage of igrlib and of the explorers (a fifth slower)
	$(call heading,Coverage of the unit tests)
	@mkdir -p _build/coverage
	$(UNIT) 'not html' --cov=igrlib --cov=explorers --cov-fail-under=95

versions: $(STAMP) ## tests with the oldest packages that are promised, and with the newest there are
	.ci/versions $(ARGS)

notebooks: $(STAMP) ## every chapter against its stored outputs
	$(call heading,Notebooks)
	$(BIN)/python book/_tools/notebooks.py --check $(CHAPTERS)
	$(BIN)/pytest -q -n $(JOBS) --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=120 $(CHAPTERS)

html: $(STAMP) ## build the HTML strictly from the stored outputs
	$(call heading,Build from the stored outputs)
	@rm -rf _build/html _build/.doctrees _build/jupyter_execute
	IGR_EXECUTE=off $(BUILD) --quiet

html-test: $(STAMP) ## look at the built HTML, in a browser without a network
	$(call heading,Built HTML)
	$(BIN)/pytest -q -rs -n $(JOBS) --dist loadgroup -m html --durations=25 \
	  tests/test_html.py tests/test_browser.py tests/test_pdf.py

pdf: $(STAMP) ## the whole book as one PDF, from the stored outputs (needs Chromium)
	$(call heading,One PDF)
	@rm -rf _build/singlehtml
	IGR_EXECUTE=off $(BUILD) --quiet --builder custom --custom-builder singlehtml
	$(BIN)/python book/_tools/pdf.py _build/singlehtml/index.html _build/book.pdf

links: $(STAMP) ## look up every link of the book (needs a network)
	IGR_EXECUTE=off $(BIN)/jupyter-book build . --builder linkcheck

bench: $(STAMP) ## speed as ratios, beside PyTorch (pip install -e '.[bench]') and plain JAX; ARGS="--json FILE" keeps them
	$(call heading,Benchmarks)
	JAX_PLATFORMS= $(BIN)/python -m benchmarks $(ARGS)

# One unit of each kind at its own width and number of models, but few images and a handful of steps:
# units that differ in their seeds alone are one program. A pass of five ResNets over one batch of 512
# takes two cores a minute, so theirs are batches of 32; all others have their own.
CUT := max_steps=3 min_steps=2 physical_time=0.001 score_every=2 gradient_every=2 num_gradients=2 \
       first_gradient=1 num_train=1024 num_validation=0 num_test=64 points=test noise_draws=1 slope_draws=1 \
       num_matvecs=2 levels=1.0 sharpness_batches=2 num_seeds=3
CUT_RESNET := batch_sizes=32 num_train=64
FOR_A_GPU := mlp-sweep/paper edge-sweep/paper
FOR_A_GPU_RESNET := resnet-sweep/gpu resnet-sweep/paper egr-sweep/gpu egr-sweep/paper
rehearsal = for run in $(1); do \
  $(BIN)/igr run $${run%/*} --profile $${run\#*/} --one-of-each --out _build/rehearsal \
    $(2:%=--set %) $(ARGS) || exit; done
rehearse: $(STAMP) ## each kind of unit of the profiles for a GPU, cut down, on this machine
	$(call heading,Rehearsal)
	$(call rehearsal,$(FOR_A_GPU_RESNET),$(filter-out num_train=%,$(CUT)) $(CUT_RESNET))
	$(call rehearsal,$(FOR_A_GPU),$(CUT))

rehearse-book: $(STAMP) ## the chapters that read records, beside made-up ones of the paper's size
	$(call heading,Rehearsal of the chapters)
	$(BIN)/python book/_tools/rehearse.py $(ARGS)

record: $(STAMP) ## for authors: format, execute and normalise chapters in place (CHAPTERS=...)
	$(BIN)/ruff format $(CHAPTERS)
	$(BIN)/python book/_tools/notebooks.py $(CHAPTERS)

lock: $(STAMP) ## for authors: write requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	  --extra dev --generate-hashes --no-strip-extras --custom-compile-command 'make lock' \
	  -o requirements.txt pyproject.toml

clean: ## remove what was built (.venv stays)
	rm -rf _build .pytest_cache .ruff_cache
