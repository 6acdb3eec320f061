# `make` without a target lists all targets. Targets that need the environment create it first.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# If there is a docker command but no running daemon, use podman-compose.
COMPOSE ?= $(shell if docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1; \
	then echo docker compose; else command -v podman-compose; fi)
SERVICES ?= redis api worker
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
COMPILED := $(VENV)/compiled
# Tests of every package that start no service and take under a minute together, on two cores.
QUICK := $(addprefix tests/,docs test_project.py odelib/problem odelib/likelihood odelib/objective/test_unknowns.py odelib/report \
	odelib/uncertainty odelib/simulation odelib/test_docstrings.py odelib/engines/test_tableaus.py odelib/optimisers/test_lbfgsb.py \
	worker/test_states.py worker/test_queue.py worker/test_leases.py \
	service/cli service/http/routes service/http/test_openapi.py service/http/test_refusals.py)

.DEFAULT_GOAL := help
.PHONY: help setup demo serve examples problems bench bench-engine bench-coverage openapi page test test-quick schemathesis clients kills lint format docs docs-serve stack stack-gpu stack-down test-stack

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 15

setup: $(COMPILED)  ## create .venv with everything, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo >&2 'odefit needs Python 3.11 or later, which was not found. Install it, or give its' \
		'path: make setup PYTHON=/path/to/python3'; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo >&2 '$(PYTHON) is missing or older' \
		'than Python 3.11. Give a newer one: make setup PYTHON=/path/to/python3'; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo >&2 '$(PYTHON) cannot create virtual environments.' \
		'On Debian and Ubuntu: apt install python3-venv'; exit 1; }
	@echo 'Installing into $(VENV) (about 1.6 GB with a CPU build of torch; only needed once)'
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

# Numba looks at a function's own file only: what it calls may have changed, so after a change all are compiled anew.
$(COMPILED): $(INSTALLED) $(wildcard odelib/engines/compiled/*.py odelib/engines/tableaus/*.py)
	@echo 'Compiling the solvers (once, about a minute)'
	@rm -f odelib/engines/compiled/__pycache__/*.nb[ci]
	@$(BIN)/python -c 'from odelib.fitting import warm_up; warm_up()'
	@touch $@

demo: setup  ## fit the lynx-hare record over HTTP and plot it into demo-output/
	@$(BIN)/python -m examples.demo

serve: setup  ## run the whole service on this machine; ARGS='--port 9000 --workers 4'
	@$(BIN)/odefit serve $(ARGS)

examples: setup  ## fit the article's problems and draw its figures
	@$(BIN)/python -m examples.run_all $(ARGS)

problems: setup  ## fit the problems of docs/problems.md over HTTP, compare with scipy; ARGS='--only Goodwin'
	@$(BIN)/python -m examples.problems $(ARGS)

bench: setup  ## measure the service: start-up, memory, requests per second, overhead of a fit
	@$(BIN)/python -m bench.service $(ARGS)

bench-engine: setup  ## compare the compiled engine with other packages, which are installed first; needs cc
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' -c constraints.txt
	@for script in gradient work_precision batch compile article; do $(BIN)/python -m bench.$$script || exit 1; done

bench-coverage: setup  ## count how often 95 % intervals contain the truth, and how often clean fits have a warning
	@$(BIN)/python -m bench.coverage $(ARGS)
	@$(BIN)/python -m bench.warnings

openapi: setup  ## regenerate openapi.json
	@$(BIN)/python -m service.http.export_openapi > openapi.json.new && mv openapi.json.new openapi.json

page:  ## build the page into service/page/built/; needs node 20.19 or later
	@cd page && npm ci --no-fund --no-audit --loglevel=error && npm run --silent check && npm run --silent build

docs: setup  ## build the documentation site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

docs-serve: setup  ## show the documentation on 127.0.0.1:8001 and rebuild it as you write
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8001

lint: setup  ## run ruff, mypy and import-linter
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup  ## format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

test: lint  ## run make lint and all tests except those of the containers; ARGS='-k name'
	@$(BIN)/python -m pytest -n 2 -m 'not stack' $(ARGS)

test-quick: setup  ## run the quick tests, in under a minute on two cores; ARGS='-k name'
	@$(BIN)/python -m pytest -n 2 $(QUICK) $(ARGS)

schemathesis: setup  ## test a running service against its OpenAPI document; CASES=1000
	@SCHEMATHESIS_CASES=$(or $(CASES),1000) $(BIN)/python -m pytest -s tests/service/http/test_schemathesis.py

clients: setup  ## generate clients in Python and TypeScript, check their types, fit with them; needs node, npm and java
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[clients]' -c constraints.txt
	@GENERATED_CLIENTS=1 $(BIN)/python -m pytest tests/end_to_end/test_generated_clients.py

kills: setup  ## kill workers, the API and Redis under fits, webhooks, event streams and a batch; FITS=300 SERIES=5000
	@KILLED_FITS=$(or $(FITS),300) KILLED_SERIES=$(or $(SERIES),5000) $(BIN)/python -m pytest -s \
		tests/failures/test_everything_killed.py tests/failures/test_batches.py

.env:
	@umask 077; random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }; \
		printf 'ODEFIT_API_KEY=%s\nREDIS_PASSWORD=%s\n' "$$(random)" "$$(random)" > $@
	@echo 'Wrote .env with a new random API key and Redis password'

stack: .env  ## run the API, a worker and Redis in containers, on 127.0.0.1:$ODEFIT_PORT (8000)
	@test -n "$(COMPOSE)" || { echo >&2 'Neither a running Docker with compose nor podman-compose was found.'; exit 1; }
	$(COMPOSE) up --build -d $(SERVICES)
	@echo "The page is at http://127.0.0.1:$${ODEFIT_PORT:-8000}. It asks for the API key, which is in .env."
	@echo 'To stop the stack: make stack-down'

stack-gpu: SERVICES += gpu-worker
stack-gpu: stack  ## also run a worker on an NVIDIA GPU

stack-down:  ## stop the containers and keep the data; ARGS=-v deletes them
	$(COMPOSE) down $(ARGS)

test-stack: setup  ## build the stack, run its tests against the published port, and stop it
	@$(BIN)/python -m pytest -m stack tests/stack $(ARGS)
