"""Several experiments in one fit: own times, states, constants and parameters, failures, and held-out data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from odelib import FitError, fit
from odelib.errors import StopRequested
from odelib.fitting import partial_result
from odelib.monitor import Checkpoint
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.stopping import Stopper

SYSTEM = {
    "states": ["x"],
    "parameters": ["k", "s"],
    "constants": {"c": 1.0},
    "equations": {"x": "-k*x + s*c"},
    "derived": {"half": "log(2)/k", "steady": "s*c/k", "plain": "2*s"},
}


def curve(times: np.ndarray, x: float, k: float, s: float) -> np.ndarray:
    return s / k + (x - s / k) * np.exp(-k * times)


def experiment(name: str, count: int, x: float, k: float = 0.7, **more: Any) -> dict[str, Any]:
    """An experiment with x(t) from x at t = 0, for k and s = 0.5, with a little noise."""
    times = np.linspace(0, 4, count)
    values = curve(times, x, k, 0.5 * more.get("constants", {}).get("c", 1.0))
    values = values + 0.01 * np.sin(9 * np.arange(count) + count)
    return {"name": name, "times": times.tolist(), "values": {"x": values.tolist()}, **more}


def request(**changes: Any) -> dict[str, Any]:
    return {
        "system": SYSTEM,
        "experiments": [experiment("one", 12, 2.0), experiment("two", 5, 0.2, constants={"c": 2.0})],
        "parameters": {"k": 0.5, "s": 0.4},
        "initial_state": {"x": 1.5},
        "stages": [{"kind": "lbfgsb"}],
    } | changes


def result_of(**changes: Any) -> FitResult:
    return fit(parse_problem(request(**changes)))


class TestResult:
    @pytest.fixture(scope="class")
    @staticmethod
    def result() -> FitResult:
        late = experiment("late", 7, 3.0, 0.9, initial_state={"x": {"guess": 3.0, "fixed": True}})
        late |= {"times": [time + 10 for time in late["times"]], "start_time": 10.0}
        return result_of(experiments=[experiment("one", 12, 2.0), late], per_experiment=["k"], uncertainty="covariance")

    def test_shared_values_are_reported_once_and_other_values_with_their_experiment(self, result: FitResult) -> None:
        assert set(result.parameters) == {"s"}
        assert result.parameters["s"].value == pytest.approx(0.5, rel=0.03)
        one, late = result.trajectories
        assert (one.name, late.name) == ("one", "late")
        assert one.parameters is not None
        assert late.parameters is not None
        assert set(one.parameters) == set(late.parameters) == {"k"}
        assert one.parameters["k"].value == pytest.approx(0.7, rel=0.03)
        assert late.parameters["k"].value == pytest.approx(0.9, rel=0.03)
        assert result.initial_state == one.initial_state
        assert late.initial_state["x"].model_dump(exclude_none=True) == {"value": 3.0, "fixed": True}
        assert result.observations == 19

    def test_derived_quantities_that_differ_between_experiments_are_reported_with_these(
        self, result: FitResult
    ) -> None:
        assert result.derived is not None
        assert set(result.derived) == {"plain"}
        one, late = result.trajectories
        for trajectory in (one, late):
            assert trajectory.derived is not None
            assert trajectory.parameters is not None
            assert set(trajectory.derived) == {"half", "steady"}
            assert trajectory.derived["half"].value == pytest.approx(math.log(2) / trajectory.parameters["k"].value)
            assert trajectory.derived["half"].standard_error is not None

    def test_each_trajectory_is_the_solution_of_its_experiment_at_its_times(self, result: FitResult) -> None:
        s = result.parameters["s"].value
        for trajectory, start in zip(result.trajectories, (0.0, 10.0), strict=True):
            assert trajectory.parameters is not None
            k, x = trajectory.parameters["k"].value, trajectory.initial_state["x"].value
            expected = curve(np.array(trajectory.times) - start, x, k, s)
            np.testing.assert_allclose(trajectory.values["x"], expected, rtol=1e-5)
            assert (trajectory.dense.times[0], len(trajectory.dense.times)) == (start, 401)
            assert trajectory.dense.values["x"][-1] == pytest.approx(expected[-1], rel=1e-5)
        residuals = [r for trajectory in result.trajectories for r in trajectory.residuals["x"]]
        assert result.loss == pytest.approx(sum(r * r for r in residuals if r is not None), rel=1e-12)

    def test_one_experiment_gives_the_same_fit_as_one_series(self) -> None:
        series = experiment("alone", 12, 2.0)
        alone = result_of(experiments=[series])
        body = request(data=series)
        del body["experiments"]
        plain = fit(parse_problem(body))
        assert alone.parameters == plain.parameters
        assert alone.trajectories == plain.trajectories


def test_the_order_of_experiments_does_not_change_the_fit() -> None:
    experiments = [experiment(str(i), 4 + 9 * i, 1.0 + i, 0.6 + 0.1 * i) for i in range(4)]
    tight = {"rtol": 1e-10, "atol": 1e-12}
    one, other = (
        result_of(experiments=order, per_experiment=["k"], solver=tight) for order in (experiments, experiments[::-1])
    )
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    for trajectory, same in zip(one.trajectories, other.trajectories[::-1], strict=True):
        assert trajectory.name == same.name
        assert trajectory.parameters is not None
        assert same.parameters is not None
        assert trajectory.parameters["k"].value == pytest.approx(same.parameters["k"].value, rel=1e-2)


def test_two_hundred_experiments_of_very_different_lengths() -> None:
    lengths = [2 + (i * i * 7) % 300 if i % 10 == 0 else 2 + i % 5 for i in range(200)]
    experiments = [experiment(f"plot {i}", n, 0.5 + 0.01 * i) for i, n in enumerate(lengths)]
    fixed = [
        {**one, "initial_state": {"x": {"guess": 0.5 + 0.01 * i, "fixed": True}}} for i, one in enumerate(experiments)
    ]
    result = result_of(experiments=fixed)
    assert result.outcome.code == "converged"
    assert [len(trajectory.times) for trajectory in result.trajectories] == lengths
    assert result.observations == sum(lengths)
    k, s = result.parameters["k"].value, result.parameters["s"].value
    assert (k, s) == pytest.approx((0.7, 0.5), rel=0.02)
    for i, trajectory in enumerate(result.trajectories):
        expected = curve(np.array(trajectory.times), 0.5 + 0.01 * i, k, s)
        np.testing.assert_allclose(trajectory.values["x"], expected, rtol=1e-4)


class TestFailures:
    # x' = k·x² is infinite at t = 1/(k·x), so the experiment with the highest start cannot be solved for k > 0.5
    SYSTEM = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}}

    def twenty(self, guess: float, fitted: float) -> dict[str, Any]:
        times = [0.0, 0.5, 1.0]
        experiments = []
        for i in range(20):
            x = 2.0 if i == 13 else 0.1 + 0.01 * i
            values = [x / (1 - fitted * x * t) for t in times]
            experiments.append(
                {"name": f"tube {i}", "times": times, "values": {"x": values},
                 "initial_state": {"x": {"guess": x, "fixed": True}}}
            )  # fmt: skip
        return {
            "system": self.SYSTEM,
            "experiments": experiments,
            "parameters": {"k": guess},
            "stages": [{"kind": "lbfgsb", "initial_step_norm": 0.3}],
            "solver": {"max_steps": 2000},
        }

    def test_the_fit_continues_after_a_trial_point_at_which_one_of_twenty_cannot_be_solved(self) -> None:
        result = fit(parse_problem(self.twenty(guess=0.3, fitted=0.46)))
        assert sum(stage.failed_solves for stage in result.stages) > 0
        assert result.outcome.code == "converged"
        assert result.parameters["k"].value == pytest.approx(0.46, rel=1e-3)

    def test_an_error_at_the_guess_names_the_experiment_that_cannot_be_solved(self) -> None:
        request = self.twenty(guess=0.9, fitted=0.46) | {"parameters": {"k": {"guess": 0.9, "lower": 0.8}}}
        with pytest.raises(FitError, match="in the experiment 'tube 13'") as caught:
            fit(parse_problem(request))
        assert "Change the guesses" in caught.value.detail

    def test_an_error_of_an_observable_names_its_experiment(self) -> None:
        system = SYSTEM | {"observables": {"lg": "log(c - 1)"}}
        series = {"times": [0.0, 1.0], "values": {"lg": [0.0, None]}}
        experiments = [series | {"name": "good", "constants": {"c": 2.0}}, series | {"name": "bad"}]
        with pytest.raises(FitError, match=r"'lg' is not a finite number at t = 0 in the experiment 'bad'"):
            result_of(system=system, experiments=experiments)

    def test_a_prediction_that_cannot_be_solved_does_not_affect_the_others(self) -> None:
        body = self.twenty(guess=0.4, fitted=0.46)
        body["predictions"] = [
            {"name": "too long", "times": [0.0, 9.0], "experiment": "tube 13"},
            {"name": "fine", "times": [0.0, 2.0], "experiment": "tube 0"},
        ]
        result = fit(parse_problem(body))
        assert result.predictions is not None
        too_long, fine = result.predictions
        assert too_long.error is not None
        assert fine.error is None
        assert [(w.code, w.names) for w in result.warnings] == [("prediction_failed", ["too long"])]


class TestPredictions:
    def test_a_prediction_takes_state_parameters_constants_and_start_from_its_experiment(self) -> None:
        result = result_of(per_experiment=["k"], predictions=[
            {"name": "p", "times": [6.0], "experiment": "two"},
            {"name": "other state", "times": [5.0, 6.0], "experiment": "two", "initial_state": {"x": 1.0}},
            {"name": "other k", "times": [6.0], "experiment": "one", "parameters": {"k": 0.1}},
        ])  # fmt: skip
        one, two = result.trajectories
        assert one.parameters is not None
        assert two.parameters is not None
        s, k = result.parameters["s"].value, two.parameters["k"].value
        expected = [
            curve(np.array([6.0]), two.initial_state["x"].value, k, 2 * s)[0],
            curve(np.array([1.0]), 1.0, k, 2 * s)[0],
            curve(np.array([6.0]), one.initial_state["x"].value, 0.1, s)[0],
        ]
        assert result.predictions is not None
        for prediction, value in zip(result.predictions, expected, strict=True):
            assert prediction.values is not None
            assert prediction.values["x"][-1] == pytest.approx(value, rel=1e-8)
        assert result.predictions[0].parameters == {"k": k, "s": s}

    def test_a_prediction_that_depends_on_no_experiment_need_not_name_one(self) -> None:
        experiments = [experiment("one", 12, 2.0), experiment("two", 5, 0.2)]
        everything = {"name": "p", "times": [0.0, 1.0], "initial_state": {"x": 1.0}}
        result = result_of(experiments=experiments, predictions=[everything])
        assert result.predictions is not None
        assert result.predictions[0].error is None

    def test_a_prediction_without_a_noise_scale_has_no_loss(self) -> None:
        laplace = {"distribution": "laplace"}
        experiments = [
            experiment("one", 12, 2.0, sigma={"x": 0.1}),
            {"name": "two", "times": [0.0, 1.0], "values": {"again": [1.0, 1.1]}, "sigma": {"again": 0.1}},
        ]
        result = result_of(
            system=SYSTEM | {"observables": {"x": "x", "again": "x"}},
            experiments=experiments,
            noise={"x": laplace, "again": laplace},
            predictions=[{"name": "p", "times": [1.0], "experiment": "two", "values": {"x": [1.0]}}],
        )
        assert result.predictions is not None
        assert result.predictions[0].loss is None
        assert result.predictions[0].rmse is not None


class TestHoldOut:
    def test_later_times_are_held_out_and_scored(self) -> None:
        result = result_of(hold_out={"after": 2.0})
        assert [max(trajectory.times) for trajectory in result.trajectories] == pytest.approx([1.818, 2.0], abs=1e-3)
        assert result.observations == 6 + 3
        assert result.hold_out is not None
        assert [held.name for held in result.hold_out] == ["one", "two"]
        for held, whole in zip(result.hold_out, request()["experiments"], strict=True):
            assert min(held.times) > 2
            assert held.values is not None
            assert held.rmse is not None
            residuals = np.array(whole["values"]["x"][-len(held.times) :]) - held.values["x"]
            assert held.rmse["x"] == pytest.approx(math.sqrt(np.mean(residuals**2)), rel=1e-9)
            assert held.loss == pytest.approx(float(residuals @ residuals), rel=1e-9)
        cut = [{**one, "times": one["times"][:n], "values": {"x": one["values"]["x"][:n]}}
               for one, n in zip(request()["experiments"], (6, 3), strict=True)]  # fmt: skip
        assert result_of(experiments=cut).parameters == result.parameters

    def test_an_experiment_with_only_later_times_is_held_out_as_a_whole(self) -> None:
        late = experiment("late", 4, 1.5)
        late |= {"times": [time + 10 for time in late["times"]]}
        result = result_of(experiments=[experiment("one", 12, 2.0), late], hold_out={"after": 5.0})
        assert [trajectory.name for trajectory in result.trajectories] == ["one"]
        assert result.hold_out is not None
        assert [(held.name, held.times) for held in result.hold_out] == [("late", late["times"])]
        assert result.hold_out[0].initial_state == {"x": 1.5}  # at the guess

    @pytest.mark.parametrize("out", ["one", "two"])
    def test_held_out_experiments_do_not_affect_the_fit(self, out: str) -> None:
        prior = {"distribution": "normal", "mean": 1.0, "standard_deviation": 2.0}
        changes: dict[str, Any] = {
            "per_experiment": ["k"],
            "uncertainty": "covariance",
            "noise": {"x": {"distribution": "normal", "sigma": "estimate"}},
            "parameters": {"k": {"guess": 0.5, "prior": prior}, "s": 0.4},
            "initial_state": {"x": {"guess": 1.5, "prior": prior}},
            "penalty": {"l2": 0.1, "names": ["k", "x", "s"]},
        }
        held = result_of(
            hold_out={"experiments": [out]}, predictions=[{"name": "p", "times": [0.0], "experiment": out}], **changes
        )
        without = result_of(experiments=[e for e in request()["experiments"] if e["name"] != out], **changes)
        assert held.trajectories == without.trajectories
        assert held.parameters == without.parameters
        assert held.loss_parts == without.loss_parts
        assert held.covariance == without.covariance
        assert held.statistics == without.statistics
        assert held.hold_out is not None
        assert held.predictions is not None
        (scored,), (predicted,) = held.hold_out, held.predictions
        assert scored.initial_state == predicted.initial_state == {"x": 1.5}  # at the guess
        assert scored.parameters is not None
        assert scored.parameters["k"] == 0.5
        assert scored.loss is not None
        if out == "one":  # the result's initial state is that of the first series
            assert held.initial_state["x"].model_dump(exclude_none=True) == {"value": 1.5, "fixed": True}


class TestStopping:
    @pytest.fixture(autouse=True)
    @staticmethod
    def checkpoint_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("odelib.optimisers.evaluator.CHECKPOINT_SECONDS", 0.0)

    CHANGES: dict[str, Any] = {
        "per_experiment": ["k"],
        "noise": {"x": {"distribution": "lognormal", "sigma": "estimate"}},
        "stages": [{"kind": "adam", "steps": 12, "learning_rate": 0.02}],
        "hold_out": {"after": 3.5},
        "predictions": [{"name": "p", "times": [5.0], "experiment": "two"}],
    }

    def interrupted(self) -> Checkpoint:
        monitor = Stopper(5, "interrupted")
        with pytest.raises(StopRequested):
            fit(parse_problem(request(**self.CHANGES)), monitor=monitor)
        assert monitor.checkpoint is not None
        return Checkpoint.from_json(monitor.checkpoint.to_json())

    def test_a_resumed_fit_gives_the_same_result(self) -> None:
        whole = result_of(**self.CHANGES)
        resumed = fit(parse_problem(request(**self.CHANGES)), resume=self.interrupted())
        assert resumed.loss == pytest.approx(whole.loss, rel=1e-12)
        for trajectory, same in zip(resumed.trajectories, whole.trajectories, strict=True):
            assert trajectory.values["x"] == pytest.approx(same.values["x"], rel=1e-10)

    def test_a_result_can_be_made_from_a_checkpoint_without_solving(self) -> None:
        checkpoint = self.interrupted()
        result = partial_result(parse_problem(request(**self.CHANGES)), checkpoint, "interrupted")
        assert result.loss == pytest.approx(checkpoint.loss)
        assert sum(vars(result.loss_parts).values()) == pytest.approx(checkpoint.loss)
        for trajectory in result.trajectories:
            assert trajectory.parameters is not None
            c = 2.0 if trajectory.name == "two" else 1.0
            k, s = trajectory.parameters["k"].value, result.parameters["s"].value
            expected = curve(np.array(trajectory.times), trajectory.initial_state["x"].value, k, s * c)
            np.testing.assert_allclose(trajectory.values["x"], expected, rtol=1e-5)
        assert result.hold_out is not None
        assert result.predictions is not None
        assert [entry.error.code for entry in result.hold_out + result.predictions if entry.error] == ["not_made"] * 3

    def test_a_cancelled_fit_returns_its_best_point(self) -> None:
        result = fit(parse_problem(request(**self.CHANGES)), monitor=Stopper(3, "cancelled"))
        assert result.outcome.code == "cancelled"
        assert [trajectory.name for trajectory in result.trajectories] == ["one", "two"]
        assert result.stages[0].steps == 3


def test_a_conservation_law_may_depend_on_constants() -> None:
    # Two compartments: a/v exchanges with b/w, and v·a + w·b stays what it was, whatever the rates of exchange are.
    system = {
        "states": ["a", "b"],
        "parameters": ["k"],
        "constants": {"v": 2.0, "w": 0.5, "back": 0.3},
        "equations": {"a": "(back*b - k*a)/v", "b": "(k*a - back*b)/w"},
    }
    k, amount = 0.6, 2.0 * 1.0 + 0.5 * 4.0
    a = amount / (2.0 + 0.5 * k / 0.3)
    result = fit(
        parse_problem(
            {
                "system": system,
                "data": {
                    "times": [0.0, 1.0],
                    "values": {"a": [a, a], "b": [k * a / 0.3, k * a / 0.3]},
                    "steady_state": True,
                },
                "parameters": {"k": {"guess": 0.2, "lower": 0.01, "upper": 5.0}},
                "initial_state": {"a": {"guess": 1.0, "fixed": True}, "b": {"guess": 4.0, "fixed": True}},
            }
        )
    )
    assert result.parameters["k"].value == pytest.approx(k, rel=1e-6)
