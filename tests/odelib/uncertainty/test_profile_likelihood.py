"""Profile likelihoods against scipy and closed forms, and open ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, least_squares
from scipy.stats import chi2, f

from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import FitResult

Array = NDArray[np.float64]
TIGHT = {"rtol": 1e-9, "atol": 1e-11}


def fitted(**request: Any) -> FitResult:
    return fit(
        parse_problem({"uncertainty": "profile", "solver": TIGHT, "stages": [{"kind": "least_squares"}]} | request)
    )


# name → equations, true parameters, fixed initial state, times, noise
PROBLEMS: dict[str, Any] = {
    "decay": ({"x": "-k*x"}, {"k": 0.7}, {"x": 2.0}, np.linspace(0.1, 4, 12), 0.1),
    "Michaelis and Menten": ({"s": "-v*s/(K + s)"}, {"v": 1.0, "K": 0.5}, {"s": 2.0}, np.linspace(0.1, 4, 15), 0.05),
    "logistic": ({"n": "r*n*(1 - n/K)"}, {"r": 1.0, "K": 5.0}, {"n": 0.3}, np.linspace(0.2, 6, 15), 0.2),
    "saturation": ({"c": "a*(b - c)"}, {"a": 0.4, "b": 2.0}, {"c": 0.0}, np.linspace(0.2, 4, 12), 0.08),
    "predator and prey": (
        {"x": "a*x - b*x*y", "y": "b*x*y - d*y"},
        {"a": 1.0, "b": 0.8, "d": 1.2},
        {"x": 1.0, "y": 0.7},
        np.linspace(0.3, 6, 20),
        0.1,
    ),
}


def simulated(name: str) -> tuple[Any, Array]:
    equations, truth, start, times, noise = PROBLEMS[name]
    rates = {state: compile(text, state, "eval") for state, text in equations.items()}

    def solve(values: Array) -> Array:
        named = dict(zip(truth, values, strict=True))

        def rhs(_t: float, y: Array) -> list[float]:
            scope = named | dict(zip(equations, y, strict=True))
            return [eval(code, {}, scope) for code in rates.values()]

        return solve_ivp(
            rhs, (0.0, times[-1]), list(start.values()), t_eval=times, method="LSODA", rtol=1e-8, atol=1e-10
        ).y

    clean = solve(np.array(list(truth.values())))
    return solve, clean + noise * np.random.default_rng(4).standard_normal(clean.shape)


@pytest.mark.parametrize(("name", "sigma_given"), [(name, i % 2 == 0) for i, name in enumerate(PROBLEMS)])
def test_ends_agree_with_a_direct_profile(name: str, sigma_given: bool) -> None:
    equations, truth, start, times, noise = PROBLEMS[name]
    solve, data = simulated(name)
    sigma = noise if sigma_given else 1.0
    series: dict[str, Any] = {
        "times": times.tolist(),
        "start_time": 0.0,
        "values": {state: row.tolist() for state, row in zip(equations, data, strict=True)},
    }
    if sigma_given:
        series["sigma"] = dict.fromkeys(equations, noise)
    result = fitted(
        system={"states": list(equations), "parameters": list(truth), "equations": equations},
        data=series,
        parameters=truth,
        initial_state={state: {"guess": value, "fixed": True} for state, value in start.items()},
    )

    def squares(values: Array) -> Array:
        return ((solve(values) - data) / sigma).ravel()

    best = least_squares(squares, list(truth.values()), xtol=1e-12, ftol=1e-12)
    count, free = data.size, len(truth)
    rise = chi2.ppf(0.95, 1) if sigma_given else 2 * best.cost * f.ppf(0.95, 1, count - free) / (count - free)
    for place, parameter in enumerate(truth):
        estimate = result.parameters[parameter]
        assert estimate.lower_95 is not None
        assert estimate.upper_95 is not None
        width = estimate.upper_95 - estimate.lower_95

        def excess(value: float, place: int = place) -> float:
            if free == 1:
                return float(np.square(squares(np.array([value]))).sum() - 2 * best.cost - rise)
            others = np.delete(best.x, place)
            found = least_squares(lambda rest: squares(np.insert(rest, place, value)), others, xtol=1e-8, ftol=1e-8)
            return float(2 * found.cost - 2 * best.cost - rise)

        lower = brentq(excess, best.x[place] - 0.75 * width, best.x[place], xtol=1e-4 * width)
        upper = brentq(excess, best.x[place], best.x[place] + 0.75 * width, xtol=1e-4 * width)
        assert [estimate.lower_95, estimate.upper_95] == pytest.approx([lower, upper], abs=1e-3 * width)


def line(**request: Any) -> FitResult:
    times = np.arange(10.0)
    values = (1 + 0.5 * times + 0.2 * np.random.default_rng(1).standard_normal(10)).tolist()
    system = {"states": ["x"], "parameters": ["b"], "equations": {"x": "b"}}
    whole = {
        "system": system,
        "data": {"times": times.tolist(), "values": {"x": values}},
        "parameters": {"b": 0.4},
        "initial_state": {"x": 0.8},
    }
    return fitted(**(whole | request))


def test_a_parabolic_profile_gives_the_intervals_of_the_covariance() -> None:
    profiled, covariance = line(), line(uncertainty="covariance")
    for a, b in zip(profiled.parameters.values(), covariance.parameters.values(), strict=True):
        assert a.standard_error == b.standard_error
        assert [a.lower_95, a.upper_95] == pytest.approx([b.lower_95, b.upper_95], rel=1e-4)
    assert profiled.profiles is not None
    assert list(profiled.profiles) == ["b", "x"]
    for profile in profiled.profiles.values():
        assert profile.values == sorted(profile.values)
        assert len(profile.values) == len(profile.losses) >= 5
        assert min(profile.losses) == profiled.loss
        assert profile.losses == pytest.approx(profile.parabola, rel=1e-4)
        assert min(profile.losses[0], profile.losses[-1]) >= profile.limit > max(profile.losses[1:-1])
    assert covariance.profiles is None


def test_an_estimated_noise_scale_gives_the_same_intervals_as_no_noise() -> None:
    plain, noisy = line(), line(noise={"x": {"distribution": "normal", "sigma": "estimate"}})
    for a, b in zip(plain.parameters.values(), noisy.parameters.values(), strict=True):
        assert [a.lower_95, a.upper_95] == pytest.approx([b.lower_95, b.upper_95], rel=1e-4)


def test_an_open_end_is_left_out_and_reported() -> None:
    times = np.linspace(0.2, 2, 10)
    values = (2 * np.exp(-0.7 * times)).tolist()
    result = fitted(
        system={"states": ["x"], "parameters": ["a", "b"], "equations": {"x": "-a*b*x"}},
        data={"times": times.tolist(), "start_time": 0.0, "values": {"x": values}, "sigma": {"x": 0.05}},
        parameters={
            "a": {"guess": 0.8, "lower": 1e-3, "upper": 1e3, "scale": "log"},
            "b": {"guess": 0.9, "scale": "log"},
        },
        initial_state={"x": {"guess": 2.0, "fixed": True}},
    )
    assert (result.parameters["a"].lower_95, result.parameters["a"].upper_95) == (None, None)
    (warning,) = [w for w in result.warnings if w.code == "open_interval"]
    assert warning.names == ["a"]  # the bounds of a bound b


def test_an_interval_may_be_open_on_one_side() -> None:
    """A saturation that the data hardly show: they bound w only from above."""
    times = np.linspace(0.2, 2, 10)
    noise = 0.01 * np.random.default_rng(3).standard_normal(10)
    result = fitted(
        system={"states": ["s"], "parameters": ["q", "w"], "equations": {"s": "-q*s/(1 + w*s)"}},
        data={"times": times.tolist(), "start_time": 0.0, "values": {"s": (np.exp(-0.7 * times) + noise).tolist()}},
        parameters={"q": 0.8, "w": {"guess": 0.05, "lower": 0.0}},
        initial_state={"s": {"guess": 1.0, "fixed": True}},
    )
    w = result.parameters["w"]
    assert w.upper_95 is not None
    assert w.lower_95 is None
    assert ["w"] in [warning.names for warning in result.warnings if warning.code == "open_interval"]


def test_the_fit_continues_from_a_better_optimum_that_a_profile_finds() -> None:
    """The loss has two minima in a. The guess is near the worse one, and the barrier between them is low."""
    result = fitted(
        system={"states": ["x"], "parameters": ["a"], "equations": {"x": "0*a"}},
        data={"times": [0.0, 1.0, 2.0, 3.0], "values": {"x": [3.0, 3.1, 2.9, 3.0]}, "sigma": {"x": 1.0}},
        parameters={"a": -0.9},
        initial_state={"x": "3 - min((a + 1)**2 + 0.5, 0.05*(a - 4)**2)"},
    )
    assert result.parameters["a"].value == pytest.approx(4.0, abs=0.3)
    assert result.outcome.code == "converged"


def test_an_end_is_found_if_the_loss_jumps_at_a_bound() -> None:
    """Nearly a straight line: any large total with a small rate fits, but not the rate 0."""
    times = np.linspace(0.1, 2, 20)
    values = 3 * (1 - np.exp(-0.3 * times)) + 0.05 * np.random.default_rng(2).standard_normal(20)
    result = fitted(
        system={"states": ["c"], "parameters": ["total", "rate"], "equations": {"c": "rate*(total - c)"}},
        data={"times": times.tolist(), "start_time": 0.0, "values": {"c": values.tolist()}, "sigma": {"c": 0.3}},
        parameters={"total": {"guess": 3.0, "lower": 0.0}, "rate": {"guess": 0.3, "lower": 0.0}},
        initial_state={"c": {"guess": 0.0, "fixed": True}},
    )
    total, rate = result.parameters["total"], result.parameters["rate"]
    assert total.lower_95 is not None
    assert total.upper_95 is None
    assert rate.lower_95 == pytest.approx(0.0, abs=1e-3 * rate.value)
    assert rate.upper_95 is not None


TWO_MINIMA: dict[str, Any] = {
    "system": {
        "states": ["gut", "centre"],
        "parameters": ["ka", "ke", "V"],
        "constants": {"dose": 100},
        "equations": {"gut": "-ka*gut", "centre": "ka*gut - ke*centre"},
        "observables": {"conc": "centre/V"},
    },
    "data": {
        "times": [0.5, 0.5, 1, 1, 2, 2, 8, 8, 12, 12],
        "values": {"conc": [2.1, 2.6, 3.4, 3.9, 4.2, 4.6, 1.9, 1.5, 0.8, 0.5]},
    },
    "initial_state": {"gut": "dose", "centre": {"guess": 0, "fixed": True}},
}


@pytest.mark.parametrize("ka", [{"guess": 1.0}, {"guess": 1.0, "lower": 0.0}, {"guess": 1.0, "scale": "log"}])
def test_a_jump_to_a_worse_local_minimum_is_not_taken_for_an_end(ka: dict[str, Any]) -> None:
    """Absorption slower than elimination fits nearly as well, with other values of the other unknowns."""
    parameters = {"ka": ka, "ke": {"guess": 0.2, "lower": 0, "upper": 5}, "V": 10}
    result = fitted(**TWO_MINIMA, parameters=parameters, stages=[{"kind": "lbfgsb"}])

    def least(rate: float) -> float:
        def misses(rest: Array) -> Array:
            times, data = np.array(TWO_MINIMA["data"]["times"]) - 0.5, TWO_MINIMA["data"]["values"]["conc"]
            ke, volume = rest
            model = 100 * rate / volume * (np.exp(-ke * times) - np.exp(-rate * times)) / (rate - ke)
            return np.asarray(model - data)

        starts = [(0.06, 18.0), (0.2, 18.0), (0.6, 5.0), (1.2, 1.0), (4.9, 0.3)]
        return min(2 * least_squares(misses, s, bounds=([0, 0], [5, 1e3]), xtol=1e-12).cost for s in starts)

    assert result.profiles is not None
    limit = result.profiles["ka"].limit
    end = result.parameters["ka"].lower_95
    assert end is not None
    assert end == pytest.approx(brentq(lambda rate: least(rate) - limit, 0.03, 0.1), rel=1e-3)


def test_an_interval_that_never_ends_on_a_log_scale_is_open() -> None:
    log = {"guess": 1.0, "scale": "log"}
    parameters = {"ka": log, "ke": log | {"guess": 0.2}, "V": log | {"guess": 10.0}}
    result = fitted(**TWO_MINIMA, parameters=parameters, stages=[{"kind": "lbfgsb"}])

    assert result.parameters["V"].lower_95 is None
    assert "V" in next(warning.names or [] for warning in result.warnings if warning.code == "open_interval")


@pytest.mark.parametrize("k", [(0.48, 1.5, -1.23, 0.69, 0.17, 1.4), (0.38, 2.71, -2.33, -0.61, 0.11, 1.98)])
def test_a_walk_that_follows_the_worse_of_two_valleys_does_not_end_there(k: tuple[float, ...]) -> None:
    """With a away from its best value 2, the best c is in one valley first and in another one farther away."""
    observables = {
        "u": f"{k[0]}*(a - 2)",
        "v": f"{k[1]}*(c - 1)*(c - 1 - {k[2]}*(a - 2) - {k[3]}*(a - 2)**2)",
        "w": f"{k[4]}*(c - 1 + {k[5]}*(a - 2))",
    }
    result = fitted(
        system={"states": ["x"], "parameters": ["a", "c"], "equations": {"x": "0*a"}, "observables": observables},
        data={
            "times": [0.0],
            "values": {name: [0.0] for name in observables},
            "sigma": dict.fromkeys(observables, 1.0),
        },
        parameters={"a": 2.05, "c": 1.02},
        initial_state={"x": {"guess": 0.0, "fixed": True}},
    )
    c = np.linspace(-30.0, 30.0, 20_001)

    def excess(a: float) -> float:
        u, v, w = k[0] * a, k[1] * (c - 1) * (c - 1 - k[2] * a - k[3] * a**2), k[4] * (c - 1 + k[5] * a)
        return float((u**2 + v**2 + w**2).min() - chi2.ppf(0.95, 1))

    for side, end in ((-1.0, result.parameters["a"].lower_95), (1.0, result.parameters["a"].upper_95)):
        beyond = next(side * a for a in np.arange(0.1, 10.0, 0.1) if excess(side * a) > 0)
        assert end == pytest.approx(2 + brentq(excess, beyond - 0.1 * side, beyond), rel=2e-3)
