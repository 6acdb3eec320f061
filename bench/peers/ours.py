"""odefit's compiled engine, without torch and through torch autograd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bench.systems import Problem, Reals
from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled.kernels import Solved, kernels_of
from odelib.engines.layer import ODELayer
from odelib.problem.solver import AUTO

MAX_STEPS = 1_000_000


def gradients(problem: Problem, rtol: float, atol: float) -> dict[str, Callable[[], tuple[float, Reals]]]:
    """The kernels with numpy around them, and the layer with torch around it."""
    return {"odefit bare": bare(problem, rtol, atol), "odefit autograd": autograd(problem, rtol, atol)}


def bare(problem: Problem, rtol: float, atol: float, method: str = "auto") -> Callable[[], tuple[float, Reals]]:
    """States and sensitivities from the kernels, the loss and its gradient with numpy."""
    data = problem.data
    assert data is not None
    kernels, options = kernels_of(problem.system), SolverOptions(method, rtol, atol, MAX_STEPS)
    n, p = len(problem.initial_state), len(problem.parameters)
    differentiate_by = DifferentiateBy(tuple(range(n)), tuple(range(p)))
    times, start, values = _batch_of_one(problem)
    measured, order = data.ravel(), np.roll(np.arange(n + p), p)  # parameters first

    def gradient() -> tuple[float, Reals]:
        solved = kernels.solve(times, start, values, differentiate_by, options, never)
        residual = solved.states.reshape(-1) - measured
        along = residual.dot(solved.sensitivities.reshape(-1, n + p))  # `@` takes a microsecond longer
        return float(residual.dot(residual)), 2.0 * along[order]

    return gradient


def autograd(problem: Problem, rtol: float, atol: float) -> Callable[[], tuple[float, Reals]]:
    """`ODELayer`, a loss in torch, `backward`."""
    layer = ODELayer(problem.system, engine="compiled", rtol=rtol, atol=atol, max_steps=MAX_STEPS)
    times, data = torch.tensor(problem.times), torch.tensor(problem.data)
    state, parameters = (torch.tensor(v, requires_grad=True) for v in (problem.initial_state, problem.parameters))

    def gradient() -> tuple[float, Reals]:
        state.grad = parameters.grad = None
        loss = (layer(times, state, parameters) - data).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        assert state.grad is not None
        assert parameters.grad is not None
        return loss.item(), np.concatenate([parameters.grad.numpy(), state.grad.numpy()])

    return gradient


class Reaching:
    """All sensitivities with automatic tolerances, for many parameters in turn.

    Called with parameters, it returns the states (T, n), or None if the solve fails.
    """

    def __init__(self, problem: Problem, rtol: float, max_steps: int) -> None:
        n, p = len(problem.initial_state), len(problem.parameters)
        self._kernels, self._constants = kernels_of(problem.system), list(problem.system.constants.values())
        self._options = SolverOptions(AUTO, rtol, AUTO, max_steps)
        self._by = DifferentiateBy(tuple(range(n)), tuple(range(p)))
        self._times, self._start, _ = _batch_of_one(problem)
        self(problem.parameters)  # its machine code is in memory

    def __call__(self, parameters: Reals) -> Reals | None:
        """See above."""
        values = np.array([[*parameters, *self._constants]])
        solved = self._kernels.solve(self._times, self._start, values, self._by, self._options, never)
        return None if solved.failures or not np.isfinite(solved.sensitivities).all() else solved.states[0]


def solves(problem: Problem) -> dict[str, Callable[[float], Reals]]:
    """The states at a relative tolerance, by every method that suits the problem, and by `auto`."""
    methods = ["kvaerno5", "auto"] if problem.stiff else ["dopri5", "tsit5", "dop853", "auto"]

    def by(method: str) -> Callable[[float], Reals]:
        return lambda rtol: _solved(problem, rtol, method, DifferentiateBy()).states[0]

    return {f"odefit {method}": by(method) for method in methods}


def sensitivities(problem: Problem, rtol: float, method: str = "auto") -> tuple[Reals, Reals]:
    """States (T, n) and their derivatives (T, n, p + n), by parameters, then by initial values."""
    n, p = len(problem.initial_state), len(problem.parameters)
    solved = _solved(problem, rtol, method, DifferentiateBy(tuple(range(n)), tuple(range(p))))
    along = solved.sensitivities[0]
    return solved.states[0], np.concatenate([along[:, :, n:], along[:, :, :n]], axis=2)


def _solved(problem: Problem, rtol: float, method: str, differentiate_by: DifferentiateBy) -> Solved:
    options = SolverOptions(method, rtol, rtol * problem.smallest, MAX_STEPS)
    times, start, values = _batch_of_one(problem)
    solved = kernels_of(problem.system).solve(times, start, values, differentiate_by, options, never)
    if solved.failures:
        raise solved.failures[0]
    return solved


def _batch_of_one(problem: Problem) -> tuple[Reals, Reals, Reals]:
    values = np.array([[*problem.parameters, *problem.system.constants.values()]])
    return problem.times[None], problem.initial_state[None], values
