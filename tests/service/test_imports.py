"""The API process has no numerics: they would cost it a second and hundreds of megabytes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NUMERICS = {"torch", "numba", "scipy", "sympy", "numpy", "matplotlib", "torchdiffeq"}
PROGRAM = """
import json, sys
import service.http.server
from service.http.app import create_app
from odelib.problem.request import parse_problem
create_app().openapi()
parse_problem({"system": "lorenz", "data": {"times": [0], "values": {"x": [1]}},
               "parameters": {"sigma": 1, "rho": 1, "beta": 1}, "initial_state": {"x": "sigma", "y": 1, "z": 1}})
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    "program", [PROGRAM, "import json, sys, service.cli.main; print(json.dumps(sorted(sys.modules)))"]
)
def test_neither_the_api_nor_the_command_line_loads_the_numerics(program: str) -> None:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert NUMERICS & set(json.loads(run.stdout)) == set()
