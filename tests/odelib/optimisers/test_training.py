"""The training of networks: by segments, along the regularisation path, ended by held-out data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from odelib.errors import ProblemError, StopRequested
from odelib.fitting import fit
from odelib.monitor import Checkpoint
from odelib.problem.data_split import split_series
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.result import FitResult
from tests.stopping import Stopper

TIMES = [0.25 * i for i in range(25)]
GROWTH = [0.1 * math.exp(t) / (1 + 0.1 * (math.exp(t) - 1)) for t in TIMES]
NOISE = 0.01 * np.random.default_rng(3).normal(size=len(TIMES))
# Logistic growth, of which the request knows only the growth: x' = x + u, and u is −x² in truth.
REQUEST: dict[str, Any] = {
    "system": {
        "states": ["x"],
        "equations": {"x": "x + u"},
        "networks": {"crowding": {"inputs": ["x"], "outputs": ["u"], "hidden": [4]}},
    },
    "data": {"times": TIMES, "values": {"x": (np.array(GROWTH) + NOISE).tolist()}},
    "initial_state": {"x": 0.1},
}


def problem(**changes: Any) -> FitProblem:
    return parse_problem(REQUEST | changes)


@pytest.fixture(scope="module")
def result() -> FitResult:
    return fit(problem())


def test_one_default_request_learns_the_missing_term(result: FitResult) -> None:
    assert result.outcome.code in ("converged", "early_stopped")
    assert result.networks is not None
    sampled = result.networks["crowding"].sampled
    assert sampled is not None
    learned = np.array(sampled.outputs["u"])
    truth = np.array([-x * x for (x,) in sampled.inputs])
    assert np.sqrt(np.mean((learned - truth) ** 2)) < 0.05 * np.abs(truth).max()
    assert "not_converged" not in {warning.code for warning in result.warnings}


def test_a_fifth_of_the_data_is_held_out_and_the_outcome_says_so(result: FitResult) -> None:
    assert result.hold_out is not None
    [held_out] = result.hold_out
    assert held_out.times == TIMES[2:24:5]
    assert result.observations == len(TIMES) - len(held_out.times)
    assert request_of(problem())["hold_out"] == {"every": 5}
    if result.outcome.code == "early_stopped":
        assert "one of 5 times of each series" in result.outcome.message


def test_the_held_out_data_are_described_better_than_by_a_fit_to_the_end() -> None:
    """A network of 49 weights can follow 20 measurements with their noise."""
    large = REQUEST["system"] | {"networks": {"crowding": {"inputs": ["x"], "outputs": ["u"], "hidden": [16]}}}
    trained = fit(problem(system=large))
    stages = [{"kind": "multiple_shooting"}, {"kind": "least_squares", "steps": 60}]
    to_the_end = fit(problem(system=large, stages=stages, hold_out={"every": 5}))
    assert trained.outcome.code == "early_stopped"
    assert to_the_end.loss < trained.loss
    assert trained.hold_out is not None
    assert to_the_end.hold_out is not None
    assert trained.hold_out[0].rmse is not None
    assert to_the_end.hold_out[0].rmse is not None
    assert trained.hold_out[0].rmse["x"] <= to_the_end.hold_out[0].rmse["x"] * (1 + 1e-9)


def test_training_from_a_trained_network_is_never_worse(result: FitResult) -> None:
    start = result.model_dump(mode="json", exclude_none=True)["networks"]["crowding"]
    again = fit(problem(networks={"crowding": {"start": start}}, initial_state={"x": result.initial_state["x"].value}))
    assert again.hold_out is not None
    assert result.hold_out is not None
    assert again.hold_out[0].loss is not None
    assert result.hold_out[0].loss is not None
    assert again.hold_out[0].loss <= result.hold_out[0].loss * (1 + 1e-4)


@pytest.mark.usefixtures("checkpoint_at_every_step")
@pytest.mark.parametrize("part", [0.1, 0.6, 0.9])
def test_an_interrupted_training_ends_where_it_would_have_ended(part: float, result: FitResult) -> None:
    monitor = Stopper(max(1, int(part * result.stages[0].steps)), "interrupted")
    with pytest.raises(StopRequested):
        fit(problem(), monitor=monitor)
    assert monitor.checkpoint is not None
    resumed = fit(problem(), resume=Checkpoint.from_json(monitor.checkpoint.to_json()))
    assert resumed.loss == pytest.approx(result.loss, rel=0.01)


def test_the_same_request_trains_the_same_weights(result: FitResult) -> None:
    assert fit(problem()).networks == result.networks


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_very_large_networks_are_trained_by_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odelib.optimisers.training.MAX_UNKNOWNS", 5)
    asked = problem(stages=[{"kind": "training", "steps": 150}])
    untrained = fit(problem(stages=[{"kind": "training", "steps": 1}]))
    whole = fit(asked)
    assert whole.hold_out is not None
    assert untrained.hold_out is not None
    assert whole.hold_out[0].loss is not None
    assert untrained.hold_out[0].loss is not None
    assert whole.hold_out[0].loss < 0.1 * untrained.hold_out[0].loss
    monitor = Stopper(75, "interrupted")
    with pytest.raises(StopRequested):
        fit(asked, monitor=monitor)
    assert monitor.checkpoint is not None
    resumed = fit(asked, resume=Checkpoint.from_json(monitor.checkpoint.to_json()))
    assert resumed.loss == pytest.approx(whole.loss, rel=1e-6)


def test_the_caller_chooses_what_ends_the_training() -> None:
    held_out = fit(problem(hold_out={"after": 5.0})).hold_out
    assert held_out is not None
    assert held_out[0].times == [time for time in TIMES if time > 5.0]


def test_whole_experiments_are_held_out_where_they_have_no_unknowns_of_their_own() -> None:
    experiments = [REQUEST["data"] | {"name": f"run {i}"} for i in range(10)]
    without_data = {name: value for name, value in REQUEST.items() if name != "data"}
    fixed = {"x": {"guess": 0.1, "fixed": True}}
    whole = parse_problem(without_data | {"experiments": experiments, "initial_state": fixed})
    assert whole.hold_out is not None
    assert whole.hold_out.experiments == ["run 2", "run 7"]
    scattered = parse_problem(without_data | {"experiments": experiments})
    assert scattered.hold_out is not None
    assert scattered.hold_out.every == 5


def test_nothing_is_held_out_of_few_data_or_of_fits_without_networks() -> None:
    few = {"times": TIMES[:9], "values": {"x": GROWTH[:9]}}
    assert problem(data=few).hold_out is None
    known = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x"}}
    assert problem(system=known, parameters={"k": 1.0}).hold_out is None


def test_mistakes_have_pointers() -> None:
    for hold_out, pointer in (
        ({"every": 5, "after": 1.0}, "/hold_out"),
        ({"every": 1}, "/hold_out/every"),
        ({"every": 60}, "/hold_out/every"),
    ):
        with pytest.raises(ProblemError) as raised:
            problem(hold_out=hold_out)
        assert [mistake.pointer for mistake in raised.value.errors] == [pointer]


def test_replicates_are_held_out_by_their_place() -> None:
    times = [0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0]
    data = {"times": times, "values": {"x": [float(i) for i in range(10)]}}
    fitted, held_out = split_series(problem(data=data, hold_out={"every": 5}))
    assert held_out[0].values["x"] == [2.0, 7.0]
    assert fitted[0].observations == 8
