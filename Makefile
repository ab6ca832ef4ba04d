# StreamArchive. `make` alone explains itself.

PYTHON ?= python3
ARGS ?=
# Tests run in several processes (tests/sharing.py), those of a file in one, in order; the limit, in seconds, ends only what would never end.
TOGETHER = --numprocesses logical --maxprocesses 4 --dist loadfile --timeout 600

.DEFAULT_GOAL := help
.PHONY: help install install-tools install-services demo run unit test check bench screenshots demo-model clean

help: ## Show this
	@echo "StreamArchive: records live interviews, transcribes them on air, makes every sentence searchable."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "ARGS=\"...\" is passed on, for instance: make demo ARGS=\"--port 9000\", make unit ARGS=\"-k clock\""

install: ## Make .venv with the command .venv/bin/streamarchive
	@$(PYTHON) tools/install.py

install-tools:
	@$(PYTHON) tools/install.py --tools

install-services:
	@$(PYTHON) tools/install.py --services

demo: install ## See it work: an interview on air, transcribed as it is spoken
	@exec .venv/bin/streamarchive demo $(ARGS)

run: install ## Serve the archive in ./archive (see docs/operator-guide.md)
	@exec .venv/bin/streamarchive serve $(ARGS)

unit: install-tools ## The tests that need no server or program (under a minute)
	@.venv/bin/python -m pytest tests/unit $(ARGS)

test: install-services ## All tests, with real servers; installs what they need where it can
	@.venv/bin/python -m pytest $(TOGETHER) $(ARGS)

check: install-tools ## Style, types, import rules
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

# Each measures in full when it is run by itself; some then take an hour or more.
bench: install-tools ## The measured claims, measured here in small (takes a while)
	@set -e; run() { echo "== $$*"; .venv/bin/python "$$@"; }; \
	run benchmarks/accuracy.py --minutes 5; \
	run benchmarks/clocks.py; \
	run benchmarks/live.py --minutes 2; \
	run benchmarks/policies.py; \
	run benchmarks/recorder_crashes.py --kills 10 --hls-kills 5 --rounds 2; \
	run benchmarks/recorder_load.py --streams 10 --minutes 2; \
	run benchmarks/recorder_stalls.py; \
	run benchmarks/recording.py; \
	run benchmarks/saved_searches.py; \
	run benchmarks/search.py --cues 100000; \
	run benchmarks/search_faults.py --kills 5 --away 20; \
	run benchmarks/silence.py --hours 1; \
	run benchmarks/suggestions.py; \
	run benchmarks/transcription.py --sizes demo,base; \
	run benchmarks/transcription_crashes.py --kills 5 --minutes 8; \
	run benchmarks/uploads.py --gigabytes 1; \
	run benchmarks/viewers.py --hours 1 --viewers 25 --seconds 10

screenshots: install-tools ## Pictures of the pages for the README, into docs/images
	@.venv/bin/python tools/screenshots.py $(ARGS)

# Threads that wait without spinning: twice as fast where anything else runs beside.
demo-model: install-tools ## Train the demo's recogniser anew, in build/demo-model (hours; goes on where it was stopped)
	@OMP_WAIT_POLICY=PASSIVE .venv/bin/python -m tools.demo_model $(ARGS)

clean: ## Remove what was built and installed here; archives stay
	rm -rf .venv build dist node_modules web/static/vendor
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find streamarchive web workers tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +
