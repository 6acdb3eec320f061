"""What an engine is: states at the times asked, differentiable by torch autograd, and nothing else.

Observables, noise and priors are written once, above the engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from torch import Tensor

from odelib.arrays import Reals
from odelib.errors import SolveError, StopReason
from odelib.problem.system import System

StopCheck = Callable[[], StopReason | None]


def never() -> StopReason | None:
    """Nobody asks to stop."""
    return None


@dataclass(frozen=True)
class SolverOptions:
    """How accurately to solve, by which method, in how many steps (per trajectory, rejected ones included)."""

    method: str
    rtol: float
    atol: float
    max_steps: int


@dataclass(frozen=True)
class DifferentiateBy:
    """With respect to what derivatives are wanted: indices of states (their initial values) and of parameters."""

    states: tuple[int, ...] = ()
    parameters: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.states) + len(self.parameters)


@dataclass(frozen=True)
class SolveSettings:
    """Everything of a solve but the point at which it is done.

    times: (T,), or (B, T) for members of a batch with times of their own; float64, non-decreasing; the initial state
    holds at the first. constants: (c,) or (B, c), in the order of the system's, never differentiated.
    stop: asked inside the solve. differentiate_by: with respect to what derivatives are wanted.
    """

    times: Tensor
    constants: Tensor
    options: SolverOptions
    stop: StopCheck
    differentiate_by: DifferentiateBy


@dataclass(frozen=True)
class Solution:
    """States at the times asked.

    states: (T, n), or (B, T, n) for a batch, where the rows of a member that failed are NaN.
    failures: why, by the member's index; empty for a single trajectory, which raises instead.
    """

    states: Tensor
    failures: Mapping[int, SolveError] = field(default_factory=dict)


@dataclass(frozen=True)
class Sensitivities:
    """States at the times asked and their derivatives, as arrays; for a batch, all with the batch first.

    states: (T, n), by_initial_state: (T, n, states), by_parameters: (T, n, parameters) of `DifferentiateBy`.
    failures: why, by the member's index; the states of a member that failed are NaN, its derivatives 0. Empty for a
    single trajectory, which raises instead.
    """

    states: Reals
    by_initial_state: Reals
    by_parameters: Reals
    failures: Mapping[int, SolveError] = field(default_factory=dict)


class Engine(Protocol):
    """Solves one system.

    name: as in `odelib.problem.solver.ABILITIES`, which lists the engine's methods and devices. default_method: the
    method that `auto` means. has_forward_sensitivities: gradients come from forward sensitivities, so that the
    derivatives of every state cost no more than the gradient of one loss.
    """

    name: ClassVar[str]
    default_method: ClassVar[str]
    has_forward_sensitivities: ClassVar[bool]

    def __init__(self, system: System) -> None: ...

    @property
    def methods_used(self) -> tuple[str, ...]:
        """The methods of the solves so far, in order of their first use; more than one where `auto` switched."""
        ...

    def first_method(self, options: SolverOptions) -> str:
        """The method that a solve starts with, `auto` resolved."""
        ...

    def solve(self, initial_state: Tensor, parameters: Tensor, conditions: SolveSettings) -> Solution:
        """The states at the times, differentiable with respect to `differentiate_by` (other derivatives may be 0).

        initial_state: (n,) or (B, n); parameters: (p,) or (B, p); all float64 and on one device. Raises
        `SolveError` for a single trajectory that fails, `StopRequested` when `stop` gives a reason.
        """
        ...
