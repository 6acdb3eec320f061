"""The API and the command line load no more than they need: the numerics cost a second and hundreds of megabytes."""

from __future__ import annotations

import json
import subprocess
import sys

NUMERICS = {"torch", "numba", "scipy", "sympy", "numpy", "matplotlib", "torchdiffeq"}
SLOW = {"pydantic", "fastapi", "httpx", "redis", "celery"}
API = """
import service.http.server
from service.http.app import create_app
from odelib.problem.request import parse_problem
create_app().openapi()
parse_problem({"system": "lorenz", "data": {"times": [0], "values": {"x": [1]}},
               "parameters": {"sigma": 1, "rho": 1, "beta": 1}, "initial_state": {"x": "sigma", "y": 1, "z": 1}})
"""


def loaded_by(program: str) -> set[str]:
    program += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_the_api_loads_no_numerics() -> None:
    assert NUMERICS & loaded_by(API) == set()


def test_help_loads_nothing_that_only_commands_need() -> None:
    assert (NUMERICS | SLOW) & loaded_by("import service.cli.main") == set()
