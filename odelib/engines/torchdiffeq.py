"""The reference engine: torchdiffeq's adaptive explicit methods, differentiated by backpropagation.

It runs any equation that torch can run. Its steps are Python, so a gradient takes 0.1 to 1.3 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchdiffeq import odeint

from odelib.engines.base import Solution, SolverOptions, SolveSettings, StopCheck
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.torch_program import BoundProgram, TorchProgram, variables_of
from odelib.errors import SolveError, StopRequested
from odelib.problem.system import System


class TorchdiffeqEngine:
    """torchdiffeq behind the contract of `odelib.engines.base.Engine`."""

    name: ClassVar[str] = "torchdiffeq"
    default_method: ClassVar[str] = "dopri5"
    has_forward_sensitivities: ClassVar[bool] = False

    def __init__(self, system: System) -> None:
        self._system = system
        self._used: dict[str, None] = {}
        self._jumps = Discontinuities(system)
        self._program = TorchProgram([system.equations[state] for state in system.states], variables_of(system.states))

    @property
    def methods_used(self) -> tuple[str, ...]:
        """See `Engine.methods_used`."""
        return tuple(self._used)

    def first_method(self, options: SolverOptions) -> str:
        """See `Engine.first_method`."""
        return options.method

    def solve(self, initial_state: Tensor, parameters: Tensor, conditions: SolveSettings) -> Solution:
        """See `Engine.solve`; backpropagation carries everything, whatever is asked for.

        A batch with the same times is solved side by side, every member within the tolerances. If that fails, or
        where members have times of their own, each member is solved alone, so that the failing ones leave the others
        untouched.
        """
        self._used[conditions.options.method] = None
        if initial_state.dim() == 1:
            return Solution(self._one(initial_state, parameters, conditions))
        if len(initial_state) == 0:  # the empty sum keeps the way back to the parameters
            return Solution(initial_state.unsqueeze(1).expand(-1, conditions.times.shape[-1], -1) + parameters.sum())
        if conditions.times.dim() == 2:
            return self._each(initial_state, parameters, conditions)
        try:
            states = self._one(initial_state, parameters, conditions)
        except SolveError:
            return self._each(initial_state, parameters, conditions)
        return Solution(states.transpose(0, 1))

    def _each(self, initial_state: Tensor, parameters: Tensor, conditions: SolveSettings) -> Solution:
        count = len(initial_state)
        all_times, all_constants = conditions.times.expand(count, -1), conditions.constants.expand(count, -1)
        rows, failures = [], {}
        for member, (state, parameter) in enumerate(zip(initial_state, parameters, strict=True)):
            own = replace(conditions, times=all_times[member], constants=all_constants[member])
            try:
                rows.append(self._one(state, parameter, own))
            except SolveError as error:
                failures[member] = error
                rows.append(torch.full_like(state, math.nan).expand(len(own.times), -1))
        return Solution(torch.stack(rows), failures)

    def _one(self, initial_state: Tensor, parameters: Tensor, conditions: SolveSettings) -> Tensor:
        """(T, n), or (T, B, n) for a batch side by side."""
        times, index = torch.unique_consecutive(conditions.times, return_inverse=True)
        if len(times) == 1:
            return initial_state.unsqueeze(0).expand(len(index), *initial_state.shape)
        system, device, options = self._system, initial_state.device, conditions.options
        values = dict(zip(system.constants, conditions.constants.to(device).unbind(-1), strict=True))
        values |= zip(system.parameters, parameters.unbind(-1), strict=True)
        right_hand_side = _RightHandSide(self._program.bind(values, device), options.max_steps, conditions.stop)
        try:
            discontinuities = self._jumps_between(times, parameters, conditions.constants)
            return _odeint(right_hand_side, initial_state, times, discontinuities, options).index_select(0, index)
        except AssertionError as error:  # how torchdiffeq says that it cannot go on
            raise right_hand_side.failure(options.max_steps) from error

    def _jumps_between(self, times: Tensor, parameters: Tensor, constants: Tensor) -> Tensor:
        """Those of all members, within the times."""
        count = len(parameters) if parameters.dim() == 2 else 1
        values = torch.cat([v.detach().cpu().expand(count, v.shape[-1]) for v in (parameters, constants)], -1)
        found = torch.from_numpy(np.unique(self._jumps.times(values.numpy()))).to(times.device)
        return found[(found > times[0]) & (found < times[-1])]


def _odeint(
    right_hand_side: _RightHandSide,
    initial_state: Tensor,
    times: Tensor,
    discontinuities: Tensor,
    options: SolverOptions,
) -> Tensor:
    solver_options: dict[str, Any] = {"norm": _largest_member}
    if len(discontinuities):
        solver_options["jump_t"] = discontinuities
    if options.method == "dopri8":
        # torchdiffeq interpolates between steps with a polynomial of degree 4, far below the method's order:
        # its steps must end at the times asked.
        solver_options["step_t"] = times[1:][~torch.isin(times[1:], discontinuities)]
    states: Tensor = odeint(
        right_hand_side,
        initial_state,
        times,
        rtol=options.rtol,
        atol=options.atol,
        method=options.method,
        options=solver_options,
    )
    return states


def _largest_member(error: Tensor) -> Tensor:
    """Root mean square over the states, the largest over the batch: no member hides behind the others."""
    return error.pow(2).mean(-1).sqrt().amax()


class _RightHandSide:
    """dy/dt for torchdiffeq; counts steps, and looks whether to stop, in both directions of a gradient."""

    def __init__(self, program: BoundProgram, max_steps: int, stop: StopCheck) -> None:
        self._program = program
        self._max_steps = max_steps
        self._check = _check_of(stop)
        self._steps = 0
        self._time = math.nan
        self._state: Tensor | None = None
        self._derivative: Tensor | None = None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self._check(None)
        if y.requires_grad:
            y.register_hook(self._check)  # type: ignore[no-untyped-call]
        shape = y.shape[:-1]
        derivatives = self._program(t, *y.unbind(-1))
        self._derivative = torch.stack([d if d.shape == shape else d.expand(shape) for d in derivatives], -1)
        return self._derivative

    def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
        """Called by torchdiffeq before every step that it tries."""
        self._time, self._state = t0.item(), y0
        self._steps += 1
        if self._steps > self._max_steps:
            raise SolveError("max_steps", self._time, self._max_steps)
        step = dt.item()
        if not self._time + step > self._time:
            raise self.failure(self._max_steps)

    def failure(self, max_steps: int) -> SolveError:
        """Why the solver could not go on from where it last stood."""
        finite = all(bool(v.isfinite().all()) for v in (self._state, self._derivative) if v is not None)
        return SolveError("step_too_small" if finite else "not_finite", self._time, max_steps)


def _check_of(stop: StopCheck) -> Callable[[Tensor | None], None]:
    """What raises when `stop` gives a reason, also as a hook on a gradient.

    A hook must not know the right-hand side: that holds the state and so the graph the hook hangs on, a circle
    which Python's garbage collector cannot see.
    """

    def check(_gradient: Tensor | None) -> None:
        if reason := stop():
            raise StopRequested(reason)

    return check
