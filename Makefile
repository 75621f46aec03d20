# The doors: make run, make test, make lint, make bench. Everything is installed below .venv, which is made with the
# Python that PYTHON names, or else with the one that tools/choose_python.sh finds.
PYTHON ?=
export POUW_DATA_DIR ?= $(CURDIR)/var

SOURCES := pyproject.toml setup.py pouw/_fastverify.pyx $(wildcard pouw/_fast/*.pxi pouw/ed25519/*.[ch])
RUN := .venv/.run
DEV := .venv/.dev

.PHONY: run test lint bench fuzz differential mutants sanitize drills audit sbom fresh lock clean

run: $(RUN)
	@exec .venv/bin/pouw up

SHALLOW := $(filter true,$(shell git -c safe.directory='*' rev-parse --is-shallow-repository 2>/dev/null))
CHOSEN := $(if $(CI),,not debian)$(if $(SHALLOW),$(if $(CI),, and )not history)

# All tests in one process more than there are cores, each with servers of its own; with ARGS as pytest is told.
test: $(DEV)
	@$(if $(SHALLOW),echo "This clone is shallow: the tests that need the history are left out.")
	.venv/bin/python -m pytest $(if $(CHOSEN),-m "$(CHOSEN)") $(or $(ARGS),-n auto --dist loadfile)

# Ruff's rules S are Bandit's, and each exception from them has its reason in place. Bandit itself reports the same
# places again, and beside them each import of subprocess and the example of a token: it would add ignores only.
lint: $(DEV)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# A short pass over everything, which ends with a report in var/bench; or one measurement: make bench ARGS="submit --rate 1000".
bench: $(DEV)
	.venv/bin/python -m bench $(or $(ARGS),all)

# The C decoders under a fuzzer, for SECS seconds in all; what it reached is kept in var/fuzz. Needs clang.
fuzz: $(DEV)
	.venv/bin/python -m tools.fuzz --seconds $(or $(SECS),120) $(TARGETS)

# Every engine on edge cases, against libsodium and the rule in plain integers: some three hours on one core.
differential: $(DEV)
	.venv/bin/python -m tools.differential --cases $(or $(CASES),10000000) $(ARGS)

# Whether the tests notice deliberate one-line faults in the C: some 25 minutes.
mutants: $(DEV)
	.venv/bin/python -m tools.mutants $(ARGS)

# The extension's unit tests on a build with AddressSanitizer and UBSan, which is made in a temporary folder.
sanitize: $(DEV)
	.venv/bin/python -m tools.sanitize $(ARGS)

# What is known against the packages of requirements.lock. "Error 1" is a vulnerability; "Error 3" says that the
# vulnerability service did not answer for all of them, which is no verdict.
audit: $(DEV)
	.venv/bin/python -m tools.supply audit

# A CycloneDX bill of materials of requirements.lock.
sbom: $(DEV)
	.venv/bin/python -m tools.supply sbom dist/pouw.cdx.json

# What may happen to a node, done to a real one on this machine, with measured RTO and RPO: docs/FAILOVER_SCENARIOS.md.
drills: $(DEV)
	.venv/bin/python -m deploy.drills all $(ARGS)

drill-%: $(DEV)
	.venv/bin/python -m deploy.drills $* $(ARGS)

# README's commands as a newcomer types them, from a fresh clone with an empty HOME; FULL=1 also runs the tests there.
fresh:
	tools/fresh_clone.sh

# Pin what was tested, for every supported Python and platform.
lock: $(DEV)
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --quiet --extra local -o requirements.lock pyproject.toml build.in
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-emit-find-links --no-annotate --no-header --quiet --extra local --extra bench --extra otel --extra dev \
	  -o requirements-dev.lock pyproject.toml build.in

clean:
	rm -rf .venv build dist *.egg-info pouw/*.so pouw/_fastverify.c

.venv/bin/python:
	@tools/make_venv.sh $(PYTHON)

define install
	@compiler=$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("CC").split()[0])'); \
	  command -v "$${CC:-$$compiler}" >/dev/null \
	  || { echo "pouw: there is no C compiler ($${CC:-$$compiler}); install one, such as gcc" >&2; exit 2; }
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
endef

$(RUN): requirements.lock $(SOURCES) | .venv/bin/python
	$(call install,requirements.lock)

$(DEV): requirements-dev.lock $(SOURCES) | .venv/bin/python
	$(call install,requirements-dev.lock)
