"""The gradient of the loss is that of central differences, for all combinations of noise, priors and experiments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from odelib.errors import SolveError
from odelib.objective.objective import Objective
from odelib.problem.noise import DISTRIBUTIONS
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve
from tests.odelib.problem.requests import examples

CPU = torch.device("cpu")
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
SYSTEM = {
    "states": ["x", "y"],
    "parameters": ["k", "s", "m"],
    "constants": {"c": 1.0},
    "equations": {"x": "s*c - k*x", "y": "k*x - 0.3*m*y"},
    "observables": {"x": "x", "sum": "x + m*y"},
}
TIMES = [0.0, 0.5, 1.0, 1.0, 2.0, 4.0]
COUNTS = {"x": [2.0, 3.0, 1.0, None, 4.0, 2.0], "sum": [3.0, None, 6.0, 2.0, 8.0, 5.0]}
PRIORS: list[dict[str, Any]] = [
    {"distribution": "normal", "mean": 0.5, "standard_deviation": 0.7},
    {"distribution": "lognormal", "median": 0.8, "sigma": 0.6},
    {"distribution": "laplace", "median": 0.33, "scale": 0.4},
    {"distribution": "uniform", "lower": 0.001, "upper": 20.0},
    {"distribution": "half-normal", "scale": 4.0},
]


def unknowns(guess: float) -> st.SearchStrategy[Any]:
    """An entry of `parameters` or `initial_state`: on either scale, with or without bounds and a prior."""
    return st.fixed_dictionaries(
        {"guess": st.just(guess), "scale": st.sampled_from(["linear", "log"])},
        optional={
            "prior": st.sampled_from(PRIORS),
            "lower": st.just(guess / 10),
            "upper": st.just(guess * 10),
            "fixed": st.sampled_from([False, False, True]),
        },
    )


SCALES = st.sampled_from([0.7, "estimate"])
SIGMAS = st.sampled_from([0.7, "estimate", "0.2*m + 0.1*s*x + 0.03*t*sum", "where(t < 1, 0.4 + c, exp(k))*s"])
WITH_SCALE = [{"distribution": name} for name, kind in DISTRIBUTIONS.items() if kind.scales]
NOISES = st.one_of(
    st.just({"distribution": "poisson"}),
    st.builds(lambda noise, sigma: noise | {"sigma": sigma}, st.sampled_from(WITH_SCALE), SIGMAS),
    st.builds(lambda a, b: {"distribution": "normal", "sigma": a, "proportional": b}, SIGMAS, SCALES),
    st.builds(
        lambda nu: {"distribution": "student-t", "sigma": "estimate", "degrees_of_freedom": nu}, st.floats(1, 30)
    ),
)
PENALTIES = st.fixed_dictionaries(
    {},
    optional={
        "l1": st.just(0.3),
        "l2": st.just(0.2),
        "names": st.lists(st.sampled_from(["k", "s", "m", "x"]), min_size=1, unique=True),
        "toward": st.just("zero"),  # the gradient is taken at the guess, where `guess` has a kink
    },
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request of the system, with any of its options."""
    noise = {name: dict(draw(NOISES)) for name in COUNTS}
    for entry in noise.values():
        if [entry.get("sigma"), entry.get("proportional")].count("estimate") == 1 and draw(st.booleans()):
            entry["prior"] = draw(st.sampled_from(PRIORS))
    computed = draw(st.sampled_from([None, "0.5*m + c", "exp(-k)*s"]))
    series = {"times": TIMES, "values": COUNTS}
    request: dict[str, Any] = {
        "system": SYSTEM,
        "parameters": {"k": draw(unknowns(0.4)), "s": draw(unknowns(1.2)), "m": draw(unknowns(0.8))},
        "initial_state": {"x": draw(unknowns(2.2)), "y": computed or draw(unknowns(0.9))},
        "noise": noise,
        "solver": TIGHT,
    }
    if draw(st.booleans()):
        request["penalty"] = draw(PENALTIES)
    if draw(st.booleans()):
        return request | {"data": series | {"start_time": draw(st.sampled_from([-1.0, 0.0]))}}
    other = {"name": "b", "times": [1.0, 3.0], "values": {"x": [3.0, 2.0]}, "start_time": 0.5, "constants": {"c": 1.4}}
    if draw(st.booleans()):
        other["initial_state"] = {"x": draw(unknowns(1.7)), "y": "0.3 + k"}
    own = draw(st.lists(st.sampled_from(["k", "s", "m"]), unique=True))
    return request | {"experiments": [series | {"name": "a"}, other], "per_experiment": own}


def objective(request: dict[str, Any], engine: str = "compiled") -> Objective:
    problem = parse_problem(request | {"solver": {"engine": engine, "method": "dopri5"} | TIGHT})
    return Objective(resolve(problem), CPU)


def check(of: Objective) -> None:
    """Backpropagation and sensitivities agree with central differences, up to 1e-6 of the largest entry."""
    start = of.unknowns.start
    evaluation = of.evaluate(start)
    expected = np.zeros(len(start))
    for i in range(len(start)):
        step = np.zeros(len(start))
        step[i] = 1e-4 * max(abs(start[i]), 0.1)
        # of order 4: with Student's t near its peak the error of order 2 is above 1e-6
        near, far = (of.evaluate(start + s * step).loss - of.evaluate(start - s * step).loss for s in (1, 2))
        expected[i] = (8 * near - far) / (12 * step[i])
    room = 1e-6 * max(float(np.abs(expected).max(initial=0.0)), 1.0)
    np.testing.assert_allclose(evaluation.gradient, expected, rtol=1e-6, atol=room)
    linearised, _ = of.linearise(start)
    assert linearised.loss == pytest.approx(evaluation.loss, rel=1e-8)
    np.testing.assert_allclose(linearised.gradient, evaluation.gradient, rtol=1e-6, atol=room)


@given(request=requests())
@examples(30)
def test_the_gradient_of_every_combination(request: dict[str, Any]) -> None:
    check(objective(request))


def test_the_gradient_of_the_other_engine() -> None:
    sigmas = {"x": "estimate", "sum": "0.2*m + 0.1*s*x"}
    series = {"times": TIMES, "values": COUNTS}
    request = {
        "system": SYSTEM,
        "experiments": [series | {"name": "a"}, series | {"name": "b", "constants": {"c": 2.0}}],
        "per_experiment": ["s"],
        "parameters": {"k": {"guess": 0.4, "scale": "log", "prior": PRIORS[0]}, "s": 1.2, "m": 0.8},
        "initial_state": {"x": {"guess": 2.2, "scale": "log"}, "y": "0.5*m + c"},
        "noise": {name: {"distribution": "lognormal", "sigma": sigma} for name, sigma in sigmas.items()},
        "penalty": {"l1": 0.3, "l2": 0.2},
        "solver": {"engine": "torchdiffeq", **TIGHT},
    }
    check(objective(request, "torchdiffeq"))


@given(request=requests())
@examples(10)
def test_several_points_at_once_give_what_each_gives(request: dict[str, Any]) -> None:
    of = objective(request)
    points = [of.unknowns.clip(of.unknowns.start * factor) for factor in (1.0, 1.01, 0.98)]
    for point, together in zip(points, of.linearise_all(points), strict=True):
        assert isinstance(together, tuple)
        (alone, gauss_newton), (evaluation, same) = of.linearise(point), together
        assert evaluation.loss == pytest.approx(alone.loss, rel=1e-12)
        np.testing.assert_allclose(evaluation.states, alone.states, rtol=1e-12)
        np.testing.assert_allclose(evaluation.gradient, alone.gradient, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(same.jacobian, gauss_newton.jacobian, rtol=1e-9, atol=1e-9)


def test_of_several_points_one_that_cannot_be_solved_fails_by_itself() -> None:
    """Each experiment has another number of times, so that they are solved in two batches."""
    long = {"name": "long", "times": np.linspace(0, 1, 9).tolist(), "values": {"x": [1.0] * 9}}
    short = {"name": "short", "times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}, "initial_state": {"x": 0.5}}
    system = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}}
    body = {"system": system, "experiments": [long, short], "parameters": {"k": 0.1}, "initial_state": {"x": 1.0}}
    of = objective(body)
    found = of.linearise_all([np.array([k, 1.0, 0.5]) for k in (0.1, 1.5, 0.2, 2.5)])  # x becomes infinite at 1/(k·x₀)
    assert [isinstance(each, SolveError) for each in found] == [False, True, False, True]
    assert "'long'" in str(found[1])
    for each, k in ((found[0], 0.1), (found[2], 0.2)):
        assert isinstance(each, tuple)
        assert each[0].loss == pytest.approx(of.evaluate(np.array([k, 1.0, 0.5])).loss)
