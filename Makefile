# `make` alone lists the targets. Every target that needs the environment makes it first.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# On a machine with the docker command but no daemon the choice falls on podman-compose.
COMPOSE ?= $(shell if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; \
	then echo docker compose; else command -v podman-compose; fi)
SERVICES ?= redis api worker
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
COMPILED := $(VENV)/compiled
# Some of every package, without what needs processes or minutes: under a minute on two cores.
QUICK := $(addprefix tests/,docs test_project.py odelib/problem odelib/likelihood odelib/objective odelib/report \
	odelib/uncertainty odelib/simulation odelib/engines/test_tableaus.py odelib/optimisers/test_lbfgsb.py \
	worker/test_states.py worker/test_queue.py worker/test_leases.py \
	service/cli service/http/routes service/http/test_openapi.py service/http/test_refusals.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve examples problems bench bench-engine bench-coverage openapi test test-quick schemathesis lint format docs docs-serve stack stack-gpu stack-down test-stack

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 15

setup: $(COMPILED)  ## .venv with everything, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo >&2 'odefit needs Python 3.11 or later, and no python3 here is. Install one, or name' \
		'it: make setup PYTHON=/path/to/python3'; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo >&2 '$(PYTHON) is missing or older' \
		'than Python 3.11. Name a newer one: make setup PYTHON=/path/to/python3'; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo >&2 '$(PYTHON) cannot make virtual environments.' \
		'On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@echo 'Installing into $(VENV) (about 1.6 GB with a CPU build of torch; needed once)'
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# Numba looks at a function's own file only: what it calls may have changed, so after a change all are compiled anew.
$(COMPILED): $(INSTALLED) $(wildcard odelib/engines/compiled/*.py odelib/engines/tableaus/*.py)
	@echo 'Compiling the solvers (once; some 20 s)'
	@rm -f odelib/engines/compiled/__pycache__/*.nb[ci]
	@$(BIN)/python -c 'from odelib.fitting import warm_up; warm_up()'
	@touch $@

demo: setup  ## fit the lynx-hare record over HTTP; leaves demo-output/lynx-hare.png
	@$(BIN)/python -m examples.demo

serve: setup  ## the whole service on this machine; ARGS='--port 9000 --workers 4'
	@$(BIN)/odefit serve $(ARGS)

examples: setup  ## run the article's problems in full and draw its pictures
	@$(BIN)/python -m examples.run_all $(ARGS)

problems: setup  ## fit the table of problems of docs/problems.md over HTTP, beside scipy; ARGS='--only Goodwin'
	@$(BIN)/python -m examples.problems $(ARGS)

bench: setup  ## measure the service: start-up, memory, requests a second, overhead of a fit
	@$(BIN)/python -m bench.service $(ARGS)

bench-engine: setup  ## measure the compiled engine beside its peers, which are installed first; needs cc
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	@for script in gradient work_precision batch compile article; do $(BIN)/python -m bench.$$script || exit 1; done

bench-coverage: setup  ## count how often 95 % intervals hold the truth, and how often clean fits carry a warning
	@$(BIN)/python -m bench.coverage $(ARGS)
	@$(BIN)/python -m bench.warnings

openapi: setup  ## write openapi.json anew from the code
	@$(BIN)/python -m service.http.export_openapi > openapi.json.new && mv openapi.json.new openapi.json

docs: setup  ## build the documentation site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-serve: setup  ## show the documentation on 127.0.0.1:8001 and rebuild it as you write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8001

lint: setup  ## ruff, mypy, the layers' import rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup  ## put the code into form, mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test: lint  ## lint, types, layers and all tests but the compose stack's; ARGS='-k name'
	@$(BIN)/python -m pytest -n 2 -m 'not stack' $(ARGS)

test-quick: setup  ## the quick tests, in under a minute on two cores; ARGS='-k name'
	@$(BIN)/python -m pytest -n 2 $(QUICK) $(ARGS)

schemathesis: setup  ## send a running service what its OpenAPI document allows and what it does not; CASES=1000
	@SCHEMATHESIS_CASES=$(or $(CASES),1000) $(BIN)/python -m pytest -s tests/service/http/test_schemathesis.py

.env:
	@umask 077; random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }; \
		printf 'ODEFIT_API_KEY=%s\nREDIS_PASSWORD=%s\n' "$$(random)" "$$(random)" > $@
	@echo 'Wrote .env with new random keys'

stack: .env  ## API, worker and Redis in containers, on 127.0.0.1:$ODEFIT_PORT (8000)
	@test -n "$(COMPOSE)" || { echo >&2 'Neither a running Docker with compose nor podman-compose is here.'; exit 1; }
	$(COMPOSE) up --build -d $(SERVICES)
	@echo 'The API key is in .env. Stop the stack with: make stack-down'

stack-gpu: SERVICES += gpu-worker
stack-gpu: stack  ## the same with a worker on an NVIDIA GPU

stack-down:  ## stop the containers, keep the data; ARGS=-v forgets them
	$(COMPOSE) down $(ARGS)

test-stack: setup  ## build the stack from this tree, run its tests against the published port, stop it
	@$(BIN)/python -m pytest -m stack tests/stack $(ARGS)
