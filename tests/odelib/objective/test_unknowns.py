from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib.fitting import fit
from odelib.objective.objective import Objective
from odelib.objective.unknowns import Unknowns
from odelib.problem.request import parse_problem
from odelib.problem.resolved import resolve

CPU = torch.device("cpu")


def unknowns(**entries: Any) -> Unknowns:
    names = list(entries)
    request = {
        "system": {"states": ["x"], "parameters": names, "constants": {"c": 3.0}, "equations": {"x": "-x"}},
        "data": {"times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}},
        "parameters": entries,
        "initial_state": {"x": f"{names[0]} + c"},
    }
    return Unknowns(resolve(parse_problem(request)), CPU)


def test_free_unknowns_are_in_order_and_their_bounds_are_coordinates() -> None:
    found = unknowns(
        a={"guess": 2.0, "scale": "log", "lower": 1.0},
        b={"guess": 5.0, "fixed": True},
        d={"lower": 4.0, "upper": 4.0},
        e=-1.5,
    )
    assert found.names == ["a", "e"]
    np.testing.assert_allclose(found.start, [np.log(2), -1.5])
    np.testing.assert_allclose(found.lower, [0, -np.inf])
    assert found.is_fixed("b")
    assert found.is_fixed("d")
    assert not found.is_fixed("a")


def test_values_are_put_together_from_free_unknowns_fixed_ones_and_expressions() -> None:
    found = unknowns(a={"guess": 2.0, "scale": "log"}, b={"guess": 5.0, "fixed": True})
    parameters, initial_state = found.values(found.start)
    np.testing.assert_allclose(parameters.numpy(), [[2, 5]])
    np.testing.assert_allclose(initial_state.numpy(), [[5]])


def test_rounding_of_a_logarithm_does_not_leave_the_bounds() -> None:
    for bound in np.random.default_rng(0).uniform(0.1, 10, 200).tolist():
        found = unknowns(a={"guess": bound, "upper": bound, "lower": bound / 2, "scale": "log"})
        parameters, states = found.values(found.upper)
        assert parameters.item() == bound
        gradient = found.gradient(found.upper, np.ones(parameters.shape), np.zeros(states.shape))
        assert gradient.item() == pytest.approx(bound)
        assert found.free_values(found.upper) == {"a": bound}


def test_a_logarithm_that_runs_away_stays_a_number() -> None:
    found = unknowns(a={"guess": 2.0, "scale": "log"}, b={"guess": 1e-200, "scale": "log"}, d=1.0)
    for far in (np.array([2e3, 1e3, 2e3]), np.array([-2e3, -1e3, -2e3])):
        near = found.clip(far)
        parameters, _ = found.values(near)
        jacobian, _ = found.jacobians(near)
        assert np.isfinite(parameters.numpy()).all()
        assert (parameters.numpy()[0, :2] > 0).all()
        assert np.isfinite(jacobian).all()
        assert near[2] == far[2]
    assert found.clip(found.start).tolist() == found.start.tolist()


def test_magnitudes_are_sizes_of_coordinates_guesses_or_bounds() -> None:
    found = unknowns(
        a=4.0, b=-200.0, d={"guess": 0.0, "lower": -3.0, "upper": 5.0}, e=0.0, f={"guess": 7.0, "scale": "log"}
    )
    moved = np.array([0.001, -1.0, 0.0, 0.0, 0.3])
    assert found.magnitudes(moved).tolist() == [0.04, 2.0, 8.0, 1.0, 1.0]


def test_a_bound_is_active_if_the_loss_falls_beyond_it() -> None:
    found = unknowns(a={"guess": 1.0, "lower": 0.0, "upper": 2.0}, b={"guess": 1.0, "lower": 0.0, "upper": 2.0})
    at = np.array([0.0, 2.0])
    assert found.names_at_bound(at) == ["a", "b"]
    assert found.active_bounds(at, np.array([1.0, 1.0])).tolist() == [True, False]
    assert found.active_bounds(at, np.array([-1.0, -1.0])).tolist() == [False, True]


def test_the_derivative_of_a_logarithmic_coordinate_is_the_reciprocal_of_its_value() -> None:
    found = unknowns(a={"guess": 4.0, "scale": "log"}, b=3.0)
    np.testing.assert_allclose(found.coordinate_derivative(found.start), [0.25, 1.0])


def test_the_derivative_of_a_coordinate_is_finite_where_its_value_underflows() -> None:
    found = unknowns(a={"guess": 2.0, "scale": "log"})
    assert np.isfinite(found.coordinate_derivative(np.array([-1000.0]))).all()


def test_the_gradient_is_the_product_of_jacobians_and_derivatives_by_values() -> None:
    request = {
        "system": {
            "states": ["x", "y", "z"],
            "parameters": ["a", "b", "d"],
            "constants": {"c": 3.0},
            "equations": {"x": "-x", "y": "-y", "z": "-z"},
        },
        "experiments": [{"name": n, "times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}} for n in ("one", "two")],
        "per_experiment": ["b"],
        "parameters": {"a": {"guess": 2.0, "scale": "log"}, "b": 0.4, "d": {"guess": 5.0, "fixed": True}},
        "initial_state": {"x": "a*b + c", "y": "c/2", "z": {"guess": 0.7, "scale": "log"}},
    }
    found = Unknowns(resolve(parse_problem(request)), CPU)
    generator = np.random.default_rng(0)
    by_parameters, by_states = generator.normal(size=(2, 3)), generator.normal(size=(2, 3))
    by_parameter, by_state = found.jacobians(found.start)
    expected = np.einsum("sp,spc->c", by_parameters, by_parameter) + np.einsum("sn,snc->c", by_states, by_state)
    assert np.count_nonzero(expected) == found.count == 5
    np.testing.assert_allclose(found.gradient(found.start, by_parameters, by_states), expected, rtol=1e-12)


def test_an_expression_that_the_last_series_replaces_has_a_gradient() -> None:
    request = {
        "system": {"states": ["x"], "parameters": ["a"], "equations": {"x": "-x"}},
        "experiments": [
            {"name": "one", "times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}},
            {"name": "two", "times": [0.0, 1.0], "values": {"x": [1.0, 2.0]}, "initial_state": {"x": 4.0}},
        ],
        "parameters": {"a": 2.0},
        "initial_state": {"x": "a**2"},
    }
    found = Unknowns(resolve(parse_problem(request)), CPU)
    gradient = found.gradient(found.start, np.zeros((2, 1)), np.ones((2, 1)))
    assert dict(zip(found.names, gradient, strict=True)) == {"a": 4.0, "x[two]": 1.0}


@pytest.mark.parametrize("unit", [1.0, 2.0**40, 2.0**-40])
def test_a_guess_of_0_has_the_size_that_changes_the_model_by_a_part_of_the_data(unit: float) -> None:
    """y' = a − y from 0: the data, whose spread is s, determine a, whose guess is 0 and whose truth is near it."""
    times = np.linspace(1.0, 5.0, 9)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(times))
    request = {
        "system": {"states": ["y"], "parameters": ["a"], "equations": {"y": "a - y"}},
        "data": {"start_time": 0.0, "times": times.tolist(), "values": {"y": (unit * noise).tolist()}},
        "parameters": {"a": 0.0},
        "initial_state": {"y": {"guess": 0.0, "fixed": True}},
        "uncertainty": "covariance",
    }
    objective = Objective(resolve(parse_problem(request)), torch.device("cpu"))
    objective.size_zero_guesses([objective.unknowns.start])
    response = float(np.linalg.norm(1 - np.exp(-times)))
    expected = 0.25 * unit * float(np.linalg.norm(noise - noise.mean())) / response
    assert objective.unknowns.magnitudes(np.zeros(1)) == pytest.approx(expected, rel=1e-4)
    assert objective.unknowns.magnitudes(np.full(1, 1e-30)) == pytest.approx(expected / 100, rel=1e-4)

    result = fit(parse_problem(request))
    assert result.outcome.code == "converged"
    assert "flat_direction" not in [warning.code for warning in result.warnings]
    exact = float((1 - np.exp(-times)) @ noise) / response**2
    assert result.parameters["a"].value == pytest.approx(unit * exact, abs=1e-6 * expected)
