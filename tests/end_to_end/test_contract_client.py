"""A Python client generated from openapi.json runs a fit over HTTP and reads its result typed."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.end_to_end.conftest import Stack
from tests.service.requests import DECAY, changed

DOCUMENT = Path(__file__).parents[2] / "openapi.json"
PACKAGE = "generated_odefit_client"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The generated package, importable while the tests run."""
    folder = tmp_path_factory.mktemp("client")
    programs = Path(sys.executable).parent  # the generator formats what it wrote with ruff
    made = subprocess.run(
        [programs / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none", "--output-path",
         folder / PACKAGE, "--fail-on-warning"],
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module(PACKAGE)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]


def part(package: ModuleType, name: str) -> Any:
    return importlib.import_module(f"{package.__name__}.{name}")


def test_a_fit_is_submitted_and_its_result_read_typed(package: ModuleType, stack: Stack) -> None:
    models, submit_fit = part(package, "models"), part(package, "api.fits.submit_fit")
    body = models.FitProblem(
        system=models.SystemDefinition.from_dict(DECAY["system"]),
        data=models.Series(times=[0.0, 1.0, 2.0], values=models.SeriesValues.from_dict({"seen": [4.0, None, 1.0]})),
        parameters=models.FitProblemParameters.from_dict({"k": {"guess": 0.4, "lower": 0.1}}),
        initial_state=models.FitProblemInitialState.from_dict({"x": {"guess": 2.0, "fixed": True}}),
        stages=[models.AdamStage(kind="adam", steps=3), models.LbfgsbStage(kind="lbfgsb", steps=20)],
        solver=models.Solver(rtol=1e-8),
    )

    with package.Client(base_url=stack.url, timeout=90) as client:
        fit = submit_fit.sync(client=client, body=body, prefer="wait=60")
        read = part(package, "api.fits.get_fit").sync(fit_id=fit.id, client=client)

    assert isinstance(fit, models.Fit)
    assert fit.status == "succeeded"
    assert fit.result.outcome.code == "converged"
    assert fit.result.parameters["k"].value == pytest.approx(0.693, abs=0.01)
    assert [stage.kind for stage in fit.result.stages] == ["adam", "lbfgsb"]
    assert fit.result.trajectories[0].residuals["seen"][1] is None
    assert read.to_dict() == fit.to_dict()


def test_mistakes_are_read_typed(package: ModuleType, stack: Stack) -> None:
    models, submit_fit = part(package, "models"), part(package, "api.fits.submit_fit")
    body = models.FitProblem.from_dict(changed(DECAY, "/parameters/k/guess", 9.0))

    with package.Client(base_url=stack.url, timeout=90) as client:
        refused = submit_fit.sync(client=client, body=body)

    assert isinstance(refused, models.Problem)
    assert [error.pointer for error in refused.errors] == ["/parameters/k/guess"]


def test_lists_systems_and_health_are_read_typed(package: ModuleType, stack: Stack) -> None:
    with package.Client(base_url=stack.url, timeout=90) as client:
        submitted = part(package, "api.fits.submit_fit").sync(
            client=client, body=part(package, "models").FitProblem.from_dict(DECAY)
        )
        listed = part(package, "api.fits.list_fits").sync(client=client, limit=1)
        system = part(package, "api.systems.get_system").sync("lorenz", client=client)
        ready = part(package, "api.health.get_readiness").sync(client=client)
        asked = part(package, "api.fits.get_fit_problem").sync(submitted.id, client=client)

    assert listed.fits[0].id == submitted.id
    assert system.states == ["x", "y", "z"]
    assert ready.workers >= 1
    assert asked.request.to_dict()["system"]["equations"] == DECAY["system"]["equations"]
