"""Results of experiments in which something was done: predictions, held-out data, starts and instants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib import FitProblem, fit
from odelib.result import FitResult

K = 0.5


def level(times: Any, doses: dict[float, float], start: float = 0.0) -> Any:
    """The closed form of x' = -K*x with doses, each an amount by its time; at its very time a dose has been given."""
    times = np.asarray(times, dtype=float)
    given = (amount * np.where(times >= at, np.exp(-K * (times - at)), 0.0) for at, amount in doses.items())
    return start * np.exp(-K * times) + sum(given)


def fitted(**changes: Any) -> FitResult:
    times = [0.5, 1.0, 2.0, 3.0, 4.5, 6.0]
    request = {
        "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
        "data": {
            "times": times,
            "values": {"x": level(times, {0: 4, 2: 4, 4: 4}).tolist()},
            "doses": [{"into": "x", "amount": 4, "at": 0, "every": 2, "count": 3}],
        },
        "parameters": {"k": 0.3},
        "initial_state": {"x": {"guess": 0, "fixed": True}},
        "stages": [{"kind": "least_squares"}],
        "uncertainty": "covariance",
    } | changes
    result = fit(FitProblem.model_validate(request))
    assert result.outcome.code in ("converged", "fixed")
    assert result.parameters["k"].value == pytest.approx(K, rel=1e-5)
    return result


def test_predictions_take_the_doses_of_the_series_or_their_own() -> None:
    later = [4.0, 7.0, 9.0]
    asked: list[dict[str, Any]] = [
        {"name": "on", "times": later},
        {"name": "before", "times": later, "observed": "before"},
        {"name": "none", "times": later, "doses": []},
        {"name": "more", "times": later, "doses": [{"into": "x", "amount": 2, "at": [0, 1, 8]}]},
        {"name": "from 3", "times": [3.0, 5.0], "initial_state": {"x": 1.0}},
    ]
    predictions = fitted(predictions=asked).predictions or []
    exact = {
        "on": level(later, {0: 4, 2: 4, 4: 4}),
        "before": level(later, {0: 4, 2: 4, 4: 4}) - [4, 0, 0],
        "none": level(later, {}),
        "more": level(later, {0: 2, 1: 2, 8: 2}),
        "from 3": [1.0, np.exp(-K * 2) + 4 * np.exp(-K)],  # without the doses at 0 and 2
    }
    assert [prediction.error for prediction in predictions] == [None] * len(asked)
    for prediction in predictions:
        assert prediction.values is not None
        np.testing.assert_allclose(prediction.values["x"], exact[prediction.name], rtol=1e-4, atol=1e-9)
        assert prediction.lower_95 is not None


def test_held_out_measurements_see_the_doses_before_them() -> None:
    [held_out] = fitted(hold_out={"after": 3.5}).hold_out or []
    assert held_out.values is not None
    np.testing.assert_allclose(held_out.values["x"], level([4.5, 6.0], {0: 4, 2: 4, 4: 4}), rtol=1e-4)
    assert held_out.rmse is not None
    assert held_out.rmse["x"] < 1e-3


def test_the_dense_trajectory_has_each_instant_twice() -> None:
    [trajectory] = fitted().trajectories
    dense = trajectory.dense
    for time, before in ((2.0, 4 * np.exp(-1)), (4.0, 4 * (np.exp(-1) + np.exp(-2)))):
        rows = [row for row, other in enumerate(dense.times) if other == time]
        assert len(rows) == 2
        np.testing.assert_allclose([dense.states["x"][row] for row in rows], [before, before + 4], rtol=1e-4)
    assert trajectory.initial_state["x"].value == 0


def test_no_dense_time_is_an_instant_up_to_rounding() -> None:
    """The grid from 0 to 140 in 400 steps has 62.99999999999999."""
    weeks = np.arange(7.0, 141.0, 7.0).tolist()
    result = fitted(
        data={
            "start_time": 0,
            "times": weeks,
            "values": {"x": [0.0] * len(weeks)},
            "changes": [{"at": week, "set": {"x": 0}} for week in weeks],
        },
        initial_state={"x": {"guess": 1, "fixed": True}},
        parameters={"k": {"guess": K, "fixed": True}},
        uncertainty="none",
    )
    gaps = np.diff(result.trajectories[0].dense.times)
    assert np.count_nonzero(gaps == 0) == len(weeks)
    assert gaps[gaps > 0].min() > 1e-6


def test_the_initial_state_is_the_steady_state() -> None:
    times = [0.5, 1.0, 2.0, 3.0]
    result = fitted(
        system={
            "states": ["x"],
            "parameters": ["k"],
            "inputs": ["supply"],
            "equations": {"x": "supply - k*x"},
            "observables": {"x": "x"},
        },
        data={
            "start_time": 0,
            "times": times,
            "values": {"x": level(times, {}, start=3.0).tolist()},
            "inputs": {"supply": 0},
            "steady_state": {"inputs": {"supply": 2}, "set": {"x": "x - 1"}},
        },
    )
    assert result.initial_state["x"].value == pytest.approx(2 / K - 1, rel=1e-4)
    assert result.trajectories[0].initial_state["x"].value == result.initial_state["x"].value
    assert result.trajectories[0].dense.inputs == {"supply": [0.0] * 401}


BALL = {
    "system": {
        "states": ["h", "v"],
        "parameters": ["g"],
        "equations": {"h": "v", "v": "-g"},
        "events": [{"name": "bounce", "when": "h < 0 and v < 0", "set": {"v": "-0.8*v", "h": "0"}}],
    },
    "data": {"start_time": 0, "times": [0.2, 0.6, 1.2, 1.9], "values": {"h": [9.8, 8.23, 2.94, 1.01]}},
    "parameters": {"g": 9.81},
    "initial_state": {"h": {"guess": 10.0, "fixed": True}, "v": {"guess": 0.0, "fixed": True}},
}


@pytest.mark.parametrize("engine", ["compiled", "torchdiffeq"])
def test_the_dense_trajectory_has_the_instant_of_an_event_twice(engine: str) -> None:
    g = 9.7
    request = BALL | {"solver": {"engine": engine}, "parameters": {"g": {"guess": g, "fixed": True}}}
    dense = fit(FitProblem.model_validate(request)).trajectories[0].dense
    assert dense.events is not None
    assert [event.name for event in dense.events] == ["bounce"]
    assert dense.events[0].time == pytest.approx(np.sqrt(20 / g), rel=1e-5)
    rows = [row for row, time in enumerate(dense.times) if time == dense.events[0].time]
    speed = np.sqrt(20 * g)
    assert [dense.states["v"][row] for row in rows] == pytest.approx([-speed, 0.8 * speed], rel=1e-5)
    assert np.all(np.diff(dense.times) >= 0)
    assert len(dense.times) == len(dense.states["h"]) == len(dense.values["h"])


def test_an_event_of_a_state_that_meets_a_measurement_is_told() -> None:
    """The other velocities ask for a larger g, with which the ball would have bounced before t = 1.4."""
    times = [0.5, 1.0, 1.4, 2.0]
    request = {
        **BALL,
        "system": {**BALL["system"], "observables": {"v": "v"}},
        "data": {"start_time": 0, "times": times, "values": {"v": [-6.0, -13.0, -13.0, None]}},
        "parameters": {"g": 10.0},
        "stages": [{"kind": "least_squares"}],
    }
    result = fit(FitProblem.model_validate(request))
    warnings = {warning.code: warning.names for warning in result.warnings}
    assert result.trajectories[0].dense.events is not None
    assert result.trajectories[0].dense.events[0].time == pytest.approx(1.4, abs=2e-6)
    assert warnings["at_kink"] == ["g"]
