"""The Levenberg–Marquardt step for a nearly singular matrix."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.objective.objective import GaussNewton
from odelib.optimisers.least_squares import _LocalModel


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, 2.0)])
def test_a_matrix_that_is_singular_after_rounding_gives_a_step_downhill(bounds: tuple[float, float]) -> None:
    rows = np.array([[1e8, 1e8]])  # JᵀJ with a damping of 1e-3 has no Cholesky factor in doubles
    none = AbsoluteTerms(np.zeros((0, 2)), np.zeros(0), np.zeros(0))
    unknowns: Any = SimpleNamespace(lower=np.full(2, bounds[0]), upper=np.full(2, bounds[1]))
    at: Any = SimpleNamespace(coordinates=np.ones(2), gradient=np.array([1e7, 1e7]))
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(rows.T @ rows + 1e-3 * np.eye(2))
    model = _LocalModel(unknowns, at, GaussNewton(rows, rows, none), np.ones(2))
    step = model.step(1e-3)
    assert step.sum() == pytest.approx(-1e-9, rel=1e-3)
    assert np.abs(step).max() < 1e-5  # along the flat direction it is a rounding error, g·ε/λ, where 1 would be a step
    assert model.gain(step) > 0
