"""What a system conserves stays constant, and a state far below `atol` keeps its sign."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from odelib import ODELayer

ENZYME = {
    "states": ["S", "E", "C", "P"],
    "parameters": ["kon", "koff", "kcat"],
    "equations": {
        "S": "-kon*E*S + koff*C",
        "E": "-kon*E*S + (koff + kcat)*C",
        "C": "kon*E*S - (koff + kcat)*C",
        "P": "kcat*C",
    },
}


@pytest.mark.parametrize("method", ["auto", "kvaerno5"])
def test_enzyme_in_moles_per_litre(method: str) -> None:
    """1e-9 mol/L of an enzyme, a tenth of the `atol`; P(600) from scipy's Radau at rtol 1e-12."""
    layer = ODELayer(ENZYME, method=method)
    start = torch.tensor([5e-5, 1e-9, 0.0, 0.0], dtype=torch.float64)
    rates = torch.tensor([1e7, 337.922, 105.7148], dtype=torch.float64)
    states = layer(torch.tensor([0.0, 300.0, 600.0]), start, rates).numpy()
    np.testing.assert_allclose(states[:, 1] + states[:, 2], 1e-9, rtol=1e-9)
    assert states[-1, 3] == pytest.approx(2.767e-5, rel=1e-3)


def test_stiff_directions_that_only_the_sensitivities_show() -> None:
    """A state at its equilibrium does not move, but its sensitivity to the equilibrium does."""
    system = {"states": ["x", "y"], "parameters": ["k", "a"], "equations": {"x": "k*(a - x)", "y": "-y"}}
    layer = ODELayer(system, max_steps=1000)
    found = layer.sensitivities(
        torch.tensor([0.0, 10.0]), torch.tensor([1.0, 1.0]), torch.tensor([1e6, 1.0], dtype=torch.float64)
    )
    assert layer.engine.methods_used == ("dopri5", "kvaerno5")
    assert found.by_parameters[-1, 0, 1] == pytest.approx(1.0, rel=1e-6)
