"""Errors survive pickling, and a failed fit that had a point keeps it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from odelib.errors import FieldError, FitError, OdelibError, ProblemError, SolveError, StopRequested
from odelib.fitting import fit, partial_result
from odelib.problem.request import parse_problem
from tests.problems import decay_request
from tests.stopping import Stopper


@pytest.mark.parametrize(
    "error",
    [
        ProblemError([FieldError("/data", "is required"), FieldError("", "nothing")]),
        SolveError("max_steps", 1.5, 100, "plot 3"),
        FitError("no_gpu", "No GPU", "none was seen"),
        StopRequested("cancelled"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: OdelibError) -> None:
    other: Any = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_a_solve_error_can_name_its_experiment() -> None:
    error = SolveError("not_finite", 2.0, 100).in_experiment("plot 3")
    assert (error.code, error.time, error.experiment) == ("not_finite", 2.0, "plot 3")
    assert str(error).startswith("in the experiment 'plot 3': the solution stopped being finite at t = 2")


def test_a_failed_fit_that_had_a_point_has_a_result_made_from_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odelib.optimisers.evaluator.CHECKPOINT_SECONDS", 0.0)
    monitor = Stopper(3, "interrupted")
    with pytest.raises(StopRequested):
        fit(parse_problem(decay_request()), monitor=monitor)
    checkpoint = monitor.checkpoint
    assert checkpoint is not None

    unsolvable = parse_problem(decay_request(solver={"max_steps": 1}))
    with pytest.raises(FitError) as caught:
        fit(unsolvable, resume=checkpoint)
    result = partial_result(unsolvable, checkpoint, "interrupted")

    assert caught.value.code == "guess_max_steps"
    assert (result.outcome.code, result.loss) == ("interrupted", checkpoint.loss)
    assert result.parameters["k"].value == checkpoint.best["k"]
