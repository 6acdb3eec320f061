"""Named unknowns with bounds, scales and fixed ones ↔ the one vector an optimiser sees.

A point's coordinates are the free unknowns in the caller's units, or their logarithm where the scale is `log`.
Names are unique over parameters and states, so an initial value is called by its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from odelib.engines.base import Carried
from odelib.problem.expressions import parse_expression
from odelib.problem.request import FitProblem, Unknown
from odelib.program import Program

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """All values at one point, by name, in the caller's units."""

    parameters: dict[str, float]
    initial_state: dict[str, float]


class Unknowns:
    """The unknowns of a problem with one series.

    names: the free ones, in order: parameters, then initial values. start, lower, upper: their guesses and
    bounds (±inf where there is none) as coordinates. log: which are searched in their logarithm.
    """

    def __init__(self, problem: FitProblem, device: torch.device) -> None:
        system = problem.resolved_system
        self.system = system
        parameters = {name: _unknown(problem.parameters[name]) for name in system.parameters}
        states = {**problem.initial_state, **problem.data.initial_state}
        self._expressions = {
            # as long and as deep as was accepted: the limits are the service's
            n: parse_expression(e, max_characters=len(e), max_levels=1000)
            for n, e in states.items()
            if isinstance(e, str)
        }
        entries = parameters | {
            name: _unknown(entry) for name in system.states if not isinstance(entry := states[name], str)
        }
        self._fixed = {name: entry.start for name, entry in entries.items() if entry.is_fixed}
        free = {name: entry for name, entry in entries.items() if not entry.is_fixed}
        self.names = list(free)
        self.log = np.array([entry.scale == "log" for entry in free.values()], dtype=bool)
        self._lower = np.array([-np.inf if e.lower is None else e.lower for e in free.values()], dtype=np.float64)
        self._upper = np.array([np.inf if e.upper is None else e.upper for e in free.values()], dtype=np.float64)
        self.guess = np.array([entry.start for entry in free.values()], dtype=np.float64)
        self.start = self._coordinates(self.guess)
        self.lower, self.upper = self._coordinates(self._lower), self._coordinates(self._upper)
        self._constants = {**system.constants, **problem.data.constants}
        self._program = Program(list(self._expressions.values()), [])
        # all values in one pool: the free ones, the fixed ones, then the initial states that are expressions
        pool = [*self.names, *self._fixed, *self._expressions]
        place = {name: i for i, name in enumerate(pool)}
        self._parameter_places = torch.tensor([place[n] for n in system.parameters], dtype=torch.long, device=device)
        self._state_places = torch.tensor([place[n] for n in system.states], device=device)
        self._fixed_values = torch.tensor(list(self._fixed.values()), dtype=torch.float64, device=device)
        self._torch_log = torch.tensor(self.log, device=device)
        self._device = device

    @property
    def carried(self) -> Carried:
        """The parameters and initial values that depend on a free unknown."""
        free = set(self.names)
        states, parameters = self.system.states, self.system.parameters
        return Carried(
            tuple(
                i
                for i, name in enumerate(states)
                if name in free or (name in self._expressions and self._expressions[name].names & free)
            ),
            tuple(i for i, name in enumerate(parameters) if name in free),
        )

    @property
    def count(self) -> int:
        """How many are free."""
        return len(self.names)

    def values(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters (p,) and the initial state (n,) at a point, differentiable in its coordinates."""
        pool = torch.cat([self._free(coordinates), self._fixed_values])
        parameters = pool.index_select(0, self._parameter_places)
        if self._expressions:
            named = dict(zip(self.system.parameters, parameters.unbind(), strict=True))
            computed = self._program.bind({**self._constants, **named}, self._device)()
            pool = torch.cat([pool, torch.stack(computed)])
        return parameters, pool.index_select(0, self._state_places)

    def point(self, coordinates: Vector) -> Point:
        """All values at a point, by name."""
        with torch.no_grad():
            parameters, state = self.values(torch.tensor(coordinates, device=self._device))
        return Point(
            dict(zip(self.system.parameters, parameters.tolist(), strict=True)),
            dict(zip(self.system.states, state.tolist(), strict=True)),
        )

    def free_values(self, coordinates: Vector) -> dict[str, float]:
        """The free unknowns at a point, by name, in the caller's units."""
        with np.errstate(over="ignore"):
            values = np.where(self.log, np.exp(np.where(self.log, coordinates, 0.0)), coordinates)
        values = np.where(coordinates <= self.lower, self._lower, values)
        values = np.where(coordinates >= self.upper, self._upper, values)
        return dict(zip(self.names, values.tolist(), strict=True))

    def coordinates(self, values: Mapping[str, float]) -> Vector:
        """The inverse of `free_values`."""
        return self._coordinates(np.array([values[name] for name in self.names], dtype=np.float64))

    def clip(self, coordinates: Vector) -> Vector:
        """The nearest coordinates within the bounds."""
        return np.clip(coordinates, self.lower, self.upper)

    def per_unit(self, coordinates: Vector) -> Vector:
        """d coordinate / d value, which turns a gradient in coordinates into one in the caller's units."""
        values = np.array(list(self.free_values(coordinates).values()), dtype=np.float64)
        return np.where(self.log, 1 / np.where(self.log, values, 1.0), 1.0)

    def magnitudes(self, coordinates: Vector) -> Vector:
        """By what a stage divides the coordinates: max(|x|, |guess|/100), else the width of the bounds, else 1.

        A logarithm is free of units already and stays as it is.
        """
        size = np.maximum(np.abs(coordinates), np.abs(self.guess) / 100)
        width = np.where(np.isfinite(self.upper - self.lower), self.upper - self.lower, 1.0)
        size = np.where(size > 0, size, np.where(width > 0, width, 1.0))
        return np.where(self.log, 1.0, size)

    def is_fixed(self, name: str) -> bool:
        """Whether the caller fixed this parameter or initial value."""
        return name in self._fixed

    def at_bound(self, coordinates: Vector) -> list[str]:
        """The free unknowns that lie at one of their bounds."""
        return [name for name, held in zip(self.names, self.held(coordinates), strict=True) if held]

    def held(self, coordinates: Vector, gradient: Vector | None = None) -> NDArray[np.bool_]:
        """Which coordinates lie at a bound; with a gradient, only those that the bound keeps from descending."""
        room = 1e-10 * np.maximum(np.abs(coordinates), self.magnitudes(coordinates))
        low, high = coordinates <= self.lower + room, coordinates >= self.upper - room
        if gradient is None:
            return low | high
        return (low & (gradient > 0)) | (high & (gradient < 0))

    def _free(self, coordinates: Tensor) -> Tensor:
        if not self.log.any():
            return coordinates
        exponent = torch.where(self._torch_log, coordinates, torch.zeros_like(coordinates))
        values = torch.where(self._torch_log, exponent.exp(), coordinates)
        # exp(log(x)) may miss a bound by a rounding: put it there, and leave its derivative alone
        free = self.free_values(coordinates.detach().cpu().numpy())
        exact = torch.tensor(list(free.values()), dtype=torch.float64, device=self._device)
        return values + (exact - values).detach()

    def _coordinates(self, values: Vector) -> Vector:
        with np.errstate(divide="ignore"):
            return np.where(self.log, np.log(np.where(self.log, np.maximum(values, 0), 1.0)), values)


def _unknown(entry: float | Unknown) -> Unknown:
    return entry if isinstance(entry, Unknown) else Unknown(guess=entry)
