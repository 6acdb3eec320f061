"""Clients that tools generate from openapi.json pass strict type checks and fit the lynx-hare record.

    make clients        needs node, npm and java

The programs that use the clients are in generated_clients/.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from odefit import Client
from tests.end_to_end.conftest import Stack

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "openapi.json"
REQUEST = ROOT / "examples" / "requests" / "lynx-hare.json"
PROGRAMS = Path(__file__).with_name("generated_clients")
TOOLS = Path(sys.executable).parent
PACKAGE = "generated_odefit_client"
heavy = pytest.mark.skipif("GENERATED_CLIENTS" not in os.environ, reason="make clients runs it")


def run(*command: object, folder: Path) -> str:
    """The output of a command that must succeed."""
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": str(folder)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}"
    return done.stdout


def fits_lynx_and_hare(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output)
    assert (found["status"], found["outcome"]) == ("succeeded", "converged")
    assert found["alpha"] == pytest.approx(0.4812, abs=0.001)
    return found


def test_the_client_of_this_repository(stack: Stack) -> None:
    with Client(stack.url) as client:
        fit = client.fit(json.loads(REQUEST.read_text())).wait(60)
        result = fit.result

    found = {"outcome": result["outcome"]["code"], "alpha": result.parameters["alpha"]}
    fits_lynx_and_hare(json.dumps({"status": fit.status, **found}))


@heavy
@pytest.mark.timeout(900)
def test_openapi_python_client_under_strict_mypy(stack: Stack, tmp_path: Path) -> None:
    made = tmp_path / PACKAGE
    run("openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none", "--output-path", made,
        "--fail-on-warning", folder=tmp_path)  # fmt: skip
    program = shutil.copy(PROGRAMS / "lynx_hare.py", tmp_path)
    # The generator's own client.py, the same for every document, passes `object` to httpx's __exit__.
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = True\n[mypy-{PACKAGE}.client]\nignore_errors = True\n")

    run("mypy", "--config-file", "mypy.ini", program, made, folder=tmp_path)
    fits_lynx_and_hare(run(sys.executable, program, stack.url, REQUEST, folder=tmp_path))


@heavy
@pytest.mark.timeout(900)
def test_openapi_typescript_under_strict_tsc(stack: Stack, tmp_path: Path) -> None:
    for file in ("package.json", "lynx_hare.ts"):
        shutil.copy(PROGRAMS / file, tmp_path)
    run("npm", "install", "--no-audit", "--no-fund", folder=tmp_path)
    run("npx", "openapi-typescript", DOCUMENT, "--default-non-nullable", "false", "-o", "api.d.ts", folder=tmp_path)
    run("npx", "tsc", "--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--module", "nodenext",
        "--target", "es2022", "lynx_hare.ts", "api.d.ts", folder=tmp_path)  # fmt: skip

    found = fits_lynx_and_hare(run("node", "lynx_hare.js", stack.url, REQUEST, folder=tmp_path))
    assert found["pointers"] == ["/initial_state/c/guess"]


@heavy
@pytest.mark.timeout(900)
def test_openapi_generator(stack: Stack, tmp_path: Path) -> None:
    run("openapi-generator-cli", "generate", "-i", DOCUMENT, "-g", "python", "-o", tmp_path,
        f"--additional-properties=packageName={PACKAGE}", folder=tmp_path)  # fmt: skip
    program = shutil.copy(PROGRAMS / "lynx_hare_of_generator.py", tmp_path)

    fits_lynx_and_hare(run(sys.executable, program, stack.url, REQUEST, folder=tmp_path))
