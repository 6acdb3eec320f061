"""The unknowns of a problem, by name, and the vector of coordinates that an optimiser sees.

Coordinates are the free unknowns in the caller's units, or their logarithms if the scale is `log`. Names are unique
over parameters and states, so an initial value has the name of its state.
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
from odelib.objective.model_values import ModelValues, SeriesNames
from odelib.problem.resolved import ResolvedProblem
from odelib.problem.unknowns import Unknown

TINY = float(np.finfo(np.float64).tiny)
BOUND_TOLERANCE = 1e-10  # relative
MAX_LOG = 345.0  # of a value between 1e-150 and 1e150, whose square and its inverse are finite numbers


@dataclass(frozen=True)
class Point:
    """All values at a point by name, in the caller's units; one entry for each series."""

    parameters: list[dict[str, float]]
    initial_states: list[dict[str, float]]


class Unknowns:
    """The unknowns of a problem.

    names: the free ones, in order: shared parameters, then those of each series, whose names end in the series' name
    if there are several: `prey[plot 3]`. entries: all unknowns that priors and the penalty are over, free and fixed.
    The unknowns of a series of which nothing is fitted are not among them; they stay at their guesses.

    log: which coordinates are logarithms. guess: in the caller's units. start, lower, upper: guesses and bounds as
    coordinates, ±inf if there is no bound; values that a prior excludes are out of bounds. guess_sizes: |guess|; for
    a guess of 0 the distance between the bounds, and without these 1 until `set_sizes` is called, for those that
    needs_size tells. is_weight: which ones are weights of networks, weight_decay: their l2, 0 for others,
    learning_rate: theirs, NaN for others. All (count,).
    """

    def __init__(self, problem: ResolvedProblem, device: torch.device) -> None:
        self.system = problem.system
        self._noise_parameters = frozenset[str]().union(*problem.noise_parameters.values())
        self._add_entries(problem)
        free = {name: entry for name, entry in self.entries.items() if name not in self._fixed}
        self.names = list(free)
        self.log = np.array([entry.scale == "log" for entry in free.values()], dtype=bool)
        bounds = np.array([_bounds(entry) for entry in free.values()], dtype=np.float64).reshape(-1, 2)
        self._lower_value, self._upper_value = bounds[:, 0], bounds[:, 1]
        self.guess = np.array([entry.start for entry in free.values()], dtype=np.float64)
        self.start = self._to_coordinates(self.guess)
        self.lower, self.upper = self._to_coordinates(self._lower_value), self._to_coordinates(self._upper_value)
        of_networks = {name: network for network in problem.networks for name in network.weights}
        found = [of_networks.get(name) for name in self.names]
        self.is_weight = np.array([network is not None for network in found], dtype=bool)
        self.weight_decay = np.array([network.l2 if network else 0.0 for network in found], dtype=np.float64)
        self.learning_rate = np.array([network.learning_rate if network else np.nan for network in found])
        width = np.where(np.isfinite(self.upper - self.lower), self.upper - self.lower, 0.0)
        sizes = np.where(self.guess != 0, np.abs(self.guess), width)
        self.needs_size = (sizes == 0) & ~self.log & ~self.is_weight
        self.guess_sizes = np.where(sizes > 0, sizes, 1.0)
        self._model = ModelValues(problem, self._series, self.names, self._fixed, device)

    def _add_entries(self, problem: ResolvedProblem) -> None:
        request, system = problem.request, problem.system
        per_experiment = [name for name in system.parameters if name in request.per_experiment]
        shared = [name for name in system.parameters if name not in request.per_experiment]
        self.entries: dict[str, Unknown] = {name: _unknown(request.parameters[name]) for name in shared}
        self._series: list[SeriesNames] = []
        fitted = {each.index for each in problem.fitted}
        not_fitted: dict[str, float] = {}
        self._guessed: set[str] = set()
        for index, series in enumerate(problem.series):
            initial_state = {**request.initial_state, **series.initial_state}
            own = {name: request.parameters[name] for name in per_experiment}
            own |= {name: entry for name in system.states if not isinstance(entry := initial_state[name], str)}
            expressions = {name: text for name in system.states if isinstance(text := initial_state[name], str)}
            suffix = f"[{series.name}]" if request.experiments else ""
            self._series.append(SeriesNames({name: name + suffix for name in own}, expressions))
            entries = {name + suffix: _unknown(entry) for name, entry in own.items()}
            if index in fitted:
                self.entries |= entries
            else:
                not_fitted |= {name: entry.start for name, entry in entries.items()}
                self._guessed |= {name for name, entry in entries.items() if not entry.is_fixed}
        self._fixed = {name: entry.start for name, entry in self.entries.items() if entry.is_fixed} | not_fitted

    @property
    def in_noise_alone(self) -> Booleans:
        """Which of the free unknowns are parameters that occur in noise alone, (count,)."""
        names = {one.unknown(name) for one in self._series for name in self._noise_parameters}
        return np.array([name in names for name in self.names], dtype=bool)

    @property
    def differentiate_by(self) -> DifferentiateBy:
        """The parameters and initial values that states depend on, and that depend on a free unknown in any series."""
        return self._model.differentiate_by

    @property
    def moving_parameters(self) -> tuple[int, ...]:
        """The parameters that depend on a free unknown in any series."""
        return self._model.moving.parameters

    @property
    def constants(self) -> Tensor:
        """The constants of all series, (series, c)."""
        return self._model.constants

    @property
    def count(self) -> int:
        """The number of free unknowns."""
        return len(self.names)

    @property
    def series_count(self) -> int:
        """The number of series."""
        return len(self._series)

    def values(self, coordinates: Reals) -> tuple[Tensor, Tensor]:
        """The parameters (series, p) and initial states (series, n) at a point, as new tensors.

        Parameters are those of `ResolvedProblem.solved_system`.
        """
        return self._model.values(self._to_values(coordinates))

    def with_derived(self, index: int, parameters: Tensor) -> Tensor:
        """The parameters of the solved system, (p,), from the caller's, in a series; differentiable by these."""
        return self._model.with_derived(index, parameters)

    def gradient(self, coordinates: Reals, by_parameters: Reals, by_states: Reals) -> Reals:
        """The gradient of a function by the coordinates, (count,), from its gradients by the `values`."""
        values = self._to_values(coordinates)
        return self._model.gradient(values, by_parameters, by_states) / self._coordinate_derivative(values)

    def jacobians(self, coordinates: Reals) -> tuple[Reals, Reals]:
        """The Jacobians of the `values` by the coordinates, (series, p, count) and (series, n, count)."""
        values = self._to_values(coordinates)
        with np.errstate(divide="ignore"):  # a logarithm that runs away; nothing can be solved there
            by_coordinates = 1 / self._coordinate_derivative(values)
        return self._model.jacobians(values, np.diag(by_coordinates))

    def point(self, coordinates: Reals) -> Point:
        """All values at a point, by name."""
        parameters, states = self.values(coordinates)
        return Point(
            [dict(zip(self.system.parameters, row, strict=False)) for row in parameters.tolist()],  # then derived ones
            [dict(zip(self.system.states, row, strict=True)) for row in states.tolist()],
        )

    def qualified_name(self, index: int, name: str) -> str:
        """The name of the unknown that is a parameter or initial value of a series."""
        return self._series[index].unknown(name)

    def is_per_experiment(self, index: int, name: str) -> bool:
        """Whether a parameter or initial value of a series is not shared with other series."""
        return name in self._series[index].own

    def is_fixed(self, name: str) -> bool:
        """Whether an unknown is not fitted."""
        return name in self._fixed

    def is_guessed(self, name: str) -> bool:
        """Whether an unknown stays at a guess, being that of a series of which nothing is fitted."""
        return name in self._guessed

    def free_values(self, coordinates: Reals) -> dict[str, float]:
        """The free unknowns at a point by name, in the caller's units."""
        return dict(zip(self.names, self._to_values(coordinates).tolist(), strict=True))

    def coordinates(self, values: Mapping[str, float]) -> Reals:
        """The inverse of `free_values`, (count,)."""
        return self._to_coordinates(np.array([values[name] for name in self.names], dtype=np.float64))

    def with_initial_states(self, coordinates: Reals, states: Mapping[int, Reals]) -> Reals:
        """Return coordinates with other free initial values, within the bounds.

        states: by index of the series, (n,). A value that a log scale cannot have is left as it was.
        """
        values = self.free_values(coordinates)
        for index, state in states.items():
            for name, value in zip(self.system.states, state.tolist(), strict=True):
                unknown = self._series[index].own.get(name)
                if unknown in values and (value > 0 or not self.log[self.names.index(unknown)]):
                    values[unknown] = value
        return self.clip(self.coordinates(values))

    def with_fixed(self, index: int, coordinate: float) -> Unknowns:
        """Return the same unknowns with one coordinate fixed, by equal bounds."""
        other = copy(self)
        other.lower, other.upper = self.lower.copy(), self.upper.copy()
        other.lower[index] = other.upper[index] = coordinate
        other._lower_value, other._upper_value = self._lower_value.copy(), self._upper_value.copy()
        value = np.exp(coordinate) if self.log[index] else coordinate
        other._lower_value[index] = other._upper_value[index] = value
        return other

    def clip(self, coordinates: Reals) -> Reals:
        """The nearest coordinates within the bounds, and not so large that the value of a logarithm overflows."""
        largest = np.where(self.log, np.maximum(MAX_LOG, np.abs(self.start)), np.inf)
        lower = np.where(np.isinf(self.lower), -largest, self.lower)
        return np.clip(coordinates, lower, np.where(np.isinf(self.upper), largest, self.upper))

    def coordinate_derivative(self, coordinates: Reals) -> Reals:
        """d coordinate / d value, (count,): 1, or 1/value for a logarithm."""
        return self._coordinate_derivative(self._to_values(coordinates))

    def _coordinate_derivative(self, values: Reals) -> Reals:
        positive = np.maximum(values, TINY)  # a value that runs towards 0 may underflow
        return 1 / np.where(self.log, positive, 1.0)

    def magnitudes(self, coordinates: Reals) -> Reals:
        """The size of each coordinate, by which optimisers divide it, (count,).

        max(|x|, s/100), where s is the size of the guess: |guess|, and if that is 0 what `guess_sizes` says, which is
        the magnitude of 0 too. Logarithms and the weights of networks have no unit, and their magnitude is 1.
        """
        size = np.maximum(np.abs(coordinates), self.guess_sizes / 100)
        size = np.where((coordinates == 0) & (self.guess == 0), self.guess_sizes, size)
        return np.where(self.log | self.is_weight, 1.0, size)

    def set_sizes(self, sizes: Reals) -> None:
        """Set the sizes of guesses of 0 without bounds, (count,); NaN for those that are not known.

        1 would be small or large depending on the unit.
        """
        self.guess_sizes = np.where(self.needs_size & np.isfinite(sizes), sizes, self.guess_sizes)

    def names_at_bound(self, coordinates: Reals) -> list[str]:
        """The free unknowns at a bound."""
        return [name for name, at_bound in zip(self.names, self.at_bound(coordinates), strict=True) if at_bound]

    def at_bound(self, coordinates: Reals) -> Booleans:
        """Which coordinates are at a bound, up to rounding errors, (count,)."""
        at_lower, at_upper = self._at_bounds(coordinates)
        return at_lower | at_upper

    def active_bounds(self, coordinates: Reals, gradient: Reals) -> Booleans:
        """Which coordinates are at a bound beyond which the loss would fall further, (count,)."""
        at_lower, at_upper = self._at_bounds(coordinates)
        return (at_lower & (gradient > 0)) | (at_upper & (gradient < 0))

    def _at_bounds(self, coordinates: Reals) -> tuple[Booleans, Booleans]:
        tolerance = BOUND_TOLERANCE * np.maximum(np.abs(coordinates), self.magnitudes(coordinates))
        return coordinates <= self.lower + tolerance, coordinates >= self.upper - tolerance

    def _to_values(self, coordinates: Reals) -> Reals:
        with np.errstate(over="ignore"):
            values = np.where(self.log, np.exp(np.where(self.log, coordinates, 0.0)), coordinates)
        # exp(log(x)) may differ from x by a rounding error, but a value at a bound must be the bound
        values = np.where(coordinates <= self.lower, self._lower_value, values)
        return np.where(coordinates >= self.upper, self._upper_value, values)

    def _to_coordinates(self, values: Reals) -> Reals:
        with np.errstate(divide="ignore"):
            return np.where(self.log, np.log(np.where(self.log, np.maximum(values, 0), 1.0)), values)


def _unknown(entry: float | Unknown) -> Unknown:
    return entry if isinstance(entry, Unknown) else Unknown(guess=entry)


def _bounds(entry: Unknown) -> tuple[float, float]:
    lower, upper = entry.prior.support if entry.prior else (-np.inf, np.inf)
    return (
        lower if entry.lower is None else max(entry.lower, lower),
        upper if entry.upper is None else min(entry.upper, upper),
    )
