# One command sets everything up and does the main job:   make train
# A second one passes the tests:                          make test
PY      ?= python3
VENV    ?= .venv
TORCH   ?= torch==2.13.0
TRITON  ?= triton==3.7.1
EXTRAS  ?= dev
PIPARGS ?=
ARGS    ?=
WORKERS ?= 2
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.stamp

# settings of the set-up that are given, as a shell reads them; the stamp keeps those that the environment was made with
from_user = $(filter command environment,$(firstword $(origin $(1))))
GIVEN   := $(strip $(foreach name,PY TORCH EXTRAS PIPARGS,$(if $(call from_user,$(name)),$(name)='$($(name))')))

.DEFAULT_GOAL := train
.PHONY: train test test-triton setup same-settings lint lock scatter clean help

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

train: $(STAMP)  ## set up, then train, evaluate and simulate the flagship model on the shipped data
	$(BIN)/python -m eqff.train experiment=main_job $(ARGS)

test: $(STAMP)   ## set up, then run the default tests, WORKERS=2 at a time
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

test-triton: $(STAMP) ## install Triton, which CPU builds of torch don't bring, and run the GPU kernels' tests in its interpreter
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps $(PIPARGS) "$(TRITON)"
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/kernels/test_triton_messages.py tests/kernels/test_triton_products.py

lint: $(STAMP)   ## style checks
	$(BIN)/ruff check .

setup: $(STAMP)  ## only set up

$(STAMP): pyproject.toml constraints.txt | same-settings
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	TORCH='$(TORCH)' EXTRAS='$(EXTRAS)' PIPARGS='$(PIPARGS)'; if test -e $@; then . $(abspath $@); fi; \
	$(BIN)/python -m pip install --disable-pip-version-check -q $$PIPARGS "$$TORCH" -c constraints.txt -e ".[$$EXTRAS]"
	test -s $@ || echo "$(GIVEN)" > $@
	touch $@

same-settings:
	@made=$$(cat $(STAMP) 2>/dev/null) || exit 0; test -z "$(GIVEN)" || test "$(GIVEN)" = "$$made" || { \
	echo "$(VENV) was made with $${made:-the default settings}. For others: make clean, then this command again." >&2; exit 1; }

scatter: $(STAMP) ## build torch-scatter against the installed torch (5 to 12 minutes, needs g++)
	$(BIN)/python -m pip install --disable-pip-version-check setuptools wheel
	$(BIN)/python -m pip install --disable-pip-version-check --no-build-isolation torch-scatter

lock: $(STAMP)   ## write constraints.txt from what is installed (run with EXTRAS=dev,qm)
	$(BIN)/python -m pip freeze --exclude-editable --exclude torch --exclude torch-scatter --exclude triton > constraints.txt

clean:           ## remove the virtual environment
	rm -rf $(VENV)
