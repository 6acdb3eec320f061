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
from odelib.result import BatchRow

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

    def test_what_is_open_is_left_to_a_fit_alone(self) -> None:
        """Two unknowns that only their sum determines, one at a bound, residuals with structure, too few values; and
        quantities that are derived from the parameters.
        """
        with_derived = {**REQUEST, "system": {**REQUEST["system"], "derived": {"half_life": "0.693/k"}}}
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
            (with_derived, GOOD[0], None),
        ):
            [row], expected = rows_of(asked, [member]), fit(FitProblem.model_validate(member_request(asked, member)))
            assert row == row_of_result(member["name"], expected)
            assert code is None or code in [warning.code for warning in row.warnings]
