"""The article's problems and the lynx–hare record over real HTTP, against known truths and published results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from odelib.simulation.kuramoto_network import Oscillators, order_parameter
from tests.problems import ARTICLE, LYNX_HARE_LOSS, KnownProblem, article_problem, lynx_hare_request, reference
from tests.processes import ApiProcess, WorkerProcess, redis_server

SECONDS = 300.0  # the slowest of them takes some ten seconds on two busy cores
pytestmark = pytest.mark.timeout(900)
PLAN = [{"kind": "adam", "steps": 3000, "learning_rate": 0.001}, {"kind": "lbfgsb", "steps": 500}]
PROBLEMS = {name: article_problem(name) for name in ("lorenz", "lotka-volterra", "stuart-landau")}
VALIDATIONS: dict[str, dict[str, Any]] = {
    "lotka-volterra": {"prey": 6.0, "predator": 6.0},
    "stuart-landau": {"psi": float(np.pi), "R": 0.6},
}


def kuramoto_request(*, bounds: bool) -> dict[str, Any]:
    """The reduced system on the reference draws of the full model, from the published guess."""
    problem = ARTICLE["kuramoto"]
    times = np.arange(0, 20.025, 0.05)
    z = order_parameter(Oscillators.draw(10_000, seed=123), times, **problem["full_model_parameters"])
    guesses: dict[str, Any] = problem["guess"]["parameters"]
    if bounds:
        guesses = {n: {"guess": g, "lower": min(0.0, g - 1), "upper": g + 1} for n, g in guesses.items()}
        guesses["beta"]["lower"] = -1.0  # its best value is below 0
    return {
        "system": "kuramoto",
        "data": {"times": times.tolist(), "values": {"re": z.real.tolist(), "im": z.imag.tolist()}},
        "parameters": guesses,
        "initial_state": {
            "psi": {"guess": float(np.angle(z[0])), "fixed": True},
            "R": {"guess": float(abs(z[0])), "fixed": True},
        },
        "stages": [{"kind": "lbfgsb", "steps": 4000, "initial_step_norm": 1e-4}],
    }


def validation(name: str, known: KnownProblem) -> list[dict[str, Any]]:
    if name not in VALIDATIONS:
        return []
    times = known.request["data"]["times"]
    start = VALIDATIONS[name]
    parameters = [known.truth[p] for p in ARTICLE_PARAMETERS[name]]
    true = reference(name, np.array(times), list(start.values()), parameters)
    values = {state: true[:, i].tolist() for i, state in enumerate(start)}
    return [{"name": "another start", "times": times, "initial_state": start, "values": values}]


ARTICLE_PARAMETERS = {
    "lotka-volterra": ["alpha", "beta", "gamma", "delta"],
    "stuart-landau": ["omega0", "gamma", "beta", "K"],
}


class Fits:
    """All fits, posted at once; each is waited for when a test asks for it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.ids: dict[str, str] = {}

    def post(self, name: str, request: dict[str, Any]) -> None:
        answer = self.client.post("/fits", json=request)
        assert answer.status_code == 202, answer.text
        self.ids[name] = answer.json()["id"]

    def result(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + SECONDS
        while True:
            fit = self.client.get(f"/fits/{self.ids[name]}").json()
            if fit["status"] not in ("queued", "running"):
                break
            assert time.monotonic() < deadline, f"{name} is still {fit['status']}: {fit.get('progress')}"
            time.sleep(0.5)
        assert fit["status"] == "succeeded", fit
        result: dict[str, Any] = fit["result"]
        return result


def post_all(client: httpx.Client) -> Fits:
    """Lorenz first: it takes longest."""
    posted = Fits(client)
    for name, known in PROBLEMS.items():
        posted.post(name, known.request | {"stages": PLAN, "predictions": validation(name, known)})
    posted.post("lynx-hare", lynx_hare_request())
    posted.post("kuramoto", kuramoto_request(bounds=False))
    posted.post("kuramoto with bounds", kuramoto_request(bounds=True))
    return posted


@pytest.fixture(scope="module")
def fits() -> Iterator[Fits]:
    with (
        redis_server() as redis,
        WorkerProcess(redis.url, concurrency=2),
        ApiProcess(redis.url) as api,
        api.client() as client,
    ):
        yield post_all(client)


@pytest.mark.parametrize("name", ["stuart-landau", "lotka-volterra", "lorenz"])
def test_the_truth_is_found_from_the_articles_guesses(fits: Fits, name: str) -> None:
    known = PROBLEMS[name]
    result = fits.result(name)
    assert result["loss"] <= known.true_loss
    assert result["outcome"]["code"] == "converged"
    found = {n: entry["value"] for n, entry in (result["parameters"] | result["initial_state"]).items()}
    away = {n: abs(found[n] - known.truth[n]) / known.standard_errors[n] for n in found}
    assert max(away.values()) < 4, away


@pytest.mark.parametrize("name", VALIDATIONS)
def test_the_articles_validations_as_predictions(fits: Fits, name: str) -> None:
    (prediction,) = fits.result(name)["predictions"]
    spread = {state: np.std(column) for state, column in prediction["states"].items()}
    # a trajectory from another start is predicted to a few per cent of its own spread
    assert all(prediction["rmse"][state] < 0.1 * spread[state] for state in spread), prediction["rmse"]


def test_lynx_hare_with_the_default_plan(fits: Fits) -> None:
    result = fits.result("lynx-hare")
    assert result["loss"] == pytest.approx(LYNX_HARE_LOSS, abs=0.1)
    assert result["outcome"]["code"] == "converged"
    assert [stage["kind"] for stage in result["stages"]][-2:] == ["adam", "lbfgsb"]


@pytest.mark.parametrize("name", ["kuramoto", "kuramoto with bounds"])
def test_kuramoto_from_the_published_guess_by_lbfgsb_alone(fits: Fits, name: str) -> None:
    result = fits.result(name)
    reference_loss = ARTICLE["kuramoto"]["reference"]["squared_loss"]["optimum"]
    assert result["loss"] == pytest.approx(reference_loss, abs=5e-4)
    optimum = ARTICLE["kuramoto"]["reference"]["optimum"]
    for parameter, value in optimum.items():
        assert result["parameters"][parameter]["value"] == pytest.approx(value, abs=1e-3)
