"""States and sensitivities by scipy's Radau, from the variational equations; Jacobians by complex steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from tests.systems import STIFF

Array = NDArray[np.float64]
STEP = 1e-40


def derivatives(rates: Callable[..., Array], t: float, states: Array, values: Array) -> tuple[Array, Array, Array]:
    """f (n,), ∂f/∂y (n, n) and ∂f/∂p (n, p), exact to rounding, from one evaluation with a column per derivative."""
    n, count = len(states), len(states) + len(values)
    points = np.concatenate([states, values])[:, None] + 1j * STEP * np.eye(count)
    moved = rates(t, points[:n], points[n:])
    matrix: Array = moved.imag / STEP
    rate: Array = moved[:, 0].real
    return rate, matrix[:, :n], matrix[:, n:]


@cache
def stiff_reference(name: str, outputs: int) -> tuple[Array, Array]:
    """States (T, n) and sensitivities (T, n, n + p) by initial state and parameters, times spaced equally.

    Parameters are scaled by their size while solving, so that the tolerance means the same for all.
    """
    example = STIFF[name]
    values = np.array(example.parameter_values)
    n, p = len(example.equations), len(values)
    scale = np.concatenate([np.ones(n), np.abs(values)])
    right_hand_side = example.rates()

    def rates(t: float, z: Array) -> Array:
        sensitivities = z[n:].reshape(n + p, n)
        rate, by_state, by_parameter = derivatives(right_hand_side, t, z[:n], values)
        change = sensitivities @ by_state.T
        change[n:] += (by_parameter * scale[n:]).T
        return np.concatenate([rate, change.ravel()])

    def jacobian(t: float, z: Array) -> Array:
        _, by_state, _ = derivatives(right_hand_side, t, z[:n], values)
        blocks: Array = np.kron(np.eye(1 + n + p), by_state).astype(np.float64)
        return blocks

    start = np.concatenate([example.state_values, np.eye(n + p, n).ravel()])
    times = np.linspace(0, example.end, outputs)
    solution = solve_ivp(
        rates, (0, example.end), start, method="Radau", jac=jacobian, rtol=1e-7, atol=1e-15, t_eval=times
    )
    assert solution.success
    states: Array = solution.y[:n].T
    sensitivities: Array = solution.y[n:].T.reshape(outputs, n + p, n).transpose(0, 2, 1) / scale
    return states, sensitivities
