"""Definitions: they mean what they stand for, on both engines, and are computed once however often they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from odelib import FitProblem, ODELayer, fit
from tests.engines import ENGINES

# a total of doses by a chain of definitions, an equilibrium, an observable and an initial value that use definitions
SHORT: dict[str, Any] = {
    "states": ["x", "y"],
    "parameters": ["k", "m"],
    "constants": {"c": 2.0},
    "definitions": {"flow": "rate*x/(c + x)", "rate": "k*scale", "scale": "1 + m**2", "total": "x + y*scale"},
    "equations": {"x": "-flow + m", "y": "flow - rate*y"},
    "observables": {"sum": "total*c", "y": "y"},
}
LONG: dict[str, Any] = {
    **{name: SHORT[name] for name in ("states", "parameters", "constants")},
    "equations": {
        "x": "-k*(1 + m**2)*x/(c + x) + m",
        "y": "k*(1 + m**2)*x/(c + x) - k*(1 + m**2)*y",
    },
    "observables": {"sum": "(x + y*(1 + m**2))*c", "y": "y"},
}
TIMES = torch.tensor([0.0, 0.4, 1.5], dtype=torch.float64)
START = torch.tensor([1.5, 0.2], dtype=torch.float64)
PARAMETERS = torch.tensor([0.8, 0.3], dtype=torch.float64)


def solved(definition: dict[str, Any], engine: str) -> list[Any]:
    """States, observables and the gradients of their sum."""
    layer = ODELayer(definition, engine=engine, rtol=1e-10, atol=1e-12)
    start, parameters = START.clone().requires_grad_(), PARAMETERS.clone().requires_grad_()
    states = layer(TIMES, start, parameters)
    observables = layer.observe(TIMES, states, parameters)
    total = sum((column.sum() for column in observables.values()), states.sum())
    found = [states, *observables.values(), *torch.autograd.grad(total, (start, parameters))]
    return [each.detach().numpy() for each in found] + [layer.sensitivities(TIMES, START, PARAMETERS).by_parameters]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_definition_means_what_it_stands_for(engine: str) -> None:
    for found, expected in zip(solved(SHORT, engine), solved(LONG, engine), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_systems_that_differ_in_a_definition_alone_are_different(engine: str) -> None:
    other = SHORT | {"definitions": SHORT["definitions"] | {"scale": "2 + m**2"}}
    assert not np.allclose(solved(SHORT, engine)[0], solved(other, engine)[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_long_chain_of_definitions_is_no_tree(engine: str) -> None:
    """Written out, the last of these would have 2**300 terms."""
    chain = {"d0": "k*x"} | {f"d{i}": f"d{i - 1}/2 + d{i - 1}/2" for i in range(1, 301)}
    layer = ODELayer(
        {"states": ["x"], "parameters": ["k"], "definitions": chain, "equations": {"x": "-d300"}}, engine=engine
    )
    found = layer.sensitivities(TIMES, START[:1], PARAMETERS[:1])
    exact = 1.5 * np.exp(-0.8 * TIMES.numpy())
    np.testing.assert_allclose(found.states[:, 0], exact, rtol=1e-5)
    np.testing.assert_allclose(found.by_parameters[:, 0, 0], -TIMES.numpy() * exact, rtol=1e-4)


def test_an_initial_value_by_a_definition_has_its_derivatives() -> None:
    times = np.array([0.0, 1.0, 2.0, 4.0])
    request = {
        "system": {
            "states": ["x"],
            "parameters": ["k", "dose"],
            "constants": {"volume": 4.0},
            "definitions": {"level": "fraction*dose", "fraction": "1/volume"},
            "equations": {"x": "-k*x"},
        },
        "data": {"times": times.tolist(), "values": {"x": (3.0 * np.exp(-0.5 * times)).tolist()}},
        "parameters": {"k": 1.0, "dose": 5.0},
        "initial_state": {"x": "level"},
        "stages": [{"kind": "least_squares"}],
        "uncertainty": "covariance",
    }
    result = fit(FitProblem.model_validate(request))
    assert result.outcome.code == "converged"
    assert result.parameters["k"].value == pytest.approx(0.5, rel=1e-4)
    assert result.parameters["dose"].value == pytest.approx(12.0, rel=1e-4)
