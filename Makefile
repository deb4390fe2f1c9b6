# All targets set up what they need: the first one on a fresh machine makes .venv.
#   make PYTHON=python3.12    another Python than python3 (3.10 or newer)
#   make test ARGS='-k maps'  arguments handed on

PYTHON ?= python3
FUZZ_SECONDS ?= 60
ARGS ?=

# Paths stay relative, so that the checkout may lie under a name with spaces.
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
NATIVE := procmem/native
# _native.c is made by the build, the fuzz target is no part of it.
SOURCES := pyproject.toml setup.py $(NATIVE)/build.py $(wildcard $(NATIVE)/*.h) \
	$(filter-out $(NATIVE)/_native.c $(NATIVE)/fuzz_%.c,$(wildcard $(NATIVE)/*.c))
LIBRARIES := $(NATIVE)/_native.abi3.so $(NATIVE)/_records.abi3.so $(NATIVE)/_memory.abi3.so \
	$(NATIVE)/_arrow.abi3.so
RUN := $(VENV)/.can-run
DEV := $(VENV)/.can-test

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-slow test-unprivileged check docs format bench fuzz build release clean again

help: ## print this list
	@awk '/^[a-z-]+:.*## / { target = $$1; sub(/:.*/, "", target); sub(/.*## /, ""); \
		printf "  make %-18s %s\n", target, $$0 }' Makefile

demo: $(RUN) ## show the memory of real processes, explained
	@$(PY) -m procmem demo $(ARGS)

test: $(DEV) ## run the tests, the slow ones left out
	@$(PY) -m pytest -n auto -m "not slow" $(ARGS)

test-slow: $(DEV) ## run only the slow tests
	@$(PY) -m pytest -n auto -m slow $(ARGS) || [ $$? = 5 ] # 5: there are none

test-unprivileged: $(DEV) ## as root: run the tests as an ordinary user
	@PYTHON="$(PYTHON)" scripts/test_unprivileged.sh $(ARGS)

check: $(DEV) ## ruff, mypy --strict and the import rules
	@failed=0; \
	for one in "-m ruff check" "-m ruff format --check" "-m mypy" "$(VENV)/bin/lint-imports --no-logo"; do \
		$(PY) $$one || failed=1; \
	done; exit $$failed

# All pages are read anew each time: else warnings about pages that did not change would be lost.
docs: $(DEV) ## build the documentation in build/docs; warnings are errors
	@$(PY) -m sphinx --builder html --fresh-env --write-all --quiet --fail-on-warning docs build/docs

format: $(DEV) ## put the code into its usual shape
	@$(PY) -m ruff check --fix --exit-zero
	@$(PY) -m ruff format

bench: $(DEV) ## measure; ARGS=--smoke only tries every benchmark once
	@$(PY) -m benchmarks $(ARGS)

fuzz: $(DEV) ## fuzz what reads maps, page maps, heaps, ELF files and snapshots for FUZZ_SECONDS (60)
	@$(PY) scripts/fuzz.py --seconds $(FUZZ_SECONDS) $(ARGS)

build: $(DEV) ## make the sdist and the abi3 wheel in dist/, and check them
	@$(PY) scripts/build_dist.py

# Builds all twice, and needs some minutes, a cross compiler, qemu-user-static, debootstrap and the
# network; uploads nothing.
release: $(DEV) ## make and try what a release consists of, in dist/
	@$(PY) -m scripts.release --cross aarch64 --qemu build/aarch64 $(ARGS)

clean: ## remove what was built, and caches (.venv stays)
	@rm -rf build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
		.hypothesis .benchmarks .fuzz $(LIBRARIES) $(NATIVE)/_native.c \
		$(NATIVE)/specimen $(NATIVE)/specimen_libc $(NATIVE)/jail $(RUN) $(DEV)
	@find procmem tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- set-up --------------------------------------------------------------------

# $(error) stops make with one line, before any line of the recipe is run.
needs = $(eval missing := $(shell sh scripts/needs.sh "$(PYTHON)"))$(if $(missing),$(error $(missing)))

# Libraries that were built for, or lie in, another place are built again.
ifneq ($(words $(wildcard $(LIBRARIES))),$(words $(LIBRARIES)))
$(RUN) $(DEV): again
else ifneq ($(shell cat $(VENV)/.checkout 2>/dev/null),$(CURDIR))
$(RUN) $(DEV): again
endif

$(RUN): $(SOURCES)
	@$(needs)$(call install,.)
	@touch $(RUN)

$(DEV): $(SOURCES)
	@$(needs)$(call install,.[dev])
	@touch $(RUN) $(DEV)

define install
echo "setting up $(VENV) ..." && \
	{ $(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV); } && \
	$(PIP) install --editable '$(1)' && \
	pwd -P >$(VENV)/.checkout
endef
