"""`fit` as a whole: results, resuming, stopping, what cannot succeed."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from odelib import FitError, FitProblem, Monitor, fit
from odelib.errors import StopReason, StopRequested
from odelib.fitting import partial_result
from odelib.monitor import Checkpoint
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.optimisers import STAGES
from tests.problems import decay_request
from tests.stopping import Stopper


def decay(**changes: Any) -> FitProblem:
    return parse_problem(decay_request(**changes))


class TestResult:
    @pytest.fixture(scope="class")
    @staticmethod
    def result() -> FitResult:
        return fit(
            decay(
                system={
                    "states": ["x", "y"],
                    "parameters": ["k", "fixed"],
                    "equations": {"x": "-k*x", "y": "fixed"},
                    "observables": {"seen": "2*x", "y": "y", "clock": "t"},
                },
                data={
                    "name": "run 7",
                    "start_time": -1.0,
                    "times": [0.0, 1.0, 1.0, 2.0],
                    "values": {"seen": [2.0, None, 1.1, 0.5], "y": [1.0, 2.1, 1.9, None]},
                    "sigma": {"seen": 0.1, "y": [0.1, 0.2, 0.3, 0.4]},
                },
                parameters={"k": 0.4, "fixed": {"lower": 1.0, "upper": 1.0}},
                initial_state={"x": 2.5, "y": "fixed - 1"},
                predictions=[
                    {"name": "later", "times": [3.0, 3.0, 4.0]},
                    {"name": "other", "times": [7.0, 8.0], "initial_state": {"x": 1.0}, "parameters": {"k": 1.0}},
                    {"name": "scored", "times": [0.5, 1.0], "values": {"y": [1.6, 2.2], "seen": [None, None]}},
                ],
            )
        )

    def test_values_and_what_is_fixed(self, result: FitResult) -> None:
        assert result.parameters["fixed"].model_dump(exclude_none=True) == {"value": 1.0, "fixed": True}
        assert result.parameters["k"].fixed is None
        assert result.initial_state["y"].value == 0.0
        assert result.observations == 6

    def test_the_trajectory_is_the_fitted_solution(self, result: FitResult) -> None:
        (trajectory,) = result.trajectories
        k, start = result.parameters["k"].value, result.initial_state["x"].value
        assert trajectory.name == "run 7"
        assert trajectory.times == [0, 1, 1, 2]
        expected = [start * math.exp(-k * (t + 1)) for t in trajectory.times]
        np.testing.assert_allclose(trajectory.states["x"], expected, rtol=1e-5)
        np.testing.assert_allclose(trajectory.values["seen"], 2 * np.array(expected), rtol=1e-5)
        np.testing.assert_allclose(trajectory.values["y"], [1, 2, 2, 3], rtol=1e-6)
        assert trajectory.values["clock"] == [0, 1, 1, 2]

    def test_residuals_are_data_minus_model_over_sigma(self, result: FitResult) -> None:
        (trajectory,) = result.trajectories
        seen, y = trajectory.residuals["seen"], trajectory.residuals["y"]
        assert seen[1] is None
        assert y[3] is None
        assert y[1] == pytest.approx((2.1 - 2) / 0.2, rel=1e-4)
        assert seen[3] == pytest.approx((0.5 - trajectory.values["seen"][3]) / 0.1, rel=1e-9)
        squares = sum(r * r for r in [*seen, *y] if r is not None)
        assert result.loss == result.loss_parts.data == pytest.approx(squares, rel=1e-12)

    def test_dense_covers_the_start_to_the_last_time(self, result: FitResult) -> None:
        dense = result.trajectories[0].dense
        assert (dense.times[0], dense.times[-1]) == (-1, 2)
        assert set(dense.states) == {"x", "y"}
        assert len(dense.times) == len(dense.values["seen"]) == 401

    def test_predictions(self, result: FitResult) -> None:
        assert result.predictions is not None
        later, other, scored = result.predictions
        k, start = result.parameters["k"].value, result.initial_state["x"].value
        assert later.states is not None
        assert other.states is not None
        np.testing.assert_allclose(later.states["x"], [start * math.exp(-k * (t + 1)) for t in (3, 3, 4)], rtol=1e-9)
        assert other.initial_state == {"x": 1.0, "y": 0.0}
        assert other.parameters == {"k": 1.0, "fixed": 1.0}
        np.testing.assert_allclose(other.states["x"], [1, math.exp(-1)], rtol=1e-9)
        assert scored.rmse == {"y": pytest.approx(math.sqrt((0.1**2 + 0.2**2) / 2), rel=1e-6)}
        # sigma lies on the line between the data's: 0.15 at t = 0.5, and the last of the equal times' at t = 1
        assert scored.loss == pytest.approx((0.1 / 0.15) ** 2 + (0.2 / 0.3) ** 2, rel=0.6)
        assert later.loss is None

    def test_statistics(self, result: FitResult) -> None:
        n, k = 6, 3  # two free unknowns, and the scale
        base = n * math.log(result.loss / n)
        assert result.statistics.aic == pytest.approx(base + 2 * k)
        assert result.statistics.bic == pytest.approx(base + k * math.log(n))
        residuals = [1.0 - 1, 2.1 - 2, 1.9 - 2]
        total = np.var([1.0, 2.1, 1.9]) * 3
        assert result.statistics.r_squared["y"] == pytest.approx(1 - np.square(residuals).sum() / total, rel=1e-5)

    def test_json_has_no_null_but_for_missing_values(self, result: FitResult) -> None:
        text = result.to_json()
        assert text.count("null") == 2  # the two missing measurements' residuals
        assert FitResult.model_validate_json(text) == result


def test_everything_fixed_is_evaluated_and_no_stage_runs() -> None:
    result = fit(decay(parameters={"k": {"guess": 0.5, "fixed": True}}))
    assert result.stages == []
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == 0.5
    assert result.loss > 0


def test_a_prediction_that_cannot_be_solved_leaves_the_fit_alone() -> None:
    result = fit(
        decay(
            system={"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
            data={"times": [0.0, 0.2, 0.4], "values": {"x": [1.0, 1.26, 1.7]}},
            parameters={"k": 0.9},
            initial_state={"x": {"guess": 1.0, "fixed": True}},
            predictions=[{"name": "wild", "times": [0.0, 5.0], "initial_state": {"x": 9.0}}],
            solver={"max_steps": 3000},
        )
    )
    assert result.predictions is not None
    (wild,) = result.predictions
    assert wild.error is not None
    assert "t = 0.1" in wild.error.detail
    assert wild.states is None
    assert [(w.code, w.names) for w in result.warnings] == [("prediction_failed", ["wild"])]
    assert result.outcome.code == "converged"


class TestCannotSucceed:
    def test_a_guess_that_cannot_be_solved(self) -> None:
        problem = decay(
            system={"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}},
            data={"times": [0.0, 5.0], "values": {"x": [1.0, 9.0]}},
            parameters={"k": {"guess": 1.0, "lower": 0.5}},
            solver={"max_steps": 3000},
        )
        with pytest.raises(FitError, match=r"before the first step of stage 'lbfgsb'.*t = (0\.5|1)") as caught:
            fit(problem)
        assert "Change the guesses" in caught.value.detail

    def test_an_observable_without_a_value(self) -> None:
        system = decay_request()["system"] | {"observables": {"lg": "log(x - 1)"}}
        data = {"times": [0.0, 1.0, 3.0], "values": {"lg": [0.0, None, -1.0]}}
        parameters = {"k": {"guess": 0.4, "lower": 0.3}}
        with pytest.raises(FitError, match="the observable 'lg' is not a finite number at t = 3"):
            fit(decay(system=system, data=data, parameters=parameters))

    def test_an_infinite_slope(self) -> None:
        system = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-x"}}
        parameters = {"k": 1.0}
        with pytest.raises(FitError, match="derivative of the loss with respect to k is not finite"):
            fit(decay(system=system, parameters=parameters, initial_state={"x": "1 + sqrt(k - k)"}))


@pytest.fixture
def every_step_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("odelib.optimisers.evaluator.CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("every_step_told")
class TestStopping:
    def test_progress_and_checkpoints_are_told(self) -> None:
        monitor = Monitor()
        fit(decay(stages=[{"kind": "adam", "steps": 10}, {"kind": "adam", "steps": 30}]), monitor=monitor)
        assert monitor.progress is not None
        assert monitor.checkpoint is not None
        assert (monitor.progress.stage, monitor.progress.step, monitor.progress.steps) == ("adam", 30, 30)
        assert monitor.progress.fraction == 1.0
        assert monitor.checkpoint.position == (1, 30)

    def test_cancelled_before_any_point_is_a_stop(self) -> None:
        with pytest.raises(StopRequested, match="cancelled"):
            fit(decay(), monitor=Monitor(stop="cancelled"))

    def test_interrupted_is_a_stop_whose_checkpoint_survives_json(self) -> None:
        monitor = Stopper(4, "interrupted")
        with pytest.raises(StopRequested, match="interrupted"):
            fit(decay(stages=[STAGES[0]]), monitor=monitor)
        assert monitor.checkpoint is not None
        assert Checkpoint.from_json(monitor.checkpoint.to_json()) == monitor.checkpoint

    def test_adam_goes_on_from_its_checkpoint_as_if_nothing_had_happened(self) -> None:
        problem = decay(stages=[{"kind": "adam", "steps": 20, "learning_rate": 0.03}])
        whole = fit(problem)
        monitor = Stopper(7, "interrupted")
        with pytest.raises(StopRequested):
            fit(problem, monitor=monitor)
        assert monitor.checkpoint is not None
        resumed = fit(problem, resume=Checkpoint.from_json(monitor.checkpoint.to_json()))
        assert resumed.parameters["k"].value == pytest.approx(whole.parameters["k"].value, rel=1e-12)
        assert resumed.stages[0].steps == 20

    def test_later_stages_go_on_and_earlier_ones_are_not_run_again(self) -> None:
        problem = decay(stages=[{"kind": "adam", "steps": 2}, {"kind": "lbfgsb", "steps": 60}])
        monitor = Stopper(3, "interrupted")
        with pytest.raises(StopRequested):
            fit(problem, monitor=monitor)
        assert monitor.checkpoint is not None
        assert monitor.checkpoint.position == (1, 3)
        resumed = fit(problem, resume=monitor.checkpoint)
        assert [(s.kind, s.stopped.code) for s in resumed.stages] == [("adam", "step_limit"), ("lbfgsb", "converged")]
        assert resumed.stages[1].steps > 3
        assert resumed.outcome.code == "converged"

    def test_a_checkpoint_makes_a_result_without_solving(self) -> None:
        problem = decay(stages=[STAGES[0]])
        monitor = Stopper(5, "interrupted")
        with pytest.raises(StopRequested):
            fit(problem, monitor=monitor)
        assert monitor.checkpoint is not None
        result = partial_result(problem, monitor.checkpoint, "interrupted")
        assert result.outcome.code == "interrupted"
        assert result.loss == monitor.checkpoint.loss
        assert result.parameters["k"].value == monitor.checkpoint.best["k"]
        k = result.parameters["k"].value
        expected = [2 * math.exp(-k * t) for t in problem.data.times]
        np.testing.assert_allclose(result.trajectories[0].values["x"], expected, rtol=1e-5)
        assert result.stages[0].steps == 5


class TestTimeLimit:
    ENDLESS = ({"kind": "adam", "steps": 10_000_000, "learning_rate": 1e-7},)

    def test_it_ends_the_fit_with_the_best_point(self) -> None:
        fit(decay())  # compiled
        result = fit(decay(stages=list(self.ENDLESS), time_limit_seconds=3, predictions=[{"name": "p", "times": [4]}]))
        assert result.outcome.code == "time_limit"
        assert result.predictions is not None
        assert result.predictions[0].error is None  # the point is there, and what is cheap is still made

    def test_earlier_attempts_count(self) -> None:
        began = time.monotonic()
        result = fit(decay(stages=list(self.ENDLESS), time_limit_seconds=100), elapsed=99)
        assert result.outcome.code == "time_limit"
        assert time.monotonic() - began < 60

    def test_without_a_point_it_is_a_failure(self) -> None:
        with pytest.raises(FitError, match="before the guess was evaluated"):
            fit(decay(time_limit_seconds=10), elapsed=11)

    def test_a_stop_from_another_thread_reaches_into_a_long_solve(self) -> None:
        monitor = Monitor()
        problem = parse_problem(
            {
                "system": {"states": ["x", "v"], "parameters": ["w"], "equations": {"x": "v", "v": "-w**2*x"}},
                "data": {"times": [0.0, 1e5], "values": {"x": [1.0, 1.0]}},
                "parameters": {"w": 1e4},
                "initial_state": {"x": 1, "v": 0},
                "solver": {"max_steps": 2_000_000_000},
            }
        )
        threading.Timer(1.0, lambda: setattr(monitor, "stop", "cancelled")).start()
        began = time.monotonic()
        with pytest.raises(StopRequested):
            fit(problem, monitor=monitor)
        assert time.monotonic() - began < 30


class TestEdges:
    def test_the_optimum_beyond_the_edge_of_what_can_be_solved(self) -> None:
        # the loss falls towards k = 0.7, and from 0.65 on the equation has no value
        for guess in (0.1, 0.3, 0.5):
            result = fit(
                decay(
                    system={"states": ["x"], "parameters": ["k"],
                            "equations": {"x": "-k*x + 0*log(where(k < 0.65, 1, -1))"}},
                    parameters={"k": guess},
                )
            )  # fmt: skip
            assert result.outcome.code == "no_progress"
            assert 0.6 < result.parameters["k"].value < 0.65

    @pytest.mark.parametrize("scale", [1e-7, 1e-8, 1e8])
    def test_data_of_any_size(self, scale: float) -> None:
        data = decay_request()["data"]
        small = {"times": data["times"], "values": {"x": [scale * v for v in data["values"]["x"]]}}
        result = fit(decay(data=small, initial_state={"x": {"guess": 2 * scale, "fixed": True}}))
        assert result.outcome.code == "converged"
        assert result.parameters["k"].value == pytest.approx(0.7, rel=0.02)
        assert result.warnings == []

    @pytest.mark.parametrize("scale", [1e80, 1e100])
    def test_a_size_nothing_can_work_with_is_never_called_converged(self, scale: float) -> None:
        data = {"times": [0.0, 1.0, 2.0], "values": {"x": [scale, 0.4 * scale, 0.2 * scale]}}
        monitor = Monitor()
        state = {"x": {"guess": scale, "fixed": True}}
        result = fit(decay(data=data, initial_state=state), monitor=monitor)
        assert result.outcome.code != "converged" or result.parameters["k"].value == pytest.approx(0.9, rel=0.1)
        assert monitor.checkpoint is not None
        monitor.checkpoint.to_json()  # has finite numbers only

    def test_an_observable_without_values_somewhere_is_null_there_and_the_rest_stands(self) -> None:
        system = decay_request()["system"]
        system = system | {
            "observables": {"x": "x", "lg": "log(x - 1)"},
            "derived": {"none": "log(k - 5)", "two": "2*k"},
        }
        result = fit(decay(system=system))
        (trajectory,) = result.trajectories
        assert trajectory.values["lg"][0] == pytest.approx(0.0, abs=1e-9)
        assert trajectory.values["lg"][-1] is None
        assert len(trajectory.dense.times) == 401
        assert None in trajectory.dense.values["lg"]
        assert None not in trajectory.dense.values["x"]
        assert result.derived is not None
        assert list(result.derived) == ["two"]
        assert [(w.code, w.names) for w in result.warnings] == [("not_finite", ["lg", "none"])]
        assert FitResult.model_validate_json(result.to_json()) == result

    def test_dense_and_data_are_one_trajectory_even_in_chaos(self) -> None:
        times = [float(t) for t in range(0, 21, 2)]
        lorenz = {
            "system": "lorenz",
            "data": {"times": times, "values": {"x": [1.0] * len(times)}},
            "parameters": {"sigma": 10, "rho": 28, "beta": 8 / 3},
            "initial_state": {"x": 1, "y": 0, "z": 0},
            "stages": [{"kind": "adam", "steps": 1, "learning_rate": 1e-12}],
        }
        (trajectory,) = fit(parse_problem(lorenz)).trajectories
        dense = dict(zip(trajectory.dense.times, trajectory.dense.states["x"], strict=True))
        assert [dense[t] for t in times] == trajectory.states["x"]

    def test_adam_alone_at_the_optimum_has_converged(self) -> None:
        best = fit(decay()).parameters["k"].value
        result = fit(decay(parameters={"k": best}, stages=[{"kind": "adam", "steps": 2, "learning_rate": 1e-9}]))
        assert result.stages[0].stopped.code == "step_limit"
        assert result.outcome.code == "converged"

    def test_a_product_is_named_although_no_uncertainty_was_asked_for(self) -> None:
        system = {"states": ["x"], "parameters": ["a", "b"], "equations": {"x": "-a*b*x"}}
        result = fit(decay(system=system, parameters={"a": 0.4, "b": 2.0}))
        assert [(w.code, w.names) for w in result.warnings] == [("flat_direction", ["a", "b"])]

    def test_fewer_observations_than_unknowns_are_told(self) -> None:
        result = fit(decay(data={"times": [1.0], "start_time": 0.0, "values": {"x": [1.2]}}, initial_state={"x": 2.0}))
        assert [(w.code, w.names) for w in result.warnings] == [("flat_direction", ["k", "x"])]

    @pytest.mark.parametrize(
        "series",
        [
            {"times": [0.0, 1.0], "values": {"x": [2.0, 1.2]}},
            {"times": [0, 0, 0, 5, 5, 5], "values": {"x": [2.0, 2.1, 1.9, 0.2, 0.1, 0.3]}},
            {"times": [1.0], "start_time": 0.0, "values": {"x": [1.2]}},
        ],
        ids=["two points", "replicates at two times", "one point"],
    )
    def test_a_series_too_short_for_segments_is_fitted(self, series: dict[str, Any]) -> None:
        request = decay_request(data=series)
        del request["stages"]  # the default plan begins with segments
        result = fit(parse_problem(request))
        times, values = np.array(series["times"]), np.array(series["values"]["x"])
        k = np.linspace(0.01, 2, 100_001)
        best = k[np.argmin(((2 * np.exp(-np.outer(k, times)) - values) ** 2).sum(axis=1))]
        assert result.outcome.code == "converged"
        assert result.parameters["k"].value == pytest.approx(best, abs=2e-4)

    def test_an_unknown_that_nothing_depends_on_is_named(self) -> None:
        system = {"states": ["x"], "parameters": ["k", "idle"], "equations": {"x": "-k*x"}}
        result = fit(decay(system=system, parameters={"k": 0.4, "idle": 3.0}))
        assert [(w.code, w.names) for w in result.warnings] == [("flat_direction", ["idle"])]

    @pytest.mark.parametrize("reason", ["interrupted", "lease_lost"])
    def test_a_stop_during_predictions_is_a_stop(self, reason: StopReason) -> None:
        with pytest.raises(StopRequested, match=reason):
            fit(self.with_a_long_prediction(), monitor=self.stopped_after_the_stages(reason))

    def test_a_cancel_during_predictions_comes_back_without_them(self) -> None:
        result = fit(self.with_a_long_prediction(), monitor=self.stopped_after_the_stages("cancelled"))
        assert result.outcome.code == "cancelled"
        assert result.predictions is not None
        assert result.predictions[0].error is not None

    def test_predictions_do_not_outlast_the_time_limit_for_long(self) -> None:
        fit(self.with_a_long_prediction(predictions=[]))  # compiled
        began = time.monotonic()
        result = fit(self.with_a_long_prediction(time_limit_seconds=3))
        assert time.monotonic() - began < 60
        assert result.outcome.code == "converged"
        assert result.predictions is not None
        assert result.predictions[0].error is not None
        assert result.predictions[0].error.code == "time_limit"

    @staticmethod
    def with_a_long_prediction(**changes: Any) -> FitProblem:
        system = {"states": ["x", "v", "y"], "parameters": ["k"], "equations": {"x": "v", "v": "-1e10*x", "y": "-k*y"}}
        request = decay_request(
            system=system | {"observables": {"y": "y"}},
            initial_state={
                "x": {"guess": 0.0, "fixed": True},
                "v": {"guess": 0.0, "fixed": True},
                "y": {"guess": 2.0, "fixed": True},
            },
            solver={"max_steps": 2_000_000_000},
            predictions=[{"name": "for minutes", "times": [0.0, 1e5], "initial_state": {"x": 1.0}}],
        )
        data = request["data"]
        data["values"] = {"y": data["values"]["x"]}
        return parse_problem(request | changes)

    @staticmethod
    def stopped_after_the_stages(reason: StopReason) -> Monitor:
        monitor = Monitor()

        def stop() -> None:
            while monitor.progress is None or monitor.progress.step < 1:
                time.sleep(0.05)
            time.sleep(2.0)  # by now the stages are over and the prediction, which takes minutes, has begun
            monitor.stop = reason

        threading.Thread(target=stop, daemon=True).start()
        return monitor

    @pytest.mark.usefixtures("every_step_told")
    def test_out_of_time_or_cancelled_before_anything_was_solved_again_the_checkpoint_is_the_result(self) -> None:
        problem = decay(stages=[STAGES[0]])
        monitor = Stopper(5, "interrupted")
        with pytest.raises(StopRequested):
            fit(problem, monitor=monitor)
        assert monitor.checkpoint is not None
        late = fit(problem, resume=monitor.checkpoint, elapsed=1e6)
        assert (late.outcome.code, late.loss) == ("time_limit", monitor.checkpoint.loss)
        cancelled = fit(problem, resume=monitor.checkpoint, monitor=Monitor(stop="cancelled"))
        assert (cancelled.outcome.code, cancelled.loss) == ("cancelled", monitor.checkpoint.loss)
        assert cancelled.solver.method == "dopri5"
