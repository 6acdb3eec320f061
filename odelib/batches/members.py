"""The series of a batch as arrays: those that are plain enough to be read without the checks of a whole request.

A plain series has a name, times, values, perhaps sigmas, and numbers as guesses, all of them valid. Any other is left
to `problem.batches.parse_member`, which says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from odelib.arrays import Booleans, Integers, Reals
from odelib.batches.noise import SharedNoise
from odelib.problem.batches import GUESSES
from odelib.problem.fields import Label
from odelib.problem.request import FitProblem
from odelib.problem.unknowns import Unknown

_FIELDS = frozenset(("name", "times", "values", "sigma", "initial_state", GUESSES))
_NUMBERS, _NUMBERS_OR_NULL = frozenset((float, int)), frozenset((float, int, type(None)))
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


@dataclass(frozen=True)
class Entries:
    """The entries of all parameters and then of all states, in the system's order.

    parameters: p. guesses: (p + n,), NaN where only a series gives one. lower, upper, is_log, is_free: (p + n,), of the
    values.
    """

    names: tuple[str, ...]
    parameters: int
    guesses: Reals
    lower: Reals
    upper: Reals
    is_log: Booleans
    is_free: Booleans

    @classmethod
    def of(cls, problem: FitProblem, given: Mapping[str, Any]) -> Entries:
        """Those of a request. problem: of any plain series. given: the request without series, as JSON."""
        system = problem.resolved_system
        shared = {**problem.parameters, **problem.initial_state}
        own = {**(given.get(GUESSES) or {}), **(given.get("initial_state") or {})}
        names = (*system.parameters, *system.states)
        entries = [_unknown(shared[name]) for name in names]
        return cls(
            names,
            len(system.parameters),
            np.array([e.start if name in own else math.nan for name, e in zip(names, entries, strict=True)]),
            np.array([-math.inf if e.lower is None else e.lower for e in entries]),
            np.array([math.inf if e.upper is None else e.upper for e in entries]),
            np.array([e.scale == "log" for e in entries]),
            np.array([not e.is_fixed for e in entries]),
        )

    def allow(self, guesses: Reals) -> bool:
        """Whether guesses, (p + n,), are valid and have a size: those of 0 that are free need bounds for that."""
        has_no_size = self.is_free & (guesses == 0) & ~np.isfinite(self.upper - self.lower)
        inside = (guesses >= self.lower) & (guesses <= self.upper) & (~self.is_log | (guesses > 0))
        return bool(np.isfinite(guesses).all() and inside.all() and not has_no_size.any())


@dataclass(frozen=True)
class Member:
    """A plain series. times: (T,). values: (observables, T), NaN where nothing is measured. guesses: (p + n,).

    sigmas: see `SharedNoise.sigmas`. has_sigma: whether the series gives a sigma for every measurement.
    """

    index: int
    name: str
    times: Reals
    values: Reals
    sigmas: Reals
    has_sigma: bool
    guesses: Reals


@dataclass(frozen=True)
class Members:
    """Plain series of one length as arrays.

    indices: (B,), in the batch. times: (B, T). values, sigmas: (B, observables, T). has_sigma: (B,). guesses:
    (B, p + n).
    """

    indices: Integers
    names: Sequence[str]
    times: Reals
    values: Reals
    sigmas: Reals
    has_sigma: Booleans
    guesses: Reals

    @classmethod
    def of(cls, members: Sequence[Member]) -> Members:
        """Stack members whose times are equally many."""
        return cls(
            np.array([each.index for each in members]),
            [each.name for each in members],
            np.stack([each.times for each in members]),
            np.stack([each.values for each in members]),
            np.stack([each.sigmas for each in members]),
            np.array([each.has_sigma for each in members]),
            np.stack([each.guesses for each in members]),
        )


def may_be_plain(series: Any) -> bool:
    """Whether a series has no more than the fields of a plain one, with numbers as guesses."""
    if not isinstance(series, Mapping) or not _FIELDS.issuperset(series):
        return False
    own = [series.get(GUESSES, {}), series.get("initial_state", {})]
    return all(isinstance(each, Mapping) and _NUMBERS.issuperset(map(type, each.values())) for each in own)


def read_plain(
    index: int, series: Mapping[str, Any], entries: Entries, observables: Sequence[str], noise: SharedNoise
) -> Member | None:
    """Read a series that `may_be_plain`; None if it is not, or not valid."""
    times = _times(series.get("times"))
    values = None if times is None else _values(series.get("values"), len(times), observables)
    guesses = _guesses(series, entries)
    if times is None or values is None or guesses is None:
        return None
    of_data = _sigmas(series.get("sigma", {}), series["values"], len(times), observables)
    is_measured = np.isfinite(values)
    sigmas = None if of_data is None else noise.sigmas(of_data, is_measured)
    if of_data is None or sigmas is None:
        return None
    try:
        name = _LABEL.validate_python(series.get("name", "data"))
    except ValidationError:
        return None
    has_sigma = bool(np.isfinite(of_data[is_measured]).all())
    return Member(index, name, times, values, sigmas, has_sigma, guesses)


def _times(given: Any) -> Reals | None:
    if not isinstance(given, list) or not given or not _NUMBERS.issuperset(map(type, given)):
        return None
    times = np.empty(len(given))
    return times if _fill(times, given) and bool((times[1:] >= times[:-1]).all()) else None


def _values(columns: Any, count: int, observables: Sequence[str]) -> Reals | None:
    if not isinstance(columns, Mapping) or not columns.keys() <= set(observables):
        return None
    values = np.full((len(observables), count), math.nan)
    for name, column in columns.items():
        is_column = isinstance(column, list) and len(column) == count
        if not is_column or not _NUMBERS_OR_NULL.issuperset(map(type, column)):
            return None
        if not _fill(values[observables.index(name)], column):
            return None
    return values if np.isfinite(values).any() else None


def _sigmas(columns: Any, measured: Mapping[str, Any], count: int, observables: Sequence[str]) -> Reals | None:
    """The sigmas that a series gives, a number or one for each time, (observables, T), NaN where it gives none."""
    if not isinstance(columns, Mapping) or not columns.keys() <= measured.keys():
        return None
    sigmas = np.full((len(observables), count), math.nan)
    for name, given in columns.items():
        column = given if isinstance(given, list) else [given] * count
        if len(column) != count or not _NUMBERS.issuperset(map(type, column)):
            return None
        row = sigmas[observables.index(name)]
        if not _fill(row, column) or not (row > 0).all():
            return None
    return sigmas


def _fill(into: Reals, numbers: Sequence[float | None]) -> bool:
    """Write numbers to an array, NaN for null; whether all of them are finite."""
    try:
        into[:] = np.array(numbers, dtype=np.float64)
    except OverflowError:
        return False
    return len(numbers) - numbers.count(None) == int(np.isfinite(into).sum())


def _guesses(series: Mapping[str, Any], entries: Entries) -> Reals | None:
    guesses = entries.guesses.copy()
    for field, first, last in ((GUESSES, 0, entries.parameters), ("initial_state", entries.parameters, None)):
        names = entries.names[first:last]
        for name, value in series.get(field, {}).items():
            if name not in names:
                return None
            try:
                guesses[first + names.index(name)] = value
            except OverflowError:
                return None
    return guesses if entries.allow(guesses) else None


def _unknown(entry: Any) -> Unknown:
    return entry if isinstance(entry, Unknown) else Unknown(guess=entry)
