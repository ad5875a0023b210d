# Everything one does with a checkout. `make` lists the targets. Each step leaves a stamp, so that the next call skips what is done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
# The stamps of a .venv that is gone or broken, as after an upgrade of the system's Python, are none. Before make looks at them: what
# a recipe removes, make goes on believing in.
$(shell [ ! -d $(VENV)/.stamps ] || tools/setup.sh works || rm -rf $(VENV)/.stamps)
PY     := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps

# Variables of the targets, e.g. `make run HOST=0.0.0.0 PORT=9000 CONFIG=syncline.toml`, `make test ARGS='-k room'`.
CONFIG ?=
PORT   ?=
HOST   ?=
ARGS   ?=

# What .venv gets: the newest releases of one day, on which the gate was green. A new one of somebody else's turns nobody's gate red;
# `make upgrade` takes them all.
VERSIONS := tools/versions.txt
export PIP_CONSTRAINT ?= $(CURDIR)/$(VERSIONS)

export SYNCLINE_JOBS ?= $(shell nproc 2>/dev/null || echo 1)

PYX     := $(shell find src -name '*.pyx')
NATIVE  := $(PYX) $(shell find src -name '*.pxd' -o -name '*.h')
MODULES := $(shell find src -name '*.pyx' | sed -e 's,^src/,syncline/,' -e 's,\.pyx$$,,' -e 's,/,.,g' | sort)
CHECKED := tests/core tests/load/test_frames.py tests/load/test_histogram.py tests/load/test_ledger.py
# Of these, what the gate runs in the sanitized build: each native module of the core is in it.
SMOKE   := $(addprefix tests/core/test_,document.py frames.py digest.py ot.py rich.py room.py text.py undo_document.py wire.py) \
           tests/load/test_frames.py tests/load/test_histogram.py tests/load/test_ledger.py
CODE    := src tests tools bench examples loadtests setup.py

# As many at once as there are cores; WORKERS=0 runs them in this process, for a debugger.
WORKERS  ?= auto
PYTEST   := $(PY) -m pytest -p no:benchmark
PARALLEL := -n $(WORKERS) --dist loadgroup
SEED     ?= $(shell echo $$(( ($$RANDOM << 15) + $$RANDOM )))
SEED     := $(SEED)
SEEDED   := SYNCLINE_TEST_SEED=$(SEED) PYTHONHASHSEED=$(SEED)

.PHONY: help setup upgrade run test test-all nightly bench-smoke test-core lint format types debug asan bench bench-compare bench-ot bench-memory bench-fanout bench-peers guard load autobahn wheel sdist clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- set-up -----------------------------------------------------------------------------------------------------------

# What is needed of the system, by goal: tools/setup.sh knows these words, and looks for all of it before anything is
# installed, so that one message names everything that is missing. A goal that reaches `browser-tests` or `valgrind`
# through another one belongs here too; forgotten, it still works, but what it needs is looked for later.
NEEDS := python
ifneq ($(filter-out lint format,$(MAKECMDGOALS)),)
NEEDS += build
endif
ifneq ($(filter test test-all nightly,$(MAKECMDGOALS)),)
NEEDS += chromium git promtool proxies systemd
endif
ifneq ($(filter guard test test-all nightly,$(MAKECMDGOALS)),)
NEEDS += valgrind
endif

RUNNABLE := $(STAMPS)/native $(STAMPS)/install $(STAMPS)/bundle

setup: $(RUNNABLE) $(STAMPS)/dev ## everything that `run`, `test`, `lint` and `types` need of Python, once

.PHONY: system
system:
	@tools/setup.sh system $(NEEDS)

$(STAMPS)/venv: tools/setup.sh | system
	@tools/setup.sh venv
	@mkdir -p $(@D) && touch $@

# pip 25.1 is the first that reads dependency groups.
$(STAMPS)/build: $(STAMPS)/venv pyproject.toml $(VERSIONS)
	@echo "==> installing pip, Cython and setuptools into $(VENV) (about 7 MB to fetch)"
	@$(PY) -m pip install --quiet --upgrade 'pip>=25.1'
	@$(PY) -m pip install --quiet --group build
	@touch $@

# A changed setup.py may change compiler flags or Cython directives, which the time stamps of sources do not show.
$(STAMPS)/flags: $(STAMPS)/venv setup.py
	@rm -rf build/cython-release
	@find src -name '*.so' -delete
	@touch $@

$(STAMPS)/native: $(STAMPS)/build $(STAMPS)/flags $(NATIVE)
	@echo "==> building those of the $(words $(PYX)) native modules that changed: to C, then compiled (all: about two minutes of a core)"
	@$(PY) setup.py --quiet build_ext --inplace
	@touch $@

# build.py takes Node from the machine, or else installs one from PyPI into .venv.
$(STAMPS)/bundle: $(STAMPS)/build $(wildcard tools/browser/*.* src/client/browser/*.js)
	@echo "==> bundling the browser client and the demo page's editor (CodeMirror; 8 packages from npm, about 2 MB)"
	@$(PY) tools/browser/build.py
	@touch $@

# The native modules and the bundle are taken as they are, hence after them; changed ones need no new installation.
$(STAMPS)/install: $(STAMPS)/build pyproject.toml $(VERSIONS) | $(STAMPS)/native $(STAMPS)/bundle
	@echo "==> installing syncline (editable) and what it runs on into $(VENV) (26 packages, about 14 MB to fetch)"
	@PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --no-build-isolation --editable .
	@touch $@

$(STAMPS)/dev: $(STAMPS)/build pyproject.toml $(VERSIONS)
	@echo "==> installing what tests, lint and types need into $(VENV) (52 packages, about 96 MB to fetch)"
	@$(PY) -m pip install --quiet --group dev
	@touch $@

upgrade: setup ## take the newest release of every dependency, and write them down in tools/versions.txt
	@echo "==> upgrading $(VENV); $(VERSIONS) is what the gate is run on from now on"
	@PIP_CONSTRAINT= PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --upgrade --upgrade-strategy eager --no-build-isolation --editable . --group dev --group bench
	@{ sed -n '/^#/p' $(VERSIONS); $(PY) -m pip freeze --all --exclude-editable | sed "/^pip==\| @ /d"; } >$(VERSIONS).new
	@diff $(VERSIONS) $(VERSIONS).new || true
	@mv $(VERSIONS).new $(VERSIONS)

$(STAMPS)/browser-tests: $(STAMPS)/peers tools/setup.sh
	@$(if $(filter chromium,$(NEEDS)),,tools/setup.sh system chromium promtool proxies systemd)
	@touch $@

# Before the tests: two of their workers must not do it at once.
$(STAMPS)/peers: $(STAMPS)/bundle $(wildcard tests/browser/package-lock.json tests/peers/package-lock.json)
	@echo "==> installing what the tests need from npm (8 packages, 24 MB on disk)"
	@$(PY) tools/browser/build.py --tests
	@touch $@

# -- daily ------------------------------------------------------------------------------------------------------------

# Every address of the machine (HOST=0.0.0.0, HOST=::) is none that a browser can open.
LOCAL = $(or $(patsubst ::,[::1],$(filter ::,$(HOST))),$(if $(findstring :,$(HOST)),[$(HOST)],$(filter-out 0.0.0.0,$(HOST))),127.0.0.1)

run: $(RUNNABLE) ## start the server with the demo page on http://127.0.0.1:8000/ (HOST=0.0.0.0: for other machines too; CONFIG=file PORT=number)
	@echo "==> syncline serve: http://$(LOCAL):$(or $(PORT),8000)/ unless the configuration says otherwise; Ctrl-C stops it"
	@$(if $(HOST),SYNCLINE_SERVER__HOST=$(HOST)) $(if $(PORT),SYNCLINE_SERVER__PORT=$(PORT)) exec $(VENV)/bin/syncline serve $(if $(CONFIG),--config $(CONFIG))

test: setup $(STAMPS)/browser-tests $(STAMPS)/valgrind ## the gate: quick, the same in every run (ARGS='-k room -x' goes to pytest: a part of it)
	@echo "==> the gate: $(if $(ARGS),pytest $(ARGS),all tests but the long ones)"
	@PYTHONHASHSEED=0 $(PYTEST) $(PARALLEL) -m 'not full' $(ARGS) || { code=$$?; [ $$code -ne 5 ] || echo "no test was collected" >&2; exit $$code; }
	@$(if $(ARGS),true,$(MAKE) bench-smoke asan ARGS= CHECKED='$(SMOKE)')

# The seed names what is tried: hypothesis' examples, the tests' own dice, the order of sets and dicts.
test-all: setup $(STAMPS)/browser-tests $(STAMPS)/valgrind ## everything but what takes hours, from a new seed (SEED=number repeats one)
	@echo "==> all tests, in full, SEED=$(SEED)"
	@$(SEEDED) SYNCLINE_TEST_LEVEL=full $(PYTEST) $(PARALLEL) --hypothesis-seed=$(SEED) $(ARGS)
	@$(if $(ARGS),echo "==> a part of it: green (SEED=$(SEED))",$(MAKE) guard debug asan ARGS= SEED=$(SEED) && echo "==> make test-all SEED=$(SEED): green")

nightly: setup $(STAMPS)/browser-tests $(STAMPS)/valgrind $(STAMPS)/bench-peers ## fuzz, endurance, each bench once: hours, from a new seed
	@echo "==> property and fuzz tests at length, endurance, SEED=$(SEED)"
	@$(SEEDED) SYNCLINE_TEST_LEVEL=nightly $(PYTEST) $(PARALLEL) -m 'hypothesis or fuzz' --timeout=0 --hypothesis-seed=$(SEED) $(ARGS)
	@$(if $(ARGS),true,$(MAKE) bench-smoke ARGS= && $(MAKE) bench-peers ARGS=--quick && $(MAKE) bench-memory ARGS='--scale 0.05' && echo "==> make nightly SEED=$(SEED): green")

test-core: setup $(STAMPS)/peers ## only the tests of src/core, quick
	@$(PYTEST) $(PARALLEL) -m 'not full' tests/core $(ARGS)

lint: $(STAMPS)/dev ## ruff: rules and formatting
	@echo "==> ruff check, ruff format --check"
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --check --quiet $(CODE) || { echo "not formatted: run 'make format'" >&2; exit 1; }

format: $(STAMPS)/dev ## rewrite the Python files in the one format
	@$(PY) -m ruff check --fix --quiet $(CODE) || true
	@$(PY) -m ruff format $(CODE)

types: setup ## mypy strict; stubtest: the native modules are what their .pyi say
	@echo "==> mypy --strict"
	@$(PY) -m mypy
	@$(PY) -m mypy tests/*.py tests/oracle/*.py tests/load/*.py tests/peers/*.py bench/*.py bench/peers/*.py examples/*.py tools/toolchain.py tools/browser/build.py
	@$(PY) -m mypy loadtests/*.py tests/loadtests/*.py
	@echo "==> stubtest $(MODULES)"
	@$(if $(MODULES),MYPYPATH=build/typing $(PY) -m mypy.stubtest --ignore-disjoint-bases --allowlist tests/stubtest-allowlist.txt --ignore-unused-allowlist $(MODULES))

# -- native code with every check -------------------------------------------------------------------------------------

# A complete copy of the package in a folder of its own: the release modules in src/ stay as they are. Native modules that did
# not change are kept.
define flavoured_build
	@echo "==> building the $(1) flavour into build/$(1)"
	@mkdir -p build/$(1)/lib && find build/$(1)/lib -type f -not -name '*.so' -delete
	@$(2) $(PY) setup.py --quiet build --build-base build/$(1) --build-lib build/$(1)/lib
endef

debug: setup $(STAMPS)/peers ## build with every check on (bounds, None, overflow, counters), run the core tests in it
	$(call flavoured_build,debug,SYNCLINE_DEBUG=1)
	@echo "==> core tests in the debug build"
	@PYTHONHASHSEED=0 PYTHONPATH=build/debug/lib $(PY) -X dev -m pytest -p no:benchmark $(PARALLEL) $(CHECKED) $(ARGS)

# The sanitizer must be loaded before Python; Python itself leaks at exit by design, so leak detection is off, and its
# own allocator is replaced so that every object is seen.
asan: setup $(STAMPS)/peers ## the same under AddressSanitizer
	$(call flavoured_build,asan,SYNCLINE_SANITIZE=1)
	@echo "==> core tests under AddressSanitizer"
	@LD_PRELOAD="$$($(or $(CC),cc) -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONHASHSEED=0 \
	  PYTHONPATH=build/asan/lib $(PYTEST) $(PARALLEL) $(CHECKED) -p no:cacheprovider -m 'not limited' $(ARGS)

BENCH = $(PY) -m pytest bench/bench_core.py bench/bench_text.py bench/bench_workloads.py --timeout=0 \
  --override-ini='python_files=bench_*.py' --benchmark-columns=min,median,iqr,ops,rounds --benchmark-sort=name

bench: setup ## benchmarks of the core, saved in .benchmarks; each asserts its result first
	@echo "==> benchmarks of the core"
	@$(BENCH) --benchmark-autosave $(ARGS)

bench-smoke: setup ## each piece of work of the core's benchmarks once, checked, not timed
	@echo "==> the benchmarks' work, once each"
	@$(PY) -m pytest bench/bench_core.py bench/bench_text.py bench/bench_workloads.py --override-ini='python_files=bench_*.py' \
	  --benchmark-disable -q --durations=0 --durations-min=10

bench-compare: setup ## the same beside the newest saved run (ARGS='--benchmark-compare=0003 -k text')
	@echo "==> benchmarks of the core beside a saved run"
	@ls .benchmarks/*/*.json >/dev/null 2>&1 || { echo "nothing is saved yet: run 'make bench' first" >&2; exit 1; }
	@$(BENCH) --benchmark-compare --benchmark-group-by=name --benchmark-columns=min,median,iqr,rounds $(ARGS)

$(STAMPS)/bench-peers: $(STAMPS)/bundle pyproject.toml bench/peers/package-lock.json
	@echo "==> installing what bench-ot measures beside (PyPI and npm)"
	@$(PY) -m pip install --quiet --group bench
	@$(PY) tools/browser/build.py --bench
	@touch $@

bench-ot: setup $(STAMPS)/bench-peers ## collaboration beside its peers (ARGS='-k replay', ARGS=--write); some minutes
	@echo "==> collaboration beside its peers"
	@$(PY) -m pytest bench/bench_ot.py bench/bench_documents.py --timeout=0 --override-ini='python_files=bench_*.py' \
	  --benchmark-columns=min,median,iqr,ops,rounds --benchmark-sort=name $(ARGS)

$(STAMPS)/valgrind: tools/setup.sh | system
	@$(if $(filter valgrind,$(NEEDS)),,tools/setup.sh system valgrind)
	@mkdir -p $(@D) && touch $@

guard: setup $(STAMPS)/valgrind ## instructions of the core's workloads beside the stored counts (ARGS=--update stores them)
	@echo "==> counting the instructions of the core's workloads"
	@$(PY) bench/instructions.py $(ARGS)

bench-memory: setup ## memory of a connection, a room, a document, by kind of object (ARGS='room --scale 0.2', ARGS=--write)
	@echo "==> memory by kind of object: a server filled through its socket, two minutes"
	@$(PY) bench/memory.py $(ARGS)

.PHONY: bench-fanout bench-faults
bench-fanout: setup $(STAMPS)/bench-peers ## fan-out beside uWebSockets, ws, Socket.IO (ARGS='--only rounds --peers ws --quick')
	@echo "==> fan-out beside its peers"
	@$(PY) bench/fanout.py $(ARGS)

bench-faults: setup $(STAMPS)/bench-peers ## cut connections and restarted servers, beside the peers (ARGS='--only cut --quick')
	@echo "==> faults beside the peers"
	@$(PY) bench/faults.py $(ARGS)

load: setup ## load tests with locust on a server of their own (HOST=ws://..., ARGS='--tags chat -u 200 -r 50 -t 30s')
	@echo "==> load: docs/load-testing.md says what the numbers mean"
	@HOST='$(HOST)' CONFIG='$(CONFIG)' $(PY) -m loadtests.run $(ARGS)

bench-peers: setup $(STAMPS)/bench-peers ## everything beside its peers, with charts; hours (ARGS=--quick: minutes, writes nothing)
	@echo "==> everything beside its peers"
	@$(PY) bench/side_by_side.py $(ARGS)

autobahn: setup ## all 517 cases of Autobahn's suite against the real server (the quick ones are in the tests)
	@echo "==> Autobahn, in full: about six minutes"
	@SYNCLINE_TEST_LEVEL=full $(PYTEST) tests/autobahn --timeout=0 $(ARGS)

wheel: $(STAMPS)/build ## a wheel in dist/
	@echo "==> building dist/*.whl (in an isolated environment)"
	@rm -rf build/lib.* build/bdist.*
	@SYNCLINE_REQUIRE_BUNDLE=1 $(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

sdist: $(STAMPS)/build $(STAMPS)/bundle ## an archive of the sources, with the demo's bundle, in dist/
	@echo "==> building dist/*.tar.gz"
	@$(PY) setup.py --quiet sdist
	@ls -l dist/*.tar.gz

clean: ## remove what was built (not .venv)
	rm -rf build dist src/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f src/server/web/pages/codemirror.js src/server/web/pages/syncline.js* $(STAMPS)/flags $(STAMPS)/install $(STAMPS)/native $(STAMPS)/bundle
	find src -name '*.so' -delete
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## remove .venv and node_modules too
	rm -rf .venv .benchmarks tools/browser/node_modules tests/browser/node_modules tests/peers/node_modules \
	  bench/peers/node_modules
	@if ls *.db >/dev/null 2>&1; then echo "kept, with what servers stored here:" *.db*; fi
