"""The compiled engine: machine code made from the equations, forward sensitivities, torch autograd around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import Carried, Sensitivities, Solution, SolverOptions, StopCheck
from odelib.engines.compiled.kernels import AUTO, Kernels, Reals, kernels_of
from odelib.errors import SolveError
from odelib.problem.system import System


class CompiledEngine:
    """Kernels compiled by Numba behind the contract of `odelib.engines.base.Engine`."""

    name: ClassVar[str] = "compiled"
    default_method: ClassVar[str] = AUTO

    def __init__(self, system: System) -> None:
        self._system = system
        self._compiled: Kernels | None = None
        self._used: dict[str, None] = {}

    @property
    def methods_used(self) -> tuple[str, ...]:
        """What `auto` chose in the solves so far, in order of first use."""
        return tuple(self._used)

    def compile(self) -> Kernels:
        """The system's kernels; made when first needed, as other work of the engine does by itself."""
        if self._compiled is None:
            self._compiled = kernels_of(self._system)
        return self._compiled

    def solve(
        self,
        times: Tensor,
        initial_state: Tensor,
        parameters: Tensor,
        constants: Mapping[str, float],
        options: SolverOptions,
        stop: StopCheck,
        carried: Carried,
    ) -> Solution:
        """See `Engine.solve`. The members of a batch are solved side by side, on as many threads as torch has."""
        grid = np.ascontiguousarray(times.detach().numpy(), dtype=np.float64)
        solve = _Solver(self.compile(), grid, _constants(self._system, constants), options, stop)
        batch = initial_state.dim() == 2
        if not batch:
            initial_state, parameters = initial_state.unsqueeze(0), parameters.unsqueeze(0)
        states: Tensor = _Solve.apply(initial_state, parameters, solve, carried)  # type: ignore[no-untyped-call]
        self._used.update(dict.fromkeys(solve.methods))
        if batch:
            return Solution(states, solve.failures)
        if solve.failures:
            raise solve.failures[0]
        return Solution(states.squeeze(0))

    def sensitivities(
        self,
        times: Reals,
        initial_state: Reals,
        parameters: Reals,
        constants: Mapping[str, float],
        options: SolverOptions,
        stop: StopCheck,
        carried: Carried,
    ) -> Sensitivities:
        """States and their derivatives of one trajectory, without torch. Raises as `solve`."""
        solve = _Solver(self.compile(), times, _constants(self._system, constants), options, stop)
        out = solve(initial_state[None], parameters[None], carried)[0]
        if solve.failures:
            raise solve.failures[0]
        n, borders = len(initial_state), len(carried.states)
        slopes = out[:, n:].reshape(len(out), n, carried.count)
        return Sensitivities(out[:, :n], slopes[:, :, :borders], slopes[:, :, borders:])


class _Solver:
    """Everything of a solve but the points at which it is done; keeps what became of it."""

    def __init__(
        self, kernels: Kernels, times: Reals, constants: Reals, options: SolverOptions, stop: StopCheck
    ) -> None:
        self.kernels = kernels
        self.times = times
        self.constants = constants
        self.options = options
        self.stop = stop
        self.failures: Mapping[int, SolveError] = {}
        self.methods: tuple[str, ...] = ()

    def __call__(self, states: Reals, parameters: Reals, carried: Carried) -> Reals:
        constants = np.broadcast_to(self.constants, (len(states), len(self.constants)))
        values = np.concatenate([parameters, constants], axis=1)
        solved = self.kernels.solve(self.times, states, values, carried, self.options, self.stop)
        self.failures, self.methods = solved.failures, solved.methods
        return solved.values


class _Solve(torch.autograd.Function):
    """States out, gradients by the sensitivities that came with them. All have the batch first."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, parameters: Tensor, solve: _Solver, carried: Carried) -> Tensor:
        wanted = Carried(
            carried.states if ctx.needs_input_grad[0] else (),
            carried.parameters if ctx.needs_input_grad[1] else (),
        )
        n = states.shape[1]
        out = solve(states.numpy(), parameters.numpy(), wanted)
        ctx.wanted = wanted
        ctx.shapes = states.shape, parameters.shape
        ctx.sensitivities = out[:, :, n:].reshape(len(out), out.shape[1] * n, wanted.count)
        return torch.from_numpy(np.ascontiguousarray(out[:, :, :n]))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        wanted: Carried = ctx.wanted
        along = (gradient.numpy().reshape(len(gradient), 1, -1) @ ctx.sensitivities)[:, 0]
        states, parameters = (np.zeros(shape) for shape in ctx.shapes)
        states[:, list(wanted.states)] = along[:, : len(wanted.states)]
        parameters[:, list(wanted.parameters)] = along[:, len(wanted.states) :]
        return torch.from_numpy(states), torch.from_numpy(parameters), None, None


def _constants(system: System, constants: Mapping[str, float]) -> Reals:
    return np.array([constants[name] for name in system.constants], dtype=np.float64)
