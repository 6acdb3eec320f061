"""The compiled engine: machine code made from the equations, forward sensitivities, torch autograd around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import Carried, Conditions, Sensitivities, Solution, SolverOptions
from odelib.engines.compiled.kernels import AUTO, Kernels, Reals, explicit_tableau, kernels_of
from odelib.engines.compiled.methods.kvaerno5 import KVAERNO5
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

    def first_method(self, options: SolverOptions) -> str:
        """See `Engine.first_method`."""
        return KVAERNO5.name if options.method == KVAERNO5.name else explicit_tableau(options).name

    def solve(self, initial_state: Tensor, parameters: Tensor, conditions: Conditions) -> Solution:
        """See `Engine.solve`. The members of a batch are solved side by side, on as many threads as torch has."""
        solve = _Solver(self.compile(), conditions)
        batch = initial_state.dim() == 2
        if not batch:
            initial_state, parameters = initial_state.unsqueeze(0), parameters.unsqueeze(0)
        device = initial_state.device
        states: Tensor = _Solve.apply(  # type: ignore[no-untyped-call]
            initial_state.cpu(), parameters.cpu(), solve, conditions.carried
        ).to(device)
        self._used.update(dict.fromkeys(solve.methods))
        if batch:
            return Solution(states, solve.failures)
        if solve.failures:
            raise solve.failures[0]
        return Solution(states.squeeze(0))

    def sensitivities(self, initial_state: Reals, parameters: Reals, conditions: Conditions) -> Sensitivities:
        """States and their derivatives without torch, of one trajectory or a batch. Raises as `solve`."""
        carried = conditions.carried
        solve = _Solver(self.compile(), conditions)
        batch = initial_state.ndim == 2
        out = (
            solve(initial_state, parameters, carried)
            if batch
            else solve(initial_state[None], parameters[None], carried)
        )
        self._used.update(dict.fromkeys(solve.methods))
        if not batch:
            if solve.failures:
                raise solve.failures[0]
            out = out[0]
        n, border = initial_state.shape[-1], len(carried.states)
        slopes = out[..., n:].reshape(*out.shape[:-1], n, carried.count)
        failures = solve.failures if batch else {}
        return Sensitivities(out[..., :n], slopes[..., :border], slopes[..., border:], failures)


class _Solver:
    """Solves at given points; keeps what became of it."""

    def __init__(self, kernels: Kernels, conditions: Conditions) -> None:
        self._kernels = kernels
        self._times = np.ascontiguousarray(np.atleast_2d(conditions.times.detach().cpu().numpy()))
        self._constants = conditions.constants.cpu().numpy()
        self._conditions = conditions
        self.failures: Mapping[int, SolveError] = {}
        self.methods: tuple[str, ...] = ()

    def __call__(self, states: Reals, parameters: Reals, carried: Carried) -> Reals:
        constants = np.broadcast_to(self._constants, (len(states), self._constants.shape[-1]))
        values = np.concatenate([parameters, constants], axis=1)
        options, stop = self._conditions.options, self._conditions.stop
        solved = self._kernels.solve(self._times, states, values, carried, options, stop)
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
        along = (gradient.numpy().reshape(len(gradient), 1, ctx.sensitivities.shape[1]) @ ctx.sensitivities)[:, 0]
        states, parameters = (np.zeros(shape) for shape in ctx.shapes)
        states[:, list(wanted.states)] = along[:, : len(wanted.states)]
        parameters[:, list(wanted.parameters)] = along[:, len(wanted.states) :]
        return torch.from_numpy(states), torch.from_numpy(parameters), None, None
