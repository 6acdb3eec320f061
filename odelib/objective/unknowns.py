"""Named unknowns with bounds, scales and fixed ones ↔ the one vector an optimiser sees.

A point's coordinates are the free unknowns in the caller's units, or their logarithm where the scale is `log`.
Names are unique over parameters and states, so an initial value is called by its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.torch_program import TorchProgram
from odelib.problem.resolved import ResolvedProblem
from odelib.problem.unknowns import Unknown

TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Point:
    """All values at one point, by name, in the caller's units: one entry a series."""

    parameters: list[dict[str, float]]
    initial_states: list[dict[str, float]]


class Unknowns:
    """The unknowns of a problem.

    names: the free ones, in order: shared parameters, then each series' own parameters and initial values. Where
    there are several series, what is a series' own has its name in brackets: `prey[plot 3]`. What belongs to a series
    of which nothing is fitted stays at the guess and is none of the `entries`, which priors and penalties are over.
    start, lower, upper: their guesses and bounds (±inf where there is none) as coordinates; what a prior rules out is
    out of bounds. log: which are searched in their logarithm.
    """

    def __init__(self, problem: ResolvedProblem, device: torch.device) -> None:
        system, request = problem.system, problem.request
        self.system = system
        self.entries: dict[str, Unknown] = {
            name: _unknown(request.parameters[name]) for name in system.parameters if name not in request.per_experiment
        }
        self._own: list[dict[str, str]] = []  # for each series, under which name what is its own stands
        self._expressions: list[dict[str, str]] = []  # for each series, the initial values that are expressions
        idle = set(range(len(problem.series))) - {part.index for part in problem.fitted}
        held: dict[str, float] = {}
        for index, series in enumerate(problem.series):
            stated = {**request.initial_state, **series.initial_state}
            own = {name: request.parameters[name] for name in system.parameters if name in request.per_experiment}
            own |= {name: entry for name in system.states if not isinstance(entry := stated[name], str)}
            suffix = f"[{series.name}]" if request.experiments else ""
            self._own.append({name: name + suffix for name in own})
            self._expressions.append({n: e for n in system.states if isinstance(e := stated[n], str)})
            named = {name + suffix: _unknown(entry) for name, entry in own.items()}
            if index in idle:
                held |= {name: entry.start for name, entry in named.items()}
            else:
                self.entries |= named
        self._fixed = {name: entry.start for name, entry in self.entries.items() if entry.is_fixed} | held
        free = {name: entry for name, entry in self.entries.items() if name not in self._fixed}
        self.names = list(free)
        self.log = np.array([entry.scale == "log" for entry in free.values()], dtype=bool)
        bounds = np.array([_bounds(entry) for entry in free.values()], dtype=np.float64).reshape(-1, 2)
        self._lower, self._upper = bounds[:, 0], bounds[:, 1]
        self.guess = np.array([entry.start for entry in free.values()], dtype=np.float64)
        self.start = self._coordinates(self.guess)
        self.lower, self.upper = self._coordinates(self._lower), self._coordinates(self._upper)
        self._place(problem, device)

    def _place(self, problem: ResolvedProblem, device: torch.device) -> None:
        """Where each value is found in one pool: the free ones, the fixed ones, then all that expressions yield."""
        system, count = self.system, len(problem.series)
        texts = list(dict.fromkeys(text for own in self._expressions for text in own.values()))
        parsed = [problem.initial_expressions[text] for text in texts]
        self._program = TorchProgram(parsed, [])
        self._computed = dict(zip(texts, parsed, strict=True))
        place = {name: i for i, name in enumerate([*self.names, *self._fixed])}
        computed = {text: len(place) + i * count for i, text in enumerate(texts)}

        def find(index: int, name: str) -> int:
            if name in self._expressions[index]:
                return computed[self._expressions[index][name]] + index
            return place[self._own[index].get(name, name)]

        series = range(count)
        self._parameter_places = np.array(
            [[find(i, name) for name in system.parameters] for i in series], dtype=np.int64
        )
        self._state_places = np.array([[find(i, name) for name in system.states] for i in series], dtype=np.int64)
        self._fixed_values = np.array(list(self._fixed.values()), dtype=np.float64)
        constants = [list({**system.constants, **one.constants}.values()) for one in problem.series]
        self.constants = torch.tensor(constants, dtype=torch.float64, device=device).reshape(count, -1)
        self._device = device

    @property
    def differentiate_by(self) -> DifferentiateBy:
        """The parameters and initial values that depend on a free unknown, in any series."""
        depending = {name for own in self._own for name, full in own.items() if full in set(self.names)}
        depending |= {name for name in self.system.parameters if name in set(self.names)}
        for own in self._expressions:
            depending |= {state for state, text in own.items() if self._computed[text].names & depending}
        states, parameters = self.system.states, self.system.parameters
        return DifferentiateBy(
            tuple(i for i, name in enumerate(states) if name in depending),
            tuple(i for i, name in enumerate(parameters) if name in depending),
        )

    @property
    def count(self) -> int:
        """How many are free."""
        return len(self.names)

    @property
    def series_count(self) -> int:
        """How many series there are."""
        return len(self._own)

    def values(self, coordinates: Reals) -> tuple[Tensor, Tensor]:
        """The parameters (series, p) and initial states (series, n) at a point, as new tensors."""
        pool = np.concatenate([self._free(coordinates), self._fixed_values])
        parameters = torch.from_numpy(pool[self._parameter_places]).to(self._device)
        if self._computed:
            pool = np.concatenate([pool, self._compute(parameters).cpu().numpy().reshape(-1)])
        return parameters, torch.from_numpy(pool[self._state_places]).to(self._device)

    def gradient(self, coordinates: Reals, by_parameters: Reals, by_states: Reals) -> Reals:
        """A derivative by the coordinates, (count,), from those by the `values`: (series, p) and (series, n)."""
        known = self.count + len(self._fixed_values)
        size = known + len(self._computed) * self.series_count
        by_pool = np.bincount(self._state_places.reshape(-1), by_states.reshape(-1), size)
        if self._computed:
            parameters = self.values(coordinates)[0].requires_grad_()
            computed = self._compute(parameters)
            if computed.requires_grad:
                by_computed = torch.from_numpy(by_pool[known:].reshape(computed.shape)).to(self._device)
                (through,) = torch.autograd.grad(computed, parameters, by_computed)
                by_parameters = by_parameters + through.cpu().numpy()
        by_pool[:known] += np.bincount(self._parameter_places.reshape(-1), by_parameters.reshape(-1), known)
        return by_pool[: self.count] / self.coordinate_derivative(coordinates)

    def jacobians(self, coordinates: Reals) -> tuple[Reals, Reals]:
        """The derivatives of `values`: (series, p, count) and (series, n, count)."""
        unit = np.diag(1 / self.coordinate_derivative(coordinates)) if self.count else np.zeros((0, 0))
        pool = np.concatenate([unit, np.zeros((len(self._fixed), self.count))])
        by_parameter = pool[self._parameter_places]
        if not self._computed:
            return by_parameter, pool[self._state_places]
        parameters = self.values(coordinates)[0].requires_grad_()
        computed = self._compute(parameters)
        along = []
        for row in computed:  # of one expression in each series, which depends on that series' parameters alone
            (slope,) = torch.autograd.grad(row.sum(), parameters, retain_graph=True) if row.requires_grad else (None,)
            direct = np.zeros(parameters.shape) if slope is None else slope.cpu().numpy()
            along.append(np.einsum("ep,epc->ec", direct, by_parameter))
        pool = np.concatenate([pool, *along])
        return by_parameter, pool[self._state_places]

    def _compute(self, parameters: Tensor) -> Tensor:
        """What the initial values' expressions yield, (expressions, series)."""
        named = dict(zip(self.system.parameters, parameters.unbind(1), strict=True))
        named |= zip(self.system.constants, self.constants.unbind(1), strict=True)
        return torch.stack([v.expand(self.series_count) for v in self._program.bind(named, self._device)()])

    def point(self, coordinates: Reals) -> Point:
        """All values at a point, by name."""
        parameters, states = self.values(coordinates)
        return Point(
            [dict(zip(self.system.parameters, row, strict=True)) for row in parameters.tolist()],
            [dict(zip(self.system.states, row, strict=True)) for row in states.tolist()],
        )

    def qualified_name(self, index: int, name: str) -> str:
        """Under which name a parameter or initial value of a series stands here."""
        return self._own[index].get(name, name)

    def is_per_experiment(self, index: int, name: str) -> bool:
        """Whether a parameter is a series' own."""
        return name in self._own[index]

    def free_values(self, coordinates: Reals) -> dict[str, float]:
        """The free unknowns at a point, by name, in the caller's units."""
        return dict(zip(self.names, self._free(coordinates).tolist(), strict=True))

    def coordinates(self, values: Mapping[str, float]) -> Reals:
        """The inverse of `free_values`."""
        return self._coordinates(np.array([values[name] for name in self.names], dtype=np.float64))

    def with_initial_states(self, coordinates: Reals, states: Mapping[int, Reals]) -> Reals:
        """The coordinates with the free initial values of some series put to given states (n,), within the bounds."""
        values = self.free_values(coordinates)
        for index, state in states.items():
            for name, value in zip(self.system.states, state.tolist(), strict=True):
                full = self._own[index].get(name)
                if full in values and (value > 0 or not self.log[self.names.index(full)]):
                    values[full] = value
        return self.clip(self.coordinates(values))

    def with_fixed(self, place: int, coordinate: float) -> Unknowns:
        """The same unknowns, one of them held where a coordinate says."""
        other = copy(self)
        other.lower, other.upper = self.lower.copy(), self.upper.copy()
        other.lower[place] = other.upper[place] = coordinate
        return other

    def clip(self, coordinates: Reals) -> Reals:
        """The nearest coordinates within the bounds."""
        return np.clip(coordinates, self.lower, self.upper)

    def coordinate_derivative(self, coordinates: Reals) -> Reals:
        """d coordinate / d value, which turns a gradient in coordinates into one in the caller's units."""
        positive = np.maximum(self._free(coordinates), TINY)  # one that runs towards 0 may underflow
        return 1 / np.where(self.log, positive, 1.0)

    def magnitudes(self, coordinates: Reals) -> Reals:
        """By what a stage divides the coordinates: max(|x|, |guess|/100), else the width of the bounds, else 1.

        A logarithm is free of units already and stays as it is.
        """
        size = np.maximum(np.abs(coordinates), np.abs(self.guess) / 100)
        width = np.where(np.isfinite(self.upper - self.lower), self.upper - self.lower, 1.0)
        size = np.where(size > 0, size, np.where(width > 0, width, 1.0))
        return np.where(self.log, 1.0, size)

    def is_fixed(self, name: str) -> bool:
        """Whether this parameter or initial value, by its name here, is not fitted."""
        return name in self._fixed

    def names_at_bound(self, coordinates: Reals) -> list[str]:
        """The free unknowns that lie at one of their bounds."""
        return [name for name, at_bound in zip(self.names, self.at_bound(coordinates), strict=True) if at_bound]

    def at_bound(self, coordinates: Reals) -> Booleans:
        """Which coordinates lie at a bound, to within rounding, (count,)."""
        low, high = self._at_bounds(coordinates)
        return low | high

    def active_bounds(self, coordinates: Reals, gradient: Reals) -> Booleans:
        """Which coordinates lie at a bound that keeps the loss from falling further, (count,)."""
        low, high = self._at_bounds(coordinates)
        return (low & (gradient > 0)) | (high & (gradient < 0))

    def _at_bounds(self, coordinates: Reals) -> tuple[Booleans, Booleans]:
        room = 1e-10 * np.maximum(np.abs(coordinates), self.magnitudes(coordinates))
        return coordinates <= self.lower + room, coordinates >= self.upper - room

    def _free(self, coordinates: Reals) -> Reals:
        """The free unknowns in the caller's units, (count,)."""
        with np.errstate(over="ignore"):
            values = np.where(self.log, np.exp(np.where(self.log, coordinates, 0.0)), coordinates)
        # exp(log(x)) may miss a bound by a rounding: put it there
        values = np.where(coordinates <= self.lower, self._lower, values)
        return np.where(coordinates >= self.upper, self._upper, values)

    def _coordinates(self, values: Reals) -> Reals:
        with np.errstate(divide="ignore"):
            return np.where(self.log, np.log(np.where(self.log, np.maximum(values, 0), 1.0)), values)


def _unknown(entry: float | Unknown) -> Unknown:
    return entry if isinstance(entry, Unknown) else Unknown(guess=entry)


def _bounds(entry: Unknown) -> tuple[float, float]:
    low, high = entry.prior.support if entry.prior else (-np.inf, np.inf)
    return (
        low if entry.lower is None else max(entry.lower, low),
        high if entry.upper is None else min(entry.upper, high),
    )
