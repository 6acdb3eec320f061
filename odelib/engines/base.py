"""The interface of an engine: states at the requested times and their derivatives, nothing else.

Observables, noise and priors are written once, above the engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

import numpy as np
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.schedules.schedule import Protocols
from odelib.errors import SolveError, StopReason
from odelib.problem.solver import AUTO, AbsoluteTolerance
from odelib.problem.system import System

ACCURATE_RTOL, ACCURATE_ATOL = 1e-10, 1e-12
SMALLEST_RTOL = 1e-11  # a hundredth of a smaller one is near the rounding error
StopCheck = Callable[[], StopReason | None]


def never() -> StopReason | None:
    """A stop check that lets the solve run to its end."""
    return None


@dataclass(frozen=True)
class SolverOptions:
    """Method, tolerances on the states, and the maximum number of steps per trajectory, rejected ones included.

    atol: in the states' units, or "auto": see `odelib.engines.compiled.tolerances`. max_atol: of one that is automatic,
    for each state if it is a tuple.
    """

    method: str
    rtol: float
    atol: AbsoluteTolerance
    max_steps: int
    max_atol: float | tuple[float, ...] = math.inf

    def tightened(self) -> SolverOptions:
        """Options for accurate trajectories: no looser than these, than ACCURATE_RTOL, ACCURATE_ATOL and `auto`."""
        given = self.max_atol if self.atol == AUTO else self.atol
        limits = np.minimum(given, ACCURATE_ATOL).tolist()
        max_atol = tuple(limits) if isinstance(limits, list) else limits
        return replace(self, rtol=min(self.rtol, ACCURATE_RTOL), atol=AUTO, max_atol=max_atol)

    def at_a_hundredth(self) -> SolverOptions | None:
        """Options with a hundredth of these tolerances, to find out what depends on them; None where there are none."""
        if self.rtol < SMALLEST_RTOL:
            return None
        given = np.divide(self.max_atol if self.atol == AUTO else self.atol, 100).tolist()
        max_atol = tuple(given) if isinstance(given, list) else given
        return replace(self, rtol=self.rtol / 100, atol=AUTO, max_atol=max_atol, max_steps=10 * self.max_steps)


@dataclass(frozen=True)
class DifferentiateBy:
    """The unknowns to differentiate by: indices of states (for their initial values) and of parameters."""

    states: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of unknowns."""
        return len(self.states) + len(self.parameters)


@dataclass(frozen=True)
class SolveSettings:
    """The settings of a solve; with initial state and parameters they define it.

    times: (T,), or (B, T) for members of a batch with their own times; float64, non-decreasing; the initial state holds
    at the first. constants: (c,) or (B, c), in the system's order, never differentiated. stop: called during the solve;
    a reason stops it. differentiate_by: which derivatives to compute.

    protocols: what was done in each member; None if nothing was. before: (T,) or (B, T), whether the output at this
    time, if something happens at the very instant, has the state before; None if all have the state after. is_start:
    False for a solve that begins in the middle of a trajectory, where what happens at its first time has already
    happened, a steady state among it. skips_earlier: leave out what was done before the first time, and steady states;
    else a member in which anything was done before its start fails. recorded_events: how many of a member's events the
    result tells at most.
    """

    times: Tensor
    constants: Tensor
    options: SolverOptions
    stop: StopCheck
    differentiate_by: DifferentiateBy
    protocols: Protocols | None = None
    before: Tensor | None = None
    is_start: bool = True
    skips_earlier: bool = False
    recorded_events: int = 0

    def of_members(self, members: Sequence[int]) -> SolveSettings:
        """Those of some members of a batch."""
        places = list(members)

        def own(rows: Tensor) -> Tensor:
            return rows[places] if rows.dim() == 2 and len(rows) > 1 else rows

        protocols = self.protocols
        if protocols is not None:
            protocols = replace(protocols, members=tuple(protocols.members[place] for place in places))
        before = None if self.before is None else own(self.before)
        return replace(self, times=own(self.times), constants=own(self.constants), before=before, protocols=protocols)


@dataclass(frozen=True)
class Happened:
    """An event that has happened.

    name: of the event, or None where a rate jumped at a comparison (see `odelib.engines.schedules.modes`). by: the
    derivatives of its time by `DifferentiateBy`, (m,), NaN where they are not known. before, after: the states just
    before its instant and after all that happened there, (n,).
    """

    time: float
    name: str | None
    by: Reals
    before: Reals
    after: Reals


@dataclass(frozen=True)
class Solution:
    """States at the requested times.

    states: (T, n), or (B, T, n) for a batch, with NaN for members that failed. failures: their errors by index; empty
    for a single trajectory, which raises instead. happened: by member what `SolveSettings.recorded_events` asks for, in
    order.
    """

    states: Tensor
    failures: Mapping[int, SolveError] = field(default_factory=dict)
    happened: Mapping[int, tuple[Happened, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sensitivities:
    """States at the requested times and their derivatives; for a batch, each with a leading B.

    states: (T, n), by_initial_state: (T, n, states), by_parameters: (T, n, parameters) of `DifferentiateBy`.
    failures: the errors of members that failed, by index: their states are NaN, their derivatives 0. Empty for a single
    trajectory, which raises instead. happened: see `Solution`.
    """

    states: Reals
    by_initial_state: Reals
    by_parameters: Reals
    failures: Mapping[int, SolveError] = field(default_factory=dict)
    happened: Mapping[int, tuple[Happened, ...]] = field(default_factory=dict)


class Engine(Protocol):
    """Solves one system.

    name: as in `odelib.problem.solver.ABILITIES`, which lists the engine's methods and devices.
    has_forward_sensitivities: gradients come from forward sensitivities, so that the derivatives of every state cost no
    more than the gradient of one loss. most_steps: the most steps that one trajectory took since the caller last set it
    to 0. atol_used: the absolute tolerances of the states at the end of the latest solve, (B, n); None before one, or
    if it is not known. grazing_events: the names of events whose condition hardly became true, so that their time is
    uncertain, comparisons at which rates jump among them; unlocated_jumps: the comparisons at which rates jump in
    solves that could not end their steps there, so that derivatives lack the change of that instant. The caller may
    empty both.
    """

    name: ClassVar[str]
    has_forward_sensitivities: ClassVar[bool]
    most_steps: int
    atol_used: Reals | None
    grazing_events: set[str]
    unlocated_jumps: set[str]

    def __init__(self, system: System) -> None: ...

    @property
    def methods_used(self) -> tuple[str, ...]:
        """The methods of the solves so far, in order of first use; several if `auto` switched."""
        ...

    def first_method(self, options: SolverOptions) -> str:
        """The method that a solve starts with, `auto` resolved."""
        ...

    def prepare(self) -> None:
        """Do now what the first solve would wait for. Raises `FitError` if the system is too large for the engine."""
        ...

    def solve(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Solution:
        """The states at the times, differentiable with respect to `differentiate_by` (other derivatives may be 0).

        initial_state: (n,) or (B, n); parameters: (p,) or (B, p); all float64 and on one device. Raises `SolveError`
        for a single trajectory that fails, `StopRequested` when `stop` gives a reason.
        """
        ...

    def sensitivities(self, initial_state: Reals, parameters: Reals, settings: SolveSettings) -> Sensitivities:
        """The states at the times and their derivatives by `differentiate_by`, without autograd.

        initial_state: (n,) or (B, n); parameters: (p,) or (B, p), with the batch in both or in none. Raises as `solve`.
        """
        ...
