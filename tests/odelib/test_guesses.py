"""A guess that cannot be evaluated is not the end of a fit, and a trial that fails costs little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib.errors import FitError, SolveError
from odelib.fitting import fit
from odelib.objective.objective import Objective
from odelib.optimisers.evaluator import Evaluator, TrialFailed, trial_steps
from odelib.optimisers.solvable_search import REASONS
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

TIMES = np.linspace(0.0, 5.0, 11)
NOISE = 0.01 * np.random.default_rng(1).standard_normal(len(TIMES))


def request(equation: str, values: Any, k: Any, **more: Any) -> dict[str, Any]:
    return {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": equation}},
        "data": {"times": TIMES.tolist(), "values": {"x": np.asarray(values).tolist()}},
        "parameters": {"k": k},
        "initial_state": {"x": {"guess": 1.0, "fixed": True}},
    } | more


DECAY = np.exp(-0.5 * TIMES) + NOISE
# at the guess x blows up, uses all steps, has no logarithm, has a derivative without bound
UNSOLVABLE: dict[str, tuple[dict[str, Any], float]] = {
    "a blow-up, no bounds": (request("k*x**2", 1 / (1 - 0.1 * TIMES) + NOISE, 2.0), 0.1),
    "a blow-up, bounds": (
        request("k*x**2", 1 / (1 + 0.3 * TIMES) + NOISE, {"guess": 2.0, "lower": -4.0, "upper": 4.0}),
        -0.3,
    ),
    "steps used up": (
        request(
            "-k*x", DECAY, {"guess": 1e8, "lower": 1e-3, "upper": 1e9}, solver={"method": "dopri5", "max_steps": 2000}
        ),
        0.5,
    ),
    "no value": (request("-k*x + 0*log(1 - k)", DECAY, {"guess": 3.0, "lower": 0.01, "upper": 10.0}), 0.5),
}


@pytest.mark.parametrize("stages", [None, [{"kind": "least_squares"}]], ids=["default", "least_squares"])
@pytest.mark.parametrize("name", UNSOLVABLE)
def test_a_fit_begins_elsewhere(name: str, stages: list[dict[str, Any]] | None) -> None:
    body, truth = UNSOLVABLE[name]
    result = fit(parse_problem(body | ({"stages": stages} if stages else {})))
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(truth, rel=0.05)
    assert result.stages[0].failed_solves > 0


def test_if_no_point_can_be_evaluated_the_error_says_how_many_were_tried_where_and_why() -> None:
    body = request("k*x**2", DECAY, {"guess": 2.0, "lower": 1.0, "upper": 4.0})
    with pytest.raises(FitError) as caught:
        fit(parse_problem(body))
    assert caught.value.code == "guess_step_too_small"
    assert "None of 128 other points within the bounds" in caught.value.detail
    assert "at 128 of them the solver's step became too small" in caught.value.detail


def test_with_everything_fixed_nothing_else_is_tried() -> None:
    with pytest.raises(FitError) as caught:
        fit(parse_problem(request("k*x**2", DECAY, {"guess": 2.0, "fixed": True})))
    assert "other points" not in caught.value.detail


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_a_trial_may_take_only_so_many_steps_as_good_points_suggest(engine: str) -> None:
    body = request("-k*x", DECAY, 0.5, solver={"method": "dopri5", "engine": engine, "max_steps": 50_000})
    objective = Objective(resolve(parse_problem(body)), torch.device("cpu"))
    best = objective.evaluate(np.array([0.5]))
    assert 0 < best.steps < 40
    limit = trial_steps(objective, best)
    assert limit == 2_000 + 20 * len(TIMES)
    evaluator = Evaluator(objective, best, lambda: None)
    with pytest.raises(TrialFailed) as failed:
        evaluator.evaluate(np.array([1e5]))
    assert isinstance(failed.value.reason, SolveError)
    assert (failed.value.reason.code, failed.value.reason.max_steps) == ("max_steps", limit)
    assert objective.layer.options.max_steps == 50_000  # for the report


def test_where_good_points_take_many_steps_trials_may_take_more() -> None:
    """A stiff decay by an explicit method: 100 times the steps of the best point are too many, 10 times are not."""
    body = request("-k*x", DECAY, 1e3, solver={"method": "dopri5", "max_steps": 1_000_000})
    objective = Objective(resolve(parse_problem(body)), torch.device("cpu"))
    best = objective.evaluate(np.array([1e3]))
    evaluator = Evaluator(objective, best, lambda: None)
    assert trial_steps(objective, best) == 50 * best.steps > 10_000
    assert evaluator.evaluate(np.array([1e4])).steps > 5 * best.steps
    with pytest.raises(TrialFailed):
        Evaluator(objective, best, lambda: None).evaluate(np.array([2e5]))


def test_the_search_for_a_point_has_words_for_every_failure() -> None:
    assert set(REASONS) == set(SolveError.MESSAGES)
