"""Several starts: where they begin, starts that fail, seeds, and which fits are doubtful."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from examples.problems.independent import Independent
from examples.problems.kinetics import hiv, radioactive_chain
from examples.problems.simulating import poisson, simulated, with_guesses
from odelib.errors import StopRequested
from odelib.fitting import fit
from odelib.monitor import Checkpoint
from odelib.objective.objective import Objective
from odelib.objective.unknowns import Unknowns
from odelib.optimisers import multi_start
from odelib.optimisers.evaluator import Evaluator
from odelib.optimisers.least_squares import Linearisation, levenberg_marquardt, lowest_by_least_squares
from odelib.optimisers.multi_start import candidate_points
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from tests.stopping import Stopper

# x(0) = 2 + sin(3a) + a²/50 has many local minima in a
WAVES: dict[str, Any] = {
    "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "0*a"}},
    "data": {"times": [0.0, 1.0, 2.0], "values": {"x": [1.0, 1.0, 1.0]}, "sigma": {"x": 0.1}},
    "parameters": {"a": {"guess": 8.0, "lower": -10.0, "upper": 10.0}},
    "initial_state": {"x": "2 + sin(3*a) + a**2/50"},
}
BEST = 2 + np.sin(-np.pi / 2) + (np.pi / 6) ** 2 / 50


def waves(**request: Any) -> Any:
    return parse_problem(WAVES | {"stages": [{"kind": "multi_start", "starts": 16}]} | request)


def test_the_best_of_many_local_minima_is_found() -> None:
    result = fit(waves())
    alone = fit(waves(stages=[{"kind": "least_squares"}]))
    assert result.trajectories[0].values["x"][0] == pytest.approx(BEST, abs=1e-3)
    assert alone.loss > 10 * result.loss
    assert result.stages[0].steps == 16
    losses = result.stages[0].start_losses
    assert losses is not None
    assert len(losses) == 16
    assert losses[0] == pytest.approx(result.loss, rel=1e-6)
    assert losses == sorted(losses)


def evaluator_of_waves() -> Evaluator:
    objective = Objective(resolve(waves()), torch.device("cpu"))
    return Evaluator(objective, objective.evaluate(objective.unknowns.start), lambda: None)


def starts_of_waves(evaluator: Evaluator) -> list[Linearisation]:
    return [each for each in evaluator.linearise_all([np.array([a]) for a in (-9.0, -3.0, 1.0, 6.5)]) if each]


def test_least_squares_from_a_batch_of_points_ends_where_it_ends_from_each() -> None:
    evaluator = evaluator_of_waves()
    starts = starts_of_waves(evaluator)
    together = lowest_by_least_squares(evaluator, starts, steps=50, most_work=np.inf)
    alone = [levenberg_marquardt(evaluator_of_waves(), *start, steps=50).evaluation for start in starts]
    assert [each.loss for each in together] == pytest.approx([each.loss for each in alone], rel=1e-6)
    assert len({round(each.loss, 2) for each in together}) > 1  # in several local minima
    assert evaluator.best.loss == min(each.loss for each in together)


def test_a_batch_of_points_goes_no_further_than_its_work_allows() -> None:
    evaluator = evaluator_of_waves()
    starts = starts_of_waves(evaluator)
    counted = evaluator.counts.gradients
    ends = lowest_by_least_squares(evaluator, starts, steps=50, most_work=evaluator.work + 1)
    assert evaluator.counts.gradients == counted + len(starts)  # one trial each
    assert all(end.loss <= start.loss for end, (start, _) in zip(ends, starts, strict=True))


def test_a_seed_determines_the_starts_and_the_result() -> None:
    first, same, other = (fit(waves(seed=seed)) for seed in (3, 3, 4))
    assert first.stages[0].start_losses == same.stages[0].start_losses
    assert first.parameters == same.parameters
    assert first.stages[0].start_losses != other.stages[0].start_losses


def test_starts_of_a_request_run_before_its_stages() -> None:
    result = fit(waves(starts=12, stages=[{"kind": "lbfgsb"}]))
    assert [stage.kind for stage in result.stages] == ["multi_start", "lbfgsb"]
    assert len(result.stages[0].start_losses or []) == 12
    already = fit(waves(starts=12, stages=[{"kind": "multi_start", "starts": 2}, {"kind": "lbfgsb"}]))
    assert [stage.kind for stage in already.stages] == ["multi_start", "lbfgsb"]
    assert len(already.stages[0].start_losses or []) == 2


def test_a_start_that_cannot_be_solved_does_not_affect_the_others() -> None:
    """x' = a·x² is infinite before t = 3 if a is above 1/3."""
    times = np.linspace(0, 3, 16)
    data = {"times": times.tolist(), "values": {"x": (1 / (1 + 0.5 * times)).tolist()}}
    result = fit(
        parse_problem(
            {
                "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "a*x**2"}},
                "data": data,
                "parameters": {"a": {"guess": 0.2, "lower": -3.0, "upper": 3.0}},
                "initial_state": {"x": {"guess": 1.0, "fixed": True}},
                "stages": [{"kind": "multi_start", "starts": 12}],
            }
        )
    )
    assert result.parameters["a"].value == pytest.approx(-0.5, abs=1e-5)
    assert result.stages[0].failed_solves > 0
    assert result.outcome.code == "converged"


def test_candidates_cover_the_bounds_or_the_surroundings_of_the_guess() -> None:
    problem = parse_problem(
        {
            "system": {"states": ["x"], "parameters": list("abcd"), "equations": {"x": "a + b + c + d"}},
            "data": {"times": [0.0, 1.0], "values": {"x": [1.0, 1.0]}},
            "parameters": {
                "a": {"guess": 2.0, "lower": 0.01, "upper": 100.0},
                "b": {"guess": -1.0, "lower": -2.0, "upper": 5.0},
                "c": {"guess": 3.0, "scale": "log"},
                "d": {"guess": 0.0, "lower": -0.1},
            },
            "initial_state": {"x": {"guess": 1.0, "fixed": True}},
        }
    )
    unknowns = Unknowns(resolve(problem), torch.device("cpu"))
    unknowns.set_sizes(np.array([np.nan, np.nan, np.nan, 0.1]))
    points = np.array([list(unknowns.free_values(point).values()) for point in candidate_points(unknowns, 256, seed=0)])
    assert points.shape == (256, 4)
    assert points.min(axis=0) == pytest.approx([0.01, -2.0, 0.6, -0.1], rel=0.2)
    assert points.max(axis=0) == pytest.approx([100.0, 5.0, 15.0, 0.4], rel=0.2)
    assert np.median(points[:, 0]) == pytest.approx(1.0, rel=0.2)  # evenly in the logarithm
    assert np.median(points[:, 1]) == pytest.approx(1.5, rel=0.2)


@pytest.mark.usefixtures("checkpoint_at_every_step")
def test_after_an_interruption_the_remaining_starts_run() -> None:
    whole, monitor = fit(waves()), Stopper(5, "interrupted")
    with pytest.raises(StopRequested):
        fit(waves(), monitor=monitor)
    assert monitor.checkpoint is not None
    resumed = fit(waves(), resume=Checkpoint.from_json(monitor.checkpoint.to_json()))
    assert resumed.stages[0].start_losses == pytest.approx(whole.stages[0].start_losses)
    assert resumed.loss == pytest.approx(whole.loss)
    assert resumed.stages[0].steps == 16


def test_a_fit_with_a_runaway_unknown_is_doubtful() -> None:
    # From guesses that leave open which rate is the faster, delta runs to infinity, where nothing depends on it.
    result = fit(parse_problem(hiv().request | {"uncertainty": "covariance"}))
    assert result.stages[3].kind == "multi_start"
    assert result.stages[3].steps > 0
    assert result.loss == pytest.approx(Independent(hiv()).best(), abs=1e-3)
    assert result.warnings == []


def test_starts_that_multiple_shooting_leads_into_one_flat_direction_do_not_settle_a_doubt() -> None:
    """With these counts multiple shooting starts without polonium, and on a log scale the loss is flat there."""
    problem = radioactive_chain()
    random = np.random.default_rng((1, 2))
    request = dict(simulated(problem, "beta alpha", int(random.integers(2**31)), poisson).request)
    off = {name: value * 2 ** random.uniform(-1, 1) for name, value in problem.start.items()}

    def result_from(guesses: dict[str, float], **more: Any) -> Any:
        parts = {part: with_guesses(request[part], guesses) for part in ("parameters", "initial_state")}
        return fit(parse_problem(request | parts | more))

    best = result_from(dict(problem.start), stages=[{"kind": "least_squares"}])
    assert best.initial_state["Po"].value > 1000
    assert result_from(off).loss == pytest.approx(best.loss, abs=1e-3)


# A dose is absorbed at rate ka and cleared at rate ke. Exchanged, and with another volume, the rates fit as well.
EXCHANGED: dict[str, Any] = {
    "system": {
        "states": ["gut", "central"],
        "parameters": ["ka", "ke", "V"],
        "equations": {"gut": "-ka*gut", "central": "ka*gut - ke*central"},
        "observables": {"conc": "central/V"},
    },
    "data": {
        "times": [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 24.0],
        "values": {
            "conc": [1.854, 2.880, 4.844, 5.852, 6.438, 4.762, 3.485, 2.081, 1.593, 1.104, 0.546, 0.160, 0.0614, 0.0332]
        },
        "start_time": 0.0,
    },
    "parameters": {
        "ka": {"guess": 3.6, "scale": "log"},
        "ke": {"guess": 0.08, "scale": "log"},
        "V": {"guess": 36.0, "scale": "log", "prior": {"distribution": "lognormal", "median": 10.0, "sigma": 0.5}},
    },
    "initial_state": {name: {"guess": guess, "fixed": True} for name, guess in (("gut", 100.0), ("central", 0.0))},
    "noise": {"conc": {"distribution": "lognormal", "sigma": "estimate"}},
}


def test_a_fit_with_a_value_far_out_under_its_prior_is_doubtful() -> None:
    stages = [{"kind": "multiple_shooting"}, {"kind": "least_squares"}]
    doubtful = {"kind": "multi_start", "starts": 10, "when": "doubtful"}
    result = fit(parse_problem(EXCHANGED | {"stages": [*stages, doubtful]}))
    assert result.stages[2].steps > 0
    assert result.parameters["V"].value == pytest.approx(11.8, abs=0.5)
    alone = fit(parse_problem(EXCHANGED | {"stages": stages}))
    assert alone.parameters["V"].value < 4  # 2.4 standard deviations of the prior below its median
    assert result.loss < alone.loss - 1


def test_starts_from_other_points_end_at_the_same_estimates() -> None:
    """Where residuals are large, least squares comes near the optimum by ever smaller steps, and stops somewhere."""
    times = np.linspace(0.0, 6.0, 25)
    values = 2 * np.exp(-0.6 * times) + 0.6 * np.cos(2 * times)
    found = [
        fit(
            parse_problem(
                {
                    "system": {"states": ["x"], "parameters": ["k", "n"], "equations": {"x": "-k*abs(x)**n"}},
                    "data": {"times": times.tolist(), "values": {"x": values.tolist()}},
                    "parameters": {"k": 1.0, "n": 1.5},
                    "initial_state": {"x": 1.0},
                    "stages": [{"kind": "multi_start", "starts": 3}],
                    "uncertainty": "covariance",
                    "seed": seed,
                }
            )
        )
        for seed in (1, 2, 3)
    ]
    for name, estimate in found[0].parameters.items():
        assert estimate.standard_error is not None
        for other in found[1:]:
            assert abs(other.parameters[name].value - estimate.value) < 3e-6 * estimate.standard_error


OSCILLATOR: dict[str, Any] = {
    "system": {
        "states": ["q", "p"],
        "parameters": ["w"],
        "equations": {"q": "p", "p": "-w**2*q"},
        "observables": {"q": "q"},
    },
    "parameters": {"w": {"guess": 0.2, "scale": "log", "lower": 0.1, "upper": 10.0}},
    "initial_state": {"q": {"guess": 1.0, "fixed": True}, "p": {"guess": 0.0, "fixed": True}},
    "stages": [{"kind": "multi_start", "starts": 100, "when": "doubtful"}],
}


def oscillation(missed: float) -> dict[str, Any]:
    """Noisy measurements at a rate of 2. missed: the size of what the model does not have."""
    times = np.linspace(0.0, 20.0, 101)
    noise = 0.05 * np.random.default_rng(1).standard_normal(len(times))
    values = np.cos(2 * times) + noise + missed * np.sin(0.3 * times)
    return OSCILLATOR | {"data": {"times": times.tolist(), "values": {"q": values.tolist()}}}


def test_starts_end_once_the_doubt_is_gone() -> None:
    result = fit(parse_problem(oscillation(0.0)))
    assert result.parameters["w"].value == pytest.approx(2.0, rel=1e-2)
    assert result.stages[0].steps < 10
    assert result.warnings == []


def test_a_doubt_that_remains_ends_after_some_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_start, "MAX_WORK", 0.0)
    monkeypatch.setattr(multi_start, "ENOUGH_AGREEING", 1000)
    result = fit(parse_problem(oscillation(0.3)))
    assert result.stages[0].steps == multi_start.MIN_STARTS
    assert [warning.code for warning in result.warnings] == ["structured_residuals"]
