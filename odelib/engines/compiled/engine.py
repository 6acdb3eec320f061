"""The compiled engine: machine code made from the equations, forward sensitivities, torch autograd around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import Carried, Solution, SolverOptions, StopCheck
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

    @property
    def kernels(self) -> Kernels:
        """The system's kernels; compiled when first needed."""
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
        """See `Engine.solve`. The members of a batch are solved one by one, each with steps of its own."""
        solve = _Solver(
            self.kernels, times.detach().numpy(), _constants(self._system, constants), options, stop, self._used
        )
        if initial_state.dim() == 1:
            return Solution(_Solve.apply(initial_state, parameters, solve, carried))  # type: ignore[no-untyped-call]
        rows, failures = [], {}
        for member, (state, parameter) in enumerate(zip(initial_state, parameters, strict=True)):
            try:
                rows.append(_Solve.apply(state, parameter, solve, carried))  # type: ignore[no-untyped-call]
            except SolveError as error:
                failures[member] = error
                rows.append(torch.full((len(times), len(state)), math.nan, dtype=torch.float64))
        return Solution(torch.stack(rows), failures)


class _Solver:
    """Everything of a solve but the point at which it is done."""

    def __init__(
        self, kernels: Kernels, times: Reals, constants: Reals, options: SolverOptions, stop: StopCheck,
        used: dict[str, None],
    ) -> None:  # fmt: skip
        self.kernels = kernels
        self.times = np.ascontiguousarray(times, dtype=np.float64)
        self.constants = constants
        self.options = options
        self.stop = stop
        self.used = used

    def __call__(self, state: Reals, parameters: Reals, carried: Carried) -> Reals:
        values = np.concatenate([parameters, self.constants])
        solved = self.kernels.solve(self.times, state, values, carried, self.options, self.stop)
        self.used.update(dict.fromkeys(solved.methods))
        return solved.values


class _Solve(torch.autograd.Function):
    """States out, gradients by the sensitivities that came with them."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, parameters: Tensor, solve: _Solver, carried: Carried) -> Tensor:
        wanted = Carried(
            carried.states if ctx.needs_input_grad[0] else (),
            carried.parameters if ctx.needs_input_grad[1] else (),
        )
        n = len(state)
        out = solve(state.numpy(), parameters.numpy(), wanted)
        ctx.wanted = wanted
        ctx.sizes = n, len(parameters)
        ctx.sensitivities = out[:, n:].reshape(len(out) * n, wanted.count)
        return torch.from_numpy(np.ascontiguousarray(out[:, :n]))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        along = gradient.numpy().reshape(-1) @ ctx.sensitivities
        wanted: Carried = ctx.wanted
        states, parameters = (np.zeros(size) for size in ctx.sizes)
        states[list(wanted.states)] = along[: len(wanted.states)]
        parameters[list(wanted.parameters)] = along[len(wanted.states) :]
        return torch.from_numpy(states), torch.from_numpy(parameters), None, None


def _constants(system: System, constants: Mapping[str, float]) -> Reals:
    return np.array([constants[name] for name in system.constants], dtype=np.float64)
