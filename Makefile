# On a machine with Python 3.11 or newer and nothing else:
#
#     make demo       trains a small RELO by its reward, evaluates it and tracks a video: runs/demo/
#     make test       the test suite
#     make test-colab, test-newest, test-wheel   a part of it with Colab's versions, with the newest of everything, and
#                     with what a user installs, outside of a checkout: four to nine minutes each (.ci/leg.py)
#     make toolkits   the toolkits of VOT and GOT-10k, which some tests run: .venv-toolkits/ (make test makes it too)
#     make demo-full  the demo with both training stages from random weights: runs/demo-full/
#     make docs       the website: build/docs/site
#     make readme     what README.md tells a reader to type, with pip and in a clone: a quarter of an hour
#     make lint       linters of code and workflows, formatter and type checker, as CONTRIBUTING.md says
#     make fuzz       hostile inputs for every reader, guided by coverage, for ten minutes (MINUTES=30: half an hour)
#     make kill       kills commands when it matters, runs them again and compares (docs/reliability.md)
#     make mutants    small changes of the pure modules: are they noticed by the modules' tests? (docs/reliability.md)
#     make bench      speed of this machine, one JSON row each, appended to benchmarks/results/; docs/performance.md
#     make compiled   what programs cost on an H100 and on TPU slices, without any (docs/plan.md); takes hours
#
# The first command that needs the environment .venv makes it; later ones update it when requirements.txt has changed.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
READY := .venv/relo-jax-is-installed
PIP = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
TOOLKITS := .venv-toolkits
TOOLKITS_READY := $(TOOLKITS)/toolkits-are-installed
DOCS := .venv-docs
DOCS_READY := $(DOCS)/docs-are-installed

.PHONY: demo demo-full test test-colab test-newest test-wheel toolkits docs readme lint fuzz kill mutants bench compiled

# Training frees and allocates the same large buffers in every step. If the allocator keeps them, in huge pages, the
# kernel need not clear them each time: a quarter to a third less processor time with glibc, no difference elsewhere.
demo demo-full: export GLIBC_TUNABLES := glibc.malloc.hugetlb=1
demo demo-full: export MALLOC_MMAP_MAX_ := 0
demo demo-full: export MALLOC_TRIM_THRESHOLD_ := 1000000000000
demo demo-full: export MALLOC_TOP_PAD_ := 268435456

demo: $(READY)
	$(BIN)/relo demo

demo-full: $(READY)
	$(BIN)/relo demo --full

test: $(READY) $(TOOLKITS_READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-colab test-newest test-wheel: $(READY)
	$(BIN)/python .ci/leg.py $(@:test-%=%)

toolkits: $(TOOLKITS_READY)

docs: $(DOCS_READY)
	PYTHONPATH=. $(DOCS)/bin/python docs/website/build.py

readme: $(READY)
	$(BIN)/python tests/readme.py pip
	$(BIN)/python tests/readme.py clone

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet --strict-collection .github

fuzz: $(READY) requirements-fuzz.txt
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) -r requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz.run --minutes $(or $(MINUTES),10)

mutants: $(READY) requirements-mutants.txt
	@$(BIN)/python -c 'import mutmut' 2>/dev/null || $(PIP) --no-deps -r requirements-mutants.txt
	$(BIN)/python -m tests.mutants.run

kill: $(READY)
	$(BIN)/python -m tests.kill.run
	$(BIN)/python -m tests.kill.damage
	$(BIN)/python -m tests.kill.disks
	$(BIN)/python -m tests.kill.hosts
	$(BIN)/python -m tests.kill.stops

bench: $(READY)
	$(BIN)/python -m benchmarks.track --variant tiny
	$(BIN)/python -m benchmarks.attention --variant tiny
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.train_step --variant tiny
	$(BIN)/python -m benchmarks.train_step --variant tiny --stage warmup --frames 2
	$(BIN)/python -m benchmarks.scaling --variant tiny
	$(BIN)/python -m benchmarks.memory --variant tiny
	$(BIN)/python -m benchmarks.tables

# Targets whose compiler is not in .venv are left out, with a line that says so.
compiled: $(READY)
	$(BIN)/python -m benchmarks.compiled
	$(BIN)/python -m benchmarks.compiled --targets v5e:4x4,v5p:4x4x8,v6e:16x16 --only rl,warmup
	$(BIN)/python -m benchmarks.tables

# An existing environment is completed, never replaced. pip is only needed where uv is missing.
$(READY): requirements.txt pyproject.toml
	@if [ ! -x $(BIN)/python ] && [ -z "$(PYTHON)$(UV)" ]; then \
		echo "relo_jax needs Python 3.11 or newer, and there is none on PATH:" \
			"install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "installing the packages of requirements.txt into .venv (the first time takes a minute or two)"
ifdef UV
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(or $(PYTHON),3.11) .venv
	@$(UV) pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $@

# Its packages are searched first, then those of .venv, whose setuptools builds the toolkits that come as sources. If
# they cannot be installed (no network), make prints that and goes on: the tests that run them are skipped.
ifdef UV
NEW_TOOLKITS = $(UV) venv --quiet --allow-existing --python $(BIN)/python $(TOOLKITS)
PIP_TOOLKITS = $(UV) pip install --quiet --python $(TOOLKITS)/bin/python
else
# Without pip, which would bring a setuptools of its own that is too old to build them.
NEW_TOOLKITS = $(BIN)/python -m venv --without-pip $(TOOLKITS)
PIP_TOOLKITS = $(BIN)/python -m pip --python $(TOOLKITS)/bin/python install --quiet --disable-pip-version-check
endif

$(TOOLKITS_READY): requirements-toolkits.txt $(READY)
	@echo "installing the packages of requirements-toolkits.txt into $(TOOLKITS) (the first time takes half a minute)"
	@mkdir -p $(TOOLKITS)
	@packages='import sysconfig; print(sysconfig.get_path("purelib"), end="")'; { \
		{ [ -x $(TOOLKITS)/bin/python ] || $(NEW_TOOLKITS); } && \
		echo "import site; site.addsitedir('$$($(BIN)/python -c "$$packages")')" \
			> "$$($(TOOLKITS)/bin/python -I -c "$$packages")/relo_jax.pth" && \
		$(PIP_TOOLKITS) --no-deps --no-build-isolation -r requirements-toolkits.txt && touch $@; \
		} > $(TOOLKITS)/install.log 2>&1 || \
		echo "the toolkits cannot be installed ($(TOOLKITS)/install.log): the tests that run them are skipped" >&2

# The website needs neither JAX nor the package installed, so this environment is small and by itself.
$(DOCS_READY): requirements-docs.txt
	@if [ ! -x $(DOCS)/bin/python ] && [ -z "$(PYTHON)$(UV)" ]; then \
		echo "the website is built by Python 3.11 or newer, and there is none on PATH" >&2; exit 1; fi
	@echo "installing the packages of requirements-docs.txt into $(DOCS) (the first time takes half a minute)"
ifdef UV
	@[ -x $(DOCS)/bin/python ] || $(UV) venv --quiet --python $(or $(PYTHON),3.11) $(DOCS)
	@$(UV) pip install --quiet --python $(DOCS)/bin/python -r requirements-docs.txt
else
	@[ -x $(DOCS)/bin/python ] || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-docs.txt
endif
	@touch $@
