"""`fit_batch`: rows as single fits would give them, and series that fail alone."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from odelib import FitProblem, Monitor, ODELayer, fit, fit_batch
from odelib.batches import fitting
from odelib.batches.rows import row_of_result
from odelib.errors import StopRequested
from odelib.problem.batches import batch_mistakes, member_request
from odelib.result import BatchRow, Estimate

REQUEST: dict[str, Any] = {
    "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    "parameters": {"k": {"guess": 1.0, "lower": 0.0}},
    "initial_state": {"c": 5.0},
}


def series(name: str, rate: float, **more: Any) -> dict[str, Any]:
    times = [0.0, 0.5, 1.0, 2.0, 3.0]
    values = [round(4 * math.exp(-rate * t) + 0.03 * math.sin(7 * t), 3) for t in times]
    return {"name": name, "times": times, "values": {"c": values}, **more}


GOOD = [
    series("one", 0.5),
    series("two", 1.5, parameters={"k": 2.0}, initial_state={"c": {"guess": 4.0, "fixed": True}}),
]


def rows_of(request: dict[str, Any], members: list[Any]) -> list[BatchRow]:
    found = dict(fit_batch(request, members))
    assert sorted(found) == list(range(len(members)))
    return [found[index] for index in range(len(members))]


def test_each_row_is_what_a_fit_of_this_series_alone_gives() -> None:
    rows = rows_of({**REQUEST, "uncertainty": "covariance"}, GOOD)

    for row, each in zip(rows, GOOD, strict=True):
        alone = fit(FitProblem.model_validate(member_request({**REQUEST, "uncertainty": "covariance"}, each)))
        assert (row.name, row.status, row.outcome) == (each["name"], "succeeded", alone.outcome.code)
        assert row.loss == pytest.approx(alone.loss, rel=1e-6)
        for name, estimate in {**alone.parameters, **alone.initial_state}.items():
            own = {**(row.parameters or {}), **(row.initial_state or {})}[name]
            assert own.value == pytest.approx(estimate.value, rel=1e-4)
            assert (own.standard_error or 0.0) == pytest.approx(estimate.standard_error or 0.0, rel=1e-2)
            assert own.fixed == estimate.fixed


@pytest.mark.parametrize(
    ("bad", "pointers"),
    [
        (series("x", 1.0, times=[0.0, 0.5]), ["/values/c"]),
        ({**series("x", 1.0), "values": {"d": [1.0] * 5}}, ["/values/d"]),
        ({**series("x", 1.0), "values": {"c": [None] * 5}}, ["/values"]),
        ({**series("x", 1.0), "values": {"c": [1.0, math.nan, 1.0, 1.0, 1.0]}}, ["/values/c/1"]),
        (series("x", 1.0, parameters={"k": -1.0, "z": 1.0}), ["/parameters/k/guess", "/parameters/z"]),
        (series("x", 1.0, parameters=[1.0]), ["/parameters"]),
        ([1.0], [""]),
    ],
)  # fmt: skip
def test_an_invalid_series_fails_alone_with_pointers_into_it(bad: Any, pointers: list[str]) -> None:
    before, row, after = rows_of(REQUEST, [GOOD[0], bad, GOOD[1]])

    assert (before.status, after.status) == ("succeeded", "succeeded")
    assert row.status == "failed"
    assert row.error is not None
    assert row.error.errors is not None
    assert sorted(mistake.pointer for mistake in row.error.errors) == pointers


def test_a_series_whose_guess_cannot_be_solved_fails_alone() -> None:
    explosion = {"states": ["c"], "parameters": ["k"], "equations": {"c": "k*c**2"}}
    request = {**REQUEST, "system": explosion, "parameters": {"k": {"guess": 0.01, "upper": 10.0}}}
    fixed = {"c": {"guess": 1.0, "fixed": True}}
    bad = series("bad", 0.5, initial_state=fixed, parameters={"k": {"guess": 9.5, "lower": 9.0}})

    rows = rows_of(request, [series("one", -0.1), bad])

    assert rows[0].status == "succeeded"
    assert rows[1].status == "failed"
    assert rows[1].error is not None
    assert rows[1].error.type == "urn:odefit:error:guess_step_too_small"


def test_a_stopped_batch_keeps_the_rows_that_are_ready() -> None:
    monitor = Monitor()
    rows = fit_batch(REQUEST, [*GOOD, *GOOD], monitor=monitor)
    ready = [next(rows)]
    monitor.stop = "cancelled"

    with pytest.raises(StopRequested, match="cancelled"):
        ready.extend(rows)

    assert all(row.status == "succeeded" for _, row in ready)


def test_the_request_of_a_batch_is_checked_without_its_series() -> None:
    assert batch_mistakes(REQUEST) == []
    assert batch_mistakes({**REQUEST, "parameters": {}}) == []  # every series may give guesses
    noise = {"c": {"distribution": "normal", "sigma": "estimate"}}
    assert batch_mistakes({**REQUEST, "noise": noise}) == []
    wrong = {**REQUEST, "parameters": {"k": {"guess": 1.0, "lower": 2.0}}, "data": GOOD[0], "predictions": [{}]}
    assert sorted(mistake.pointer for mistake in batch_mistakes(wrong)) == [
        "/data",
        "/parameters/k/guess",
        "/predictions",
    ]


class TestTogether:
    """Plain series are fitted as one batch, with the results of fits of each alone."""

    TIMES = np.linspace(0.0, 8.0, 21)
    GUESSES: ClassVar[dict[str, Any]] = {
        "system": "lotka-volterra",
        "parameters": {
            "alpha": 1.5,
            "beta": {"guess": 1.0, "scale": "log"},
            "gamma": 1.0,
            "delta": {"guess": 3.0, "lower": 0},
        },
        "initial_state": {"prey": 1.0, "predator": {"guess": 1.0, "upper": 9.0}},
    }

    @classmethod
    def plates(cls) -> list[dict[str, Any]]:
        """Six series with their own truths, noise and guesses; one has gaps, one other times, one a guess far away."""
        rng = np.random.default_rng(5)
        layer = ODELayer("lotka-volterra", rtol=1e-9)
        found = []
        for place in range(6):
            p, y = np.array([1.5, 1.0, 1.0, 3.0]) * rng.uniform(0.85, 1.15, 4), rng.uniform(0.8, 1.2, 2)
            times = cls.TIMES * (1.1 if place == 4 else 1.0)
            states = layer(*map(torch.tensor, (times, y, p))).numpy() + 0.05 * rng.standard_normal((21, 2))
            prey = [None if place == 1 and i % 4 == 2 else v for i, v in enumerate(states[:, 0].tolist())]
            own = p * (rng.uniform(0.9, 1.1, 4) if place != 3 else np.array([0.5, 1.0, 1.0, 0.5]))
            values = {"prey": prey, "predator": states[:, 1].tolist()}
            found.append({"name": f"plate {place}", "times": times.tolist(), "values": values})
            found[-1]["parameters"] = dict(zip(("alpha", "beta", "gamma", "delta"), own.tolist(), strict=True))
        return found

    def test_rows_are_those_of_fits_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plates, asked = self.plates(), {**self.GUESSES, "uncertainty": "covariance"}
        alone = [fit(FitProblem.model_validate(member_request(asked, each))) for each in plates]
        monkeypatch.setattr(fitting, "fit", lambda *args, **kwargs: pytest.fail("fitted alone"))

        for row, expected in zip(rows_of(asked, plates), alone, strict=True):
            assert (row.status, row.outcome, row.warnings) == ("succeeded", expected.outcome.code, expected.warnings)
            variance = expected.loss / (expected.observations - 6)
            assert row.loss == pytest.approx(expected.loss, abs=1e-3 * variance)
            for name, estimate in {**expected.parameters, **expected.initial_state}.items():
                own = {**(row.parameters or {}), **(row.initial_state or {})}[name]
                for field in ("value", "standard_error", "lower_95", "upper_95"):
                    assert getattr(own, field) == pytest.approx(getattr(estimate, field), rel=1e-3), (name, field)

    def test_observables_constants_and_fixed_values(self, monkeypatch: pytest.MonkeyPatch) -> None:
        system = {
            "states": ["c"], "parameters": ["k", "gain", "base"], "constants": {"volume": 2.0},
            "equations": {"c": "-k*c/volume"}, "observables": {"signal": "base + gain*c", "rate": "k*c/volume"},
        }  # fmt: skip
        request = {
            "system": system, "constants": {"volume": 3.0}, "initial_state": {"c": {"guess": 2.0, "fixed": True}},
            "parameters": {"k": {"guess": 1.0, "scale": "log"}, "gain": {"guess": 1.0, "lower": 0.0}, "base": 0.1},
        }  # fmt: skip
        rng, times = np.random.default_rng(2), np.linspace(0.0, 5.0, 16)
        members = []
        for k in (0.7, 1.4):
            c = 2.0 * np.exp(-k * times / 3.0)
            values = {"signal": 0.3 + 1.7 * c, "rate": k * c / 3.0}
            noisy = {name: (v + 0.01 * rng.standard_normal(16)).tolist() for name, v in values.items()}
            members.append({"name": str(k), "times": times.tolist(), "values": noisy})
        alone = [fit(FitProblem.model_validate(member_request(request, each))) for each in members]
        monkeypatch.setattr(fitting, "fit", lambda *args, **kwargs: pytest.fail("fitted alone"))

        for row, expected in zip(rows_of(request, members), alone, strict=True):
            assert row.loss == pytest.approx(expected.loss, rel=1e-6)
            assert row.initial_state == expected.initial_state
            for name, estimate in expected.parameters.items():
                assert (row.parameters or {})[name].value == pytest.approx(estimate.value, rel=1e-4)

    def test_errors_of_the_solver_that_move_estimates_are_told(self) -> None:
        """Also of a sum of squares, whose noise is known from the fit only."""
        times, rng = np.linspace(0.0, 20.0, 31), np.random.default_rng(3)
        exact = ODELayer("lotka-volterra", rtol=1e-9)(*map(torch.tensor, (times, [1.0, 1.0], [1.5, 1.0, 1.0, 3.0])))
        states = exact.numpy() + 0.003 * rng.standard_normal((31, 2))
        values = dict(zip(("prey", "predator"), states.T.tolist(), strict=True))

        [row] = rows_of(
            {**self.GUESSES, "solver": {"rtol": 1e-3}}, [{"name": "A1", "times": times.tolist(), "values": values}]
        )

        assert [warning.code for warning in row.warnings] == ["coarse_solver"]

    def test_what_is_open_is_left_to_a_fit_alone(self) -> None:
        """Two unknowns that only their sum determines, one at a bound, structure, too few values;
        a derived quantity without a value, proportional noise, and data that determine neither noise nor curve; exact
        data beside an estimated sigma, a sigma as small as the solver's errors, and a curve that the model misses.
        """
        exact = {**GOOD[0], "values": {"c": [4 * math.exp(-0.5 * t) for t in GOOD[0]["times"]]}}
        tiny = {**REQUEST, "noise": {"c": normal(sigma=1e-9)}, "uncertainty": "covariance", "solver": {"rtol": 1e-4}}
        turn = [round(4 * math.cos(0.14 * i), 3) for i in range(11)]  # too few for tests of structure
        missed = {**GOOD[0], "times": list(range(11)), "values": {"c": turn}}
        undefined = {**REQUEST, "system": {**REQUEST["system"], "derived": {"root": "sqrt(-k)"}}}
        proportional = {**REQUEST, "noise": {"c": {"distribution": "normal", "proportional": "estimate"}}}
        estimated = {**REQUEST, "noise": {"c": {"distribution": "normal", "sigma": "estimate"}}}
        system = {"states": ["c"], "parameters": ["k", "j"], "equations": {"c": "-(k + j)*c"}}
        request = {"system": system, "parameters": {"k": 1.0, "j": 1.0}, "initial_state": {"c": 4.0}}
        at_bound = {**REQUEST, "parameters": {"k": {"guess": 1.0, "lower": 0.9}}}
        wave = {**GOOD[0], "times": list(range(20)), "values": {"c": [4 + math.sin(0.3 * i) for i in range(20)]}}
        few = {**GOOD[0], "times": [0.0, 1.0], "values": {"c": [4.0, 2.0]}}

        for asked, member, code in (
            (request, GOOD[0], "flat_direction"),
            (at_bound, GOOD[0], "at_bound"),
            (REQUEST, wave, "structured_residuals"),
            (REQUEST, few, None),
            (undefined, GOOD[0], "not_finite"),
            (proportional, GOOD[0], None),
            (estimated, {**GOOD[0], "times": [0.0, 1.0], "values": {"c": [4.0, 2.0]}}, None),
            (estimated, exact, "coarse_solver"),
            (tiny, GOOD[0], "coarse_solver"),
            (REQUEST, missed, "structured_residuals"),
        ):
            [row], expected = rows_of(asked, [member]), fit(FitProblem.model_validate(member_request(asked, member)))
            assert row == row_of_result(member["name"], expected)
            assert code is None or code in [warning.code for warning in row.warnings]


SIGNALS = {
    "states": ["c"], "parameters": ["k", "gain"], "constants": {"volume": 3.0},
    "equations": {"c": "-k*c/volume"}, "observables": {"signal": "gain*c", "rate": "k*c/volume"},
    "derived": {"half_life": "log(2)*volume/k", "sum": "k + gain"},
}  # fmt: skip
SPIKES = {
    "states": ["v", "w"], "parameters": ["a", "b", "c"],
    "equations": {"v": "c*(v - v**3/3 + w)", "w": "-(v - a + b*w)/c"},
}  # fmt: skip
# of each system: the request, the true parameters, the initial state, and the noise of each observable
SYSTEMS: dict[str, tuple[dict[str, Any], list[float], list[float], dict[str, float]]] = {
    "lotka-volterra": (
        {
            "system": "lotka-volterra",
            "parameters": {"alpha": 1.4, "beta": {"guess": 1.1, "scale": "log"}, "gamma": 1.0, "delta": 2.9},
            "initial_state": {"prey": 1.0, "predator": {"guess": 1.0, "upper": 9.0}},
        },
        [1.5, 1.0, 1.0, 3.0],
        [1.0, 1.0],
        {"prey": 0.05, "predator": 0.1},
    ),
    "observables": (
        {
            "system": SIGNALS,
            "parameters": {"k": {"guess": 1.1, "scale": "log"}, "gain": {"guess": 1.5, "lower": 0.0}},
            "initial_state": {"c": {"guess": 2.0, "fixed": True}},
        },
        [1.0, 1.7],
        [2.0],
        {"signal": 0.05, "rate": 0.01},
    ),
    "fitzhugh-nagumo": (
        {
            "system": SPIKES,
            "parameters": {"a": 0.25, "b": 0.25, "c": 2.8},
            "initial_state": {"v": {"guess": -1.0, "fixed": True}, "w": {"guess": 1.0, "fixed": True}},
        },
        [0.2, 0.2, 3.0],
        [-1.0, 1.0],
        {"v": 0.1, "w": 0.05},
    ),
}


def normal(**scale: Any) -> dict[str, Any]:
    return {"distribution": "normal", **scale}


def kinds_of_noise(sizes: dict[str, float], count: int) -> dict[str, tuple[dict[str, Any] | None, dict[str, Any]]]:
    """The noise of a request and the sigmas of its series, by the name of their kind."""
    (one, first), (other, second) = sizes.items()
    estimated = normal(sigma="estimate")
    varying = [first * (1 + 0.3 * (place % 3)) for place in range(count)]
    return {
        "given": ({one: normal(sigma=first), other: normal(sigma=second)}, {}),
        "of the data": ({one: normal(), other: normal(sigma=second)}, {one: varying}),
        "sum of squares, of the data": (None, {one: varying, other: second}),
        "sum of squares, of the data in part": (None, {one: 1.1}),
        "one estimated": ({one: normal(sigma=first), other: estimated}, {}),
        "all estimated": ({one: estimated, other: estimated}, {}),
    }


def assert_alike(own: Estimate, expected: Estimate) -> None:
    """Alike within a small part of the standard error, as both are only converged within the noise."""
    assert own.fixed == expected.fixed
    assert (own.standard_error is None) == (expected.standard_error is None)
    error = expected.standard_error
    if error is None:
        assert own.value == pytest.approx(expected.value, rel=1e-3)
        return
    assert own.standard_error == pytest.approx(error, rel=0.02)
    for field in ("value", "lower_95", "upper_95"):
        assert getattr(own, field) == pytest.approx(getattr(expected, field), abs=0.05 * error), field


@pytest.mark.parametrize("system", SYSTEMS)
def test_fits_with_noise_and_derived_quantities_together_are_those_alone(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, truth, start, sizes = SYSTEMS[system]
    rng, times = np.random.default_rng(11), np.linspace(0.0, 8.0, 21)
    layer = ODELayer(request["system"], rtol=1e-9)
    clean = layer(*map(torch.tensor, (times, start, truth)))
    columns = layer.observe(torch.tensor(times), clean, torch.tensor(truth))
    members = []
    for place in range(2):
        noisy = {name: (columns[name].numpy() + rng.normal(0, sigma, 21)).tolist() for name, sigma in sizes.items()}
        if place:
            noisy[next(iter(noisy))][7] = None
        members.append({"name": str(place), "times": times.tolist(), "values": noisy})
    for kind, (noise, sigma) in kinds_of_noise(sizes, len(times)).items():
        asked = {**request, "uncertainty": "covariance", **({"noise": noise} if noise else {})}
        given = [{**each, "sigma": sigma} if sigma else each for each in members]
        alone = [fit(FitProblem.model_validate(member_request(asked, each))) for each in given]
        with monkeypatch.context() as patched:
            patched.setattr(fitting, "fit", lambda *args, kind=kind, **kwargs: pytest.fail(f"{kind}: fitted alone"))
            rows = rows_of(asked, given)

        for row, result in zip(rows, alone, strict=True):
            expected = row_of_result(row.name or "", result)
            assert (row.status, row.outcome, row.warnings) == (expected.status, expected.outcome, expected.warnings)
            unit = 1.0 if noise else result.loss / (result.observations - len(truth) - len(start))
            assert row.loss == pytest.approx(expected.loss, abs=1e-3 * unit)
            for field in ("parameters", "initial_state", "derived"):
                own, theirs = getattr(row, field) or {}, getattr(expected, field) or {}
                assert own.keys() == theirs.keys()
                for name, estimate in theirs.items():
                    assert_alike(own[name], estimate)
            assert (row.noise or {}).keys() == (expected.noise or {}).keys()
            for name, scales in (expected.noise or {}).items():
                mine = (row.noise or {})[name]
                assert (mine.sigma is None) == (scales.sigma is None)
                if mine.sigma and scales.sigma:
                    assert_alike(mine.sigma, scales.sigma)
