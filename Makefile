# The doors: `make demo`, `make test`, `make bench`. Each sets up .venv by itself, installs nothing outside it, and does
# nothing that has been done already. Needed: make, git and Python 3.11 to 3.14 with its venv module; PYTHON=... names another one.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check fuzz soak bench bench-calibration bench-catalogue bench-report bench-scale bench-sources bench-streams rehearse config pictures lock cdk clean FORCE
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
ASK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

help:
	@echo "make demo    everything on this machine: a live stream, PostgreSQL, an AWS stand-in; what is heard is shown"
	@echo "             SCENARIO=archive, files or catalogue shows the other ways in: files of MediaLive, stored files, a catalogue that is a bucket"
	@echo "             MUSIC=DIR plays your own recordings, KEEP=1 leaves it running, KILL=1 kills the worker half-way, ARGS=... goes to the command"
	@echo "make test    style, types, import rules, then every test; ARGS='-k timeline' goes to pytest, CI=true makes a skipped test a failed one"
	@echo "make check   style, types and import rules only"
	@echo "make fuzz    foreign bytes for every parser, N=120000 in all (a quarter of an hour); SEED=, ARGS=playlists, FROM= and N=1 repeat what was found"
	@echo "make soak    kills, pauses and faults for MINUTES=10, and nothing lost, nothing twice; SEED=, WORKERS=8, LEASE_S=2 repeat a run"
	@echo "             ARGS=takeover kills workers at the default lease, ARGS=handover asks them to go, MINUTES=60 ARGS=memory looks at one worker's memory"
	@echo "make bench   the measurements, as tables and as build/bench/*.json"
	@echo "             bench-calibration HOURS=40 measures false alarms by chance on so much of the hearing bench's music (\$$EARBENCH_HOME)"
	@echo "             bench-catalogue SIZE=10000 fills a catalogue of that many and measures bytes, look-ups, additions, beside other tables; 100000: an hour, 60 GB"
	@echo "             bench-report measures what people read: the report in a browser, evidence, cuts, mails, README's blocks; ONLY=page,mails some of it; ten minutes"
	@echo "             bench-scale measures what 100,000 recordings do to hearing, in hours and 14 GB of disk; SIZES=100,1000 is quicker"
	@echo "             bench-sources measures archives, stored files, additions, duplicates, hunts, the API; ONLY=archive,files some of them; an hour, most of it duplicates"
	@echo "             bench-streams listens to hundreds of live streams: CPU, lag, memory, how many one core holds; a quarter of an hour, 6 GB of disk"
	@echo "             QUICK=1, STREAMS=50,100,200,300, MINUTES=1.25 a step, RENDITION=muxed720, TRACKS=10000, STARTS=500 (a burst)"
	@echo "             PROFILE=1 draws docs/flame-graph.svg: what the daemon's processor time goes into"
	@echo "make cdk     add what infra/cdk needs to .venv (then: make test runs tests/infra too)"
	@echo "make rehearse  what can be proved of a deployment without an account; ONLY=contexts,cloudformation,image,start,demo,deploy,compose,watched,overhead; the image as root, with buildah and debootstrap"
	@echo "make config  write the files that are made from the code: config/earmark.toml, config/grafana, docs/log-lines.md, the tables in README.md"
	@echo "make pictures  draw the pictures of docs/how-it-hears.md anew"
	@echo "make lock    write requirements/*.lock from pyproject.toml; ARGS=--upgrade takes the newest of everything"
	@echo "make clean   remove .venv, build and caches"

# ---------------------------------------------------------------------------------------------------- doors

demo: .venv/.earmark
	@$(BIN)/earmark demo $(if $(MUSIC),--music "$(MUSIC)") $(if $(KEEP),--keep) $(if $(KILL),--kill) $(if $(SCENARIO),--scenario $(SCENARIO)) $(ARGS)

test: check $(if $(CI),.venv/.cdk)
	@$(BIN)/pytest $(ARGS)

check: .venv/.earmark
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fuzz: .venv/.earmark
	@N="$(N)" SEED="$(SEED)" FROM="$(FROM)" PYTHONPATH=tests nice $(BIN)/python -m fuzz_run $(ARGS)

soak: .venv/.earmark
	@MINUTES="$(MINUTES)" SEED="$(SEED)" WORKERS="$(WORKERS)" LEASE_S="$(LEASE_S)" PYTHONPATH=tests $(BIN)/python -m faults $(ARGS)

bench: .venv/.earmark
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

bench-calibration: .venv/.earmark
	@PYTHONPATH=tests HOURS=$(or $(HOURS),2) nice $(BIN)/python -m bench calibration

bench-catalogue: .venv/.earmark
	@SIZE="$(SIZE)" FOLDER="$(FOLDER)" PYTHONPATH=tests $(BIN)/python -m bench catalogue

bench-report: .venv/.earmark
	@ONLY="$(ONLY)" PYTHONPATH=tests $(BIN)/python -m bench report

bench-scale: .venv/.earmark
	@SIZES="$(SIZES)" PYTHONPATH=tests $(BIN)/python -m bench scale

bench-streams: .venv/.earmark
	@QUICK="$(QUICK)" STREAMS="$(STREAMS)" MINUTES="$(MINUTES)" RENDITION="$(RENDITION)" MUSIC="$(MUSIC)" TRACKS="$(TRACKS)" STARTS="$(STARTS)" PYTHONPATH=tests $(BIN)/python -m bench streams

bench-sources: .venv/.earmark
	@ONLY="$(ONLY)" PYTHONPATH=tests $(BIN)/python -m bench sources

rehearse: .venv/.cdk
	@ONLY="$(ONLY)" PYTHONPATH=tests:infra/cdk $(BIN)/python -m rehearsal $(ARGS)

config: .venv/.earmark
	@PYTHONPATH=infra/cdk $(BIN)/python tests/generated.py

pictures: .venv/.earmark
	@$(BIN)/python tests/pictures.py

cdk: .venv/.cdk

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis infra/cdk/cdk.out
	find daemon tests infra -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------ set-up of .venv
# Three steps, each with its own stamp: a Python, the locked packages, the project itself (in place, by the locked hatchling).

# Made anew when the checkout was moved, when its Python is gone, and when PYTHON asks for another one.
stale := $(shell \
  [ "$$(cat .venv/.python 2>/dev/null)" = "$(CURDIR) $$(.venv/bin/python -V 2>/dev/null)" ] && \
  { [ -z "$(PYTHON)" ] || [ "$$(.venv/bin/python -V)" = "$$($(PYTHON) -V 2>/dev/null)" ]; } || echo stale)

.venv/.python: $(if $(stale),FORCE)
	@set -e; \
	if [ -n "$(PYTHON)" ]; then candidates="$(PYTHON)"; else candidates="python3 python3.14 python3.13 python3.12 python3.11"; fi; \
	for candidate in $$candidates; do \
	  if $$candidate -c '$(ASK)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python-}" ]; then \
	  echo "make: Earmark needs Python 3.11 to 3.14; '$${candidates%% *}' is $$($${candidates%% *} -V 2>/dev/null || echo not there). Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; \
	fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "make: $$python cannot make virtual environments; on Debian and Ubuntu: apt-get install $$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; \
	fi; \
	if [ ! -e .venv/.python ] && .venv/bin/python -c '$(ASK)' 2>/dev/null && .venv/bin/python -m pip --version >/dev/null 2>&1 && \
	   { [ -z "$(PYTHON)" ] || [ "$$(.venv/bin/python -V)" = "$$($$python -V)" ]; }; then \
	  echo "Using the .venv that is here, $$(.venv/bin/python -V)"; \
	else \
	  echo "Making .venv with $$($$python -V)"; $$python -m venv --clear .venv; \
	fi; \
	echo "$(CURDIR) $$(.venv/bin/python -V)" > $@

.venv/.packages: requirements/dev.lock .venv/.python
	@echo "Installing requirements/dev.lock into .venv: about 265 MB to download, 1.1 GB on disk, one to three minutes; once."
	@$(PIP) install --require-hashes --requirement requirements/dev.lock
	@touch $@

.venv/.earmark: pyproject.toml .venv/.packages
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.cdk: requirements/cdk.lock .venv/.earmark
	@echo "Adding requirements/cdk.lock to .venv: about 80 MB to download, 430 MB on disk, half a minute; once."
	@$(PIP) install --require-hashes --requirement requirements/cdk.lock
	@touch $@

# -------------------------------------------------------------------------------------------------- locks
# One resolution of everything first, so that every lock holds the same versions and all of them fit into one .venv.
# No index address is written: packages come from wherever pip is told to look, and the hashes say whether they are the right ones.

UV_VERSION := 0.13.8
COMPILE = build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"

build/uv/bin/uv: .venv/.python
	@.venv/bin/python -m venv --clear build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check --quiet install uv==$(UV_VERSION)

lock: build/uv/bin/uv
	@cp requirements/dev.lock build/all.lock
	$(COMPILE) pyproject.toml --extra desk --extra api --extra features --extra cdk --group dev --output-file build/all.lock $(ARGS)
	$(COMPILE) pyproject.toml --extra api --constraint build/all.lock --upgrade --output-file requirements/run.lock
	$(COMPILE) --group build --constraint build/all.lock --upgrade --output-file requirements/build.lock
	$(COMPILE) pyproject.toml --extra desk --extra api --constraint build/all.lock --upgrade --output-file requirements/desk.lock
	$(COMPILE) pyproject.toml --extra desk --extra api --extra features --group dev --constraint build/all.lock --upgrade --output-file requirements/dev.lock
	$(COMPILE) pyproject.toml --extra cdk --constraint build/all.lock --upgrade --output-file requirements/cdk.lock
