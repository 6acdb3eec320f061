"""What was done in an experiment beside measuring: inputs, doses, changes, and a steady state before the start.

A caller writes these as fields of a series. `odelib.problem.checks` checks them, parses their expressions and makes a
`Protocol`, from which a solve takes its schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from odelib.problem.expressions.parser import Expression

Interpolation = Literal["linear", "previous", "next", "cubic", "pchip"]
Outside = Literal["refuse", "hold", "zero", "repeat"]
Observed = Literal["after", "before"]


@dataclass(frozen=True)
class Knots:
    """An input by its values at increasing times.

    values: numbers, or expressions of parameters and constants. interpolation: `previous` and `next` have the knot's
    own value at a knot; `cubic` is the natural spline, `pchip` scipy's. outside: the input beyond the knots; `repeat`
    continues with the period last − first.
    """

    times: tuple[float, ...]
    values: tuple[float | Expression, ...]
    interpolation: Interpolation = "linear"
    outside: Outside = "refuse"


InputValue = Expression | Knots
"""An expression of time, parameters and constants (a number is one too), or knots."""


@dataclass(frozen=True)
class Dose:
    """An amount given into a state, at once or as an infusion, once or repeatedly.

    at: one expression per time. every, count: `count` doses in all, `every` apart, from the one time of `at`. The dose
    acts at at + lag. With `duration` or `rate` the state's rate rises by fraction·amount/duration for the duration, or
    by `rate` for fraction·amount/rate; without, the state rises by fraction·amount at once. steady: as if given so for
    ever before `at`, which is the start.
    """

    into: str
    amount: Expression
    at: tuple[Expression, ...]
    every: Expression | None = None
    count: int = 1
    duration: Expression | None = None
    rate: Expression | None = None
    lag: Expression | None = None
    fraction: Expression | None = None
    steady: bool = False


@dataclass(frozen=True)
class Change:
    """What is changed at a time, and stays until it is changed again.

    set, add: by state, expressions of the values just before. constants, inputs: by name.
    """

    at: Expression
    set: Mapping[str, Expression] = field(default_factory=dict)
    add: Mapping[str, Expression] = field(default_factory=dict)
    constants: Mapping[str, Expression] = field(default_factory=dict)
    inputs: Mapping[str, InputValue] = field(default_factory=dict)


@dataclass(frozen=True)
class SteadyState:
    """The state at the start is the steady state under these constants and inputs; then `set` applies, by state."""

    constants: Mapping[str, Expression] = field(default_factory=dict)
    inputs: Mapping[str, InputValue] = field(default_factory=dict)
    set: Mapping[str, Expression] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What was done in one series, with the expressions parsed.

    inputs: one for each input of the system. observed: what a measurement at the very time of a dose, change or event
    sees. Constants of a series that are numbers are not here: see `MeasuredSeries.constants`.
    """

    inputs: Mapping[str, InputValue] = field(default_factory=dict)
    doses: tuple[Dose, ...] = ()
    changes: tuple[Change, ...] = ()
    steady_state: SteadyState | None = None
    observed: Observed = "after"

    @property
    def does_nothing(self) -> bool:
        """Whether nothing was done but measuring."""
        return not (self.inputs or self.doses or self.changes or self.steady_state)

    def expressions(self) -> Iterator[Expression]:
        """Every expression in it."""
        yield from _of_inputs(self.inputs)
        for dose in self.doses:
            given = (dose.amount, *dose.at, dose.every, dose.duration, dose.rate, dose.lag, dose.fraction)
            yield from (value for value in given if value is not None)
        for change in self.changes:
            yield from (change.at, *change.set.values(), *change.add.values(), *change.constants.values())
            yield from _of_inputs(change.inputs)
        if self.steady_state is not None:
            yield from (*self.steady_state.constants.values(), *self.steady_state.set.values())
            yield from _of_inputs(self.steady_state.inputs)


def _of_inputs(inputs: Mapping[str, InputValue]) -> Iterator[Expression]:
    for value in inputs.values():
        given = value.values if isinstance(value, Knots) else [value]
        yield from (each for each in given if isinstance(each, Expression))
