"""Sensitivities by every engine, and a system that is too large to be compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from odelib import FitProblem, ODELayer, fit
from odelib.engines.compiled import cache
from odelib.engines.registry import ENGINES
from odelib.engines.symbolic import graph
from odelib.errors import FitError, SolveError
from tests.systems import SYSTEMS

DECAY: dict[str, Any] = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
SQUARE = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}}  # 1/(1/x₀ - k·t)


def tensor(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_reference(layer: ODELayer) -> ODELayer:
    """Have the layer's own engine compute the sensitivities."""
    layer._sensitivity_engine = layer.engine
    return layer


@pytest.mark.parametrize("name", ["SEIR with a lockdown", "Gompertz", "Duffing, driven", "logistic with harvest"])
def test_the_engines_agree_on_sensitivities(name: str) -> None:
    system = SYSTEMS[name]
    times = torch.linspace(0, system.end, 9, dtype=torch.float64)
    point = tensor(*system.state_values), tensor(*system.parameter_values)
    layers = [ODELayer(system.definition, engine=engine, rtol=1e-9, atol=1e-11) for engine in ENGINES]
    expected, found = (by_reference(layer).sensitivities(times, *point) for layer in layers)
    for derivatives in ("states", "by_initial_state", "by_parameters"):
        values = getattr(expected, derivatives)
        size = np.abs(values).max(axis=(0, *range(2, values.ndim)), keepdims=True)
        assert (np.abs(getattr(found, derivatives) - values) <= 1e-6 * size).all(), derivatives


@pytest.mark.parametrize("engine", ENGINES)
def test_sensitivities_by_some_unknowns_are_their_columns(engine: str) -> None:
    layer = by_reference(ODELayer("lotka-volterra", engine=engine, rtol=1e-9, atol=1e-11))
    arguments = tensor(0.0, 1.0, 2.0), tensor(1.0, 1.0), tensor(1.5, 1.0, 1.0, 3.0)
    everything = layer.sensitivities(*arguments)
    layer.differentiate_by = type(layer.differentiate_by)(states=(1,), parameters=(3, 0))
    some = layer.sensitivities(*arguments)
    np.testing.assert_allclose(some.by_initial_state, everything.by_initial_state[..., [1]], rtol=1e-6)
    np.testing.assert_allclose(some.by_parameters, everything.by_parameters[..., [3, 0]], rtol=1e-6)
    layer.differentiate_by = type(layer.differentiate_by)()
    assert layer.sensitivities(*arguments).by_parameters.shape == (3, 2, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_that_fails_leaves_the_sensitivities_of_the_others(engine: str) -> None:
    layer = by_reference(ODELayer(SQUARE, engine=engine, max_steps=500))
    times, states = tensor(0.0, 2.0), tensor([0.1], [1.0], [0.2])
    found = layer.sensitivities(times, states, tensor(1.0))
    assert list(found.failures) == [1]
    assert np.isnan(found.states[1]).all()
    assert not found.by_initial_state[1].any()
    # ∂x/∂x₀ = 1/(1 - k·t·x₀)²
    np.testing.assert_allclose(found.by_initial_state[[0, 2], 1, 0, 0], [1 / 0.64, 1 / 0.36], rtol=1e-4)
    with pytest.raises(SolveError):
        layer.sensitivities(times, states[1], tensor(1.0))


class TestTooLarge:
    """As a system of more than 200,000 operations, with a smaller limit."""

    @pytest.fixture(autouse=True)
    def small_limit(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        def compile_nothing(*_: Any) -> None:
            raise AssertionError("this must not be compiled")

        monkeypatch.setattr(graph, "MAX_OPERATIONS", 5)
        monkeypatch.setattr(cache, "load", compile_nothing)
        return iter([None])

    # names of its own: kernels are kept per system
    definition = {"states": ["x"], "parameters": ["rate", "limit"], "equations": {"x": "rate*x*(1 - x/limit)"}}

    def test_the_compiled_engine_refuses_it_with_a_way_out(self) -> None:
        for _ in range(2):
            with pytest.raises(FitError, match=r"set solver\.engine to 'torchdiffeq'") as caught:
                ODELayer(self.definition)(tensor(0.0, 1.0), tensor(1.0), tensor(1.0, 2.0))
            assert caught.value.code == "system_too_large"

    def test_the_reference_engine_computes_its_sensitivities(self) -> None:
        layer = ODELayer(self.definition, engine="torchdiffeq", rtol=1e-9, atol=1e-11)
        assert layer.sensitivity_engine is layer.engine
        found = layer.sensitivities(tensor(0.0, 1.0), tensor(2.0), tensor(1.0, 2.0))
        np.testing.assert_allclose(found.states[:, 0], 2.0, rtol=1e-8)
        np.testing.assert_allclose(found.by_initial_state[-1, 0], np.exp(-1), rtol=1e-6)
        np.testing.assert_allclose(found.by_parameters[-1, 0], [0.0, 1 - np.exp(-1)], atol=1e-8)

    def test_a_fit_runs_all_its_stages(self) -> None:
        times = np.linspace(0, 4, 9)
        x = 8 / (1 + 7 * np.exp(-1.2 * times))
        request = {
            "system": self.definition,
            "data": {"times": times.tolist(), "values": {"x": x.tolist()}},
            "parameters": {"rate": 1.0, "limit": 5.0},
            "initial_state": {"x": 0.7},
            "solver": {"engine": "torchdiffeq"},
            "uncertainty": "covariance",
            "stages": [
                {"kind": "multiple_shooting", "steps": 20},
                {"kind": "least_squares"},
                {"kind": "adam", "steps": 2},
                {"kind": "lbfgsb", "steps": 3},
            ],
        }
        result = fit(FitProblem.model_validate(request))
        assert result.outcome.code == "converged"
        assert [stage.kind for stage in result.stages] == [stage["kind"] for stage in request["stages"]]  # type: ignore[index]
        assert result.parameters["rate"].value == pytest.approx(1.2, rel=1e-3)
        assert result.parameters["limit"].value == pytest.approx(8.0, rel=1e-3)
        assert result.parameters["rate"].standard_error is not None
        assert result.solver.engine == "torchdiffeq"
