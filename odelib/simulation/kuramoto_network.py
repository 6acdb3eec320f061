"""The full model of N Kuramoto oscillators, of which the catalogue system `kuramoto` is a reduction.

    phi_i' = omega0 + gamma*w_i + R*K*sin(psi - phi_i + beta),    R*exp(i*psi) = mean(exp(i*phi))

This is the all-to-all network (Kuramoto 1975, with the phase lag of Sakaguchi and Kuramoto 1986) in its mean-field
form: the sum over all pairs is one mean, so an evaluation costs O(N) instead of O(N²). The reduced system only
describes the order parameter `z = R*exp(i*psi)`; its observables are `re` and `im` of z.
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
    """The oscillators of a network.

    detunings: w_i in units of gamma, (N,). phases: the initial phi_i in radians, (N,).
    """

    detunings: Reals
    phases: Reals

    @classmethod
    def draw(cls, count: int, *, seed: int, largest_phase: float = 2 * math.pi) -> Oscillators:
        """Draw detunings from the standard normal distribution, then phases uniformly from [0, largest_phase].

        Raises `ValueError` for a `count` below 1.
        """
        if count < 1:
            raise ValueError(f"a network needs at least one oscillator, but count is {count}")
        rng = np.random.default_rng(seed)
        detunings = rng.standard_normal(count)
        return cls(detunings, rng.uniform(0.0, largest_phase, count))

    @property
    def order_parameter(self) -> complex:
        """The initial z = mean(exp(i*phi)): |z| is the coherence R, and its angle the mean phase psi."""
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
    """Solve the network and return its order parameter z at the times, (T,).

    times: (T,), non-decreasing; the initial phases hold at the first. omega0, gamma, K: in radians per unit of time.
    beta: in radians. Raises `ValueError` for invalid arguments, and `SolveError` if the solver fails or needs more
    than `max_steps` steps.
    """
    grid = np.asarray(times, dtype=np.float64)
    if grid.size == 0 or np.any(np.diff(grid) < 0):
        raise ValueError("times must not be empty and must not decrease")
    if not np.isfinite([omega0, gamma, K, beta]).all():
        raise ValueError("omega0, gamma, K and beta must be finite")

    # In a frame that rotates with omega0 the solver need not resolve the common rotation, and takes larger steps.
    def derivatives(_t: float, phases: Reals) -> Reals:
        conjugates = np.exp(-1j * phases)
        mean_field = K * np.exp(1j * beta) * conjugates.mean().conjugate()
        rates: Reals = gamma * oscillators.detunings + (mean_field * conjugates).imag
        return rates

    solver = DOP853(derivatives, grid[0], oscillators.phases, grid[-1], rtol=rtol, atol=atol)
    z = np.empty(grid.size, dtype=np.complex128)
    done = int(np.searchsorted(grid, grid[0], side="right"))
    z[:done] = oscillators.order_parameter
    for _ in range(max_steps):
        if done == grid.size:
            in_rest_frame: Complexes = z * np.exp(1j * omega0 * (grid - grid[0]))
            return in_rest_frame
        if solver.step() is not None:
            raise SolveError("step_too_small", solver.t, max_steps)
        until = int(np.searchsorted(grid, solver.t, side="right"))
        if until > done:
            phases = solver.dense_output()(grid[done:until])
            z[done:until] = np.exp(1j * phases).mean(axis=0)
            done = until
    raise SolveError("max_steps", solver.t, max_steps)
