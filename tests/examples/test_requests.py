"""The committed requests are valid, and what their generator makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.article import REQUESTS, all_requests, article_problems, kuramoto, lynx_hare, noisy_fit, to_text
from examples.run_all import QUICK_ADAM_STEPS, load_request
from odelib.problem.request import parse_problem

FILES = sorted(REQUESTS.glob("*.json"))
PROBLEMS = article_problems()


def committed(name: str) -> Any:
    return json.loads((REQUESTS / f"{name}.json").read_text("utf-8"))


def assert_same(actual: Any, expected: Any) -> None:
    """Equal but for a unit in the last decimal, which another machine may round the other way."""
    if isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for name in expected:
            assert_same(actual[name], expected[name])
    elif isinstance(expected, list) and expected and isinstance(expected[0], float):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-6)
    elif isinstance(expected, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    else:
        assert actual == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_request_is_accepted_and_written_as_the_generator_writes(path: Path) -> None:
    request = json.loads(path.read_text("utf-8"))
    parse_problem(request)
    assert path.read_text("utf-8") == to_text(request)


def test_the_lynx_hare_record_is_the_file_of_the_record() -> None:
    assert committed("lynx-hare") == lynx_hare()
    assert committed("lynx-hare")["data"]["values"]["prey"][:3] == [30.0, 47.2, 70.2]


@pytest.mark.parametrize("name", ["lotka-volterra", "stuart-landau"])
def test_noisy_requests_are_the_article_s(name: str) -> None:
    # Lorenz takes the same way, at the price of half a minute.
    assert_same(committed(name), noisy_fit(name, PROBLEMS[name], absolute=True))


def test_kuramoto_requests_are_the_article_s() -> None:
    assert_same(committed("kuramoto"), kuramoto(PROBLEMS["kuramoto"], order=2))
    assert committed("kuramoto-order-1") == committed("kuramoto") | {
        "data": committed("kuramoto")["data"] | {"constants": {"order": 1.0}}
    }


def test_the_files_are_those_of_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.article.noisy_fit", lambda *_, **__: {})
    monkeypatch.setattr("examples.article.kuramoto", lambda *_, **__: {})
    assert set(all_requests()) == {path.stem for path in FILES}


@pytest.mark.parametrize("name", ["lotka-volterra", "stuart-landau", "lorenz", "kuramoto"])
def test_the_full_procedure_is_the_article_s(name: str) -> None:
    request, problem = load_request(REQUESTS / f"{name}.json", quick=False), PROBLEMS[name]
    steps = {stage["kind"]: stage.get("steps") for stage in request["stages"]}
    assert steps.get("adam", 0) == problem["published"]["adam_steps"]
    assert request["stages"][-1]["initial_step_norm"] == problem["published"]["bfgs_initial_step_norm"]
    assert request["parameters"] == problem["guess"]["parameters"]
    quick = load_request(REQUESTS / f"{name}.json", quick=True)
    assert [s["steps"] for s in quick["stages"] if s["kind"] == "adam"] == [QUICK_ADAM_STEPS] * ("adam" in steps)


def test_lorenz_continues_beyond_its_data_and_the_others_start_elsewhere() -> None:
    (beyond,) = committed("lorenz")["predictions"]
    assert "initial_state" not in beyond
    assert beyond["times"][-1] == PROBLEMS["lorenz"]["validation"]["until"]
    (elsewhere,) = committed("lotka-volterra")["predictions"]
    assert elsewhere["initial_state"] == PROBLEMS["lotka-volterra"]["validation"]["initial_states"][0]
