"""The full model of N Kuramoto oscillators, behind the catalogue's reduced system `kuramoto`.

    phi_i' = omega0 + gamma*w_i + R*K*sin(psi - phi_i + beta),    R*exp(i*psi) = mean(exp(i*phi))

This is the all-to-all network (Kuramoto 1975, with the phase lag of Sakaguchi and Kuramoto 1986) in its
mean-field form: the sum over all pairs is one mean, so that an evaluation costs O(N). The reduced system
describes the order parameter `z = R*exp(i*psi)` alone; its observables are `re` and `im` of z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from odelib.arrays import Reals
from odelib.errors import SolveError

Complexes = NDArray[np.complex128]


@dataclass(frozen=True)
class Oscillators:
    """`detunings` w_i in units of gamma and `phases` phi_i at the start in radians, each (N,)."""

    detunings: Reals
    phases: Reals

    @classmethod
    def draw(cls, count: int, *, seed: int, largest_phase: float = 2 * math.pi) -> Oscillators:
        """Detunings from the standard normal, then phases uniform on [0, largest_phase]."""
        if count < 1:
            raise ValueError(f"a network needs at least one oscillator, not {count}")
        rng = np.random.default_rng(seed)
        detunings = rng.standard_normal(count)
        return cls(detunings, rng.uniform(0.0, largest_phase, count))

    @property
    def order_parameter(self) -> complex:
        """z = mean(exp(i*phi)) at the start: |z| is the coherence R, its angle the mean phase psi."""
        return complex(np.exp(1j * self.phases).mean())


def order_parameter(
    oscillators: Oscillators,
    times: Sequence[float] | Reals,
    *,
    omega0: float,
    gamma: float,
    K: float,
    beta: float,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    max_steps: int = 100_000,
) -> Complexes:
    """The network's order parameter z at `times` (non-decreasing; the phases hold at the first), (T,).

    Raises `SolveError` where the solver fails or uses up `max_steps`.
    """
    grid = np.asarray(times, dtype=np.float64)
    if grid.size == 0 or np.any(np.diff(grid) < 0):
        raise ValueError("times must be non-empty and must not decrease")
    if not np.isfinite([omega0, gamma, K, beta]).all():
        raise ValueError("omega0, gamma, K and beta must be finite")

    # In the frame that turns with omega0 the solver need not resolve the common rotation.
    def velocity(_t: float, phases: Reals) -> Reals:
        unit = np.exp(-1j * phases)
        pull = K * np.exp(1j * beta) * unit.mean().conjugate()
        rates: Reals = gamma * oscillators.detunings + (pull * unit).imag
        return rates

    solver = DOP853(velocity, grid[0], oscillators.phases, grid[-1], rtol=rtol, atol=atol)
    z = np.empty(grid.size, dtype=np.complex128)
    done = int(np.searchsorted(grid, grid[0], side="right"))
    z[:done] = oscillators.order_parameter
    for _ in range(max_steps):
        if done == grid.size:
            turned: Complexes = z * np.exp(1j * omega0 * (grid - grid[0]))
            return turned
        if solver.step() is not None:
            raise SolveError("step_too_small", solver.t, max_steps)
        until = int(np.searchsorted(grid, solver.t, side="right"))
        if until > done:
            phases = solver.dense_output()(grid[done:until])
            z[done:until] = np.exp(1j * phases).mean(axis=0)
            done = until
    raise SolveError("max_steps", solver.t, max_steps)
