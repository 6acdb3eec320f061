"""Derivatives through every kind of input, dose, change, event and steady state, alone and in pairs.

All kinds stand in one system, so that it is compiled once. An event that a case does not ask for never happens: a
constant keeps its condition false. Times of measurements are never those of anything that moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from odelib.engines.base import DifferentiateBy, Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.schedules.schedule import Protocols
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from odelib.problem.protocol import Protocol
from tests.odelib.engines.protocols import (
    Array,
    change,
    dose,
    event,
    knots,
    protocol,
    settings,
    solved,
    steady_state,
    system,
)

NEVER = 1e9
STATES, PARAMETERS = {"a": 1.1, "c": 0.6, "w": 0.4}, {"ka": 0.9, "k": 0.35, "lag": 0.31, "f": 0.7, "d": 1.3}
CONSTANTS = {"v": 2.0, "q": 0.3, "high": NEVER, "low": -NEVER, "late": NEVER, "chain": NEVER}
TIMES = [0.0, 0.57, 1.63, 2.71, 3.49, 4.87, 6.23]
SYSTEM = system(
    {"a": "-ka*a + 0.2*w*u", "c": "ka*a/v - k*c - kept", "w": "q - k*w*(1 + a*c)/2"},
    list(PARAMETERS),
    CONSTANTS,
    inputs=["u"],
    definitions={"kept": "0.05*f*c*w*(1 + u)"},
    events=[
        event("high", "c > high*f", {"c": "c*(0.4 + 0.1*ka)"}, {"w": "0.3*k*a"}),
        event("low", "a < low*d and t > 0.4 + f", add={"a": "1 + ka + 0.1*c"}),
        event("late", "t > late + lag and not w < 0", {"w": "0.5*w"}, stop=True),
        event("chain", "w > chain", {"w": "w - 0.1*f", "a": "a*f + 0.1"}),
    ],
)


@dataclass(frozen=True)
class Kind:
    """Part of what was done, and constants of the experiment."""

    done: Protocol = field(default_factory=Protocol)
    constants: Mapping[str, float] = field(default_factory=dict)

    def with_other(self, other: Kind) -> Kind:
        """Both at once; what both give is this one's."""
        return Kind(
            Protocol(
                {**other.done.inputs, **self.done.inputs},
                (*self.done.doses, *other.done.doses),
                (*self.done.changes, *other.done.changes),
                self.done.steady_state or other.done.steady_state,
            ),
            {**other.constants, **self.constants},
        )


HOURS = [0.0, 0.8, 2.1, 3.3, 5.0]
KINDS = {
    "number": Kind(protocol({"u": 0.8})),
    "expression": Kind(protocol({"u": "1 + f*where(t < 4*lag, 1, 0.2) + 0.1*sin(k*t)"})),
    "linear": Kind(protocol({"u": knots(HOURS, [0.2, "f", 1.3, "k + 1", 0.1])})),
    "previous": Kind(protocol({"u": knots(HOURS, [0.2, 1.4, "d", 0.3, 0.9], "previous")})),
    "next": Kind(protocol({"u": knots(HOURS, [0.2, 1.4, "d", 0.3, 0.9], "next", "zero")})),
    "cubic": Kind(protocol({"u": knots(HOURS, [0.2, "ka", 1.3, 0.4, "f*d"], "cubic")})),
    "pchip": Kind(protocol({"u": knots(HOURS, [0.2, "ka", 1.3, 1.5, "f"], "pchip")})),
    "repeated": Kind(protocol({"u": knots([0.0, 0.4, 1.2], [0.1, "f", 0.6], "linear", "repeat")})),
    "dose": Kind(protocol(doses=(dose("a", 3, 1.0),))),
    "doses": Kind(protocol(doses=(dose("a", "2*ka", 0, every="1.1 + 0.3*f", count=4, lag="lag", fraction="f"),))),
    "dose at a parameter": Kind(protocol(doses=(dose("c", 1.5, ["d", "3*d"]),))),
    "infusion": Kind(protocol(doses=(dose("c", "2*d", [0.2, 2.2], duration="d", lag="lag"),))),
    "infusion of a rate": Kind(protocol(doses=(dose("a", 2.4, 0.9, rate=1.7, fraction="f", lag="lag"),))),
    "overlapping infusions": Kind(protocol(doses=(dose("a", 2, 0.1, every="d", count=3, duration=1.9),))),
    "steady dose": Kind(protocol(doses=(dose("a", "2*f", 0, every="1 + 0.5*d", count=3, lag="lag", steady=True),))),
    "steady infusion": Kind(protocol(doses=(dose("c", 2, 0, every=2.2, count=2, duration="d", steady=True),))),
    "set": Kind(protocol(changes=(change(1.2, to_set={"a": 0.5, "w": "0.3 + f"}),))),
    "set at a parameter": Kind(protocol(changes=(change("2*d", to_set={"c": "a*f + w*u"}, add={"w": "0.1*t*k"}),))),
    "add": Kind(protocol(changes=(change("1 + lag", add={"a": "k", "c": "-0.3*c"}),))),
    "constant": Kind(protocol(changes=(change("d + lag", constants={"v": 3.0}),))),
    "constant by a parameter": Kind(
        protocol(changes=(change(1.4, constants={"q": "f"}), change("3*d", constants={"q": 0.1})))
    ),
    "another input": Kind(
        protocol({"u": 1.0}, changes=(change("1.2*d", inputs={"u": knots(HOURS, [1, 2, "k", 3, 4])}),))
    ),
    "high": Kind(constants={"high": 1.05}),
    "low": Kind(constants={"low": 0.25}),
    "late": Kind(constants={"late": 3.9}),
    "chain": Kind(constants={"chain": 0.41, "high": 1.0}),
    "steady state": Kind(protocol(steady_state=steady_state())),
    "steady state under others": Kind(
        protocol(
            steady_state=steady_state(
                constants={"q": "0.5*ka", "v": 1.5}, inputs={"u": "k"}, to_set={"a": "a + f", "c": 0.2}
            )
        )
    ),
}  # fmt: skip
STEADY = [name for name in KINDS if "steady" in name]
INPUTS = list(KINDS)[:8]
UNSETTLED = {"low", "late", "chain"}  # events that recur for ever or stop everything: nothing settles
PAIRS = [
    pair
    for pair in itertools.combinations(KINDS, 2)
    if not set(pair) <= set(STEADY)  # one start
    and not set(pair) <= set(INPUTS)  # one input
    and not (set(pair) & set(STEADY) and set(pair) & UNSETTLED)
    and not ("steady state" in pair and set(pair) & set(INPUTS[1:]))  # constant inputs
]
EVERY = DifferentiateBy(tuple(range(len(STATES))), tuple(range(len(PARAMETERS))))
VALUES = np.array([*STATES.values(), *PARAMETERS.values()])


def cases_of(names: list[tuple[str, ...]]) -> list[Kind]:
    default = Kind(protocol({"u": 0.8}))
    found = []
    for each in names:
        kind = KINDS[each[0]]
        for other in each[1:]:
            kind = kind.with_other(KINDS[other])
        found.append(kind.with_other(default))
    return found


class Solves:
    """Solves of cases by one engine, whose protocols it all knows, so that it makes one extended system."""

    def __init__(self, engine: type[Engine], cases: list[Kind], **more: Any) -> None:
        self._engine, self._more = engine(SYSTEM), more
        self._protocols = tuple(case.done for case in cases)
        self._constants = np.array([list({**CONSTANTS, **case.constants}.values()) for case in cases])

    def at(self, values: Array, by: DifferentiateBy, places: list[int]) -> tuple[Array, Array]:
        """States (B, T, n) and derivatives (B, T, n, m) at values (B, n + p) of cases at places (B,)."""
        what = settings(
            np.tile(TIMES, (len(places), 1)), self._constants[places], Protocols(self._protocols, tuple(places)), by,
            **self._more,
        )  # fmt: skip
        found = self._engine.sensitivities(values[:, : len(STATES)], values[:, len(STATES) :], what)
        assert not {place: str(found.failures[row]) for row, place in enumerate(places) if row in found.failures}
        return found.states, np.concatenate([found.by_initial_state, found.by_parameters], axis=-1)

    def differences(self, places: list[int]) -> Array:
        """The derivatives by central differences of order 4, (B, T, n, m)."""
        count, m = len(places), len(VALUES)
        steps = 5e-4 * VALUES[None] * np.eye(m)
        values = np.tile(np.concatenate([VALUES + factor * steps for factor in (-2, -1, 1, 2)]), (count, 1))
        states, _ = self.at(values, DifferentiateBy(), [place for place in places for _ in range(4 * m)])
        far_below, below, above, far_above = states.reshape(count, 4, m, *states.shape[1:]).transpose(1, 0, 3, 4, 2)
        difference: Array = (far_below - far_above + 8 * (above - below)) / (6e-3 * VALUES)
        return difference


def test_alone_and_in_pairs_in_the_compiled_engine() -> None:
    names: list[tuple[str, ...]] = [(name,) for name in KINDS] + PAIRS[::6]
    solves, places = Solves(CompiledEngine, cases_of(names), rtol=1e-11), list(range(len(names)))
    _, found = solves.at(np.tile(VALUES, (len(names), 1)), EVERY, places)
    expected = solves.differences(places)
    size = np.abs(expected).max(axis=(1, 2), keepdims=True).clip(0.1)
    errors = (np.abs(found - expected) / size).max(axis=(1, 2, 3))
    assert not {names[place]: errors[place] for place in np.flatnonzero(~(errors <= 1e-6))}


@pytest.mark.parametrize(
    "names",
    [
        ("expression", "doses"),
        ("pchip", "infusion of a rate"),
        ("cubic", "constant by a parameter"),
        ("next", "infusion"),
        ("steady state under others", "dose at a parameter"),
        ("chain", "set"),
        ("low", "overlapping infusions"),
        ("late", "constant"),
    ],
    ids=" and ".join,
)
def test_in_some_direction(names: tuple[str, ...]) -> None:
    """The derivative in one direction that moves everything."""
    solves = Solves(TorchdiffeqEngine, cases_of([names]), rtol=1e-9)
    direction = VALUES * np.linspace(-1.0, 1.2, len(VALUES))
    _, found = solves.at(VALUES[None], EVERY, [0])
    factors = np.array([-2.0, -1.0, 1.0, 2.0]) * 5e-4
    states, _ = solves.at(VALUES + factors[:, None] * direction, DifferentiateBy(), [0] * 4)
    difference = (states[0] - states[3] + 8 * (states[2] - states[1])) / 6e-3
    assert found[0] @ direction == pytest.approx(difference, rel=1e-6, abs=1e-6 * np.abs(difference).max())


def test_steady_dosing_has_the_state_of_a_geometric_series() -> None:
    of = system({"x": "-k*x"}, ["k", "every", "lag", "amount"])
    given = protocol(doses=(dose("x", "amount", 0, every="every", lag="lag", steady=True),))
    values = np.array([0.4, 3.0, 0.5, 2.0])

    def expected(k: float, every: float, lag: float, amount: float) -> float:
        return float(amount * np.exp(-k * (every - lag)) / -np.expm1(-k * every))

    found = solved(TorchdiffeqEngine(of), of, [given], [0.0, 0.3], [7.0], values, rtol=1e-8)
    assert found.states[0, 0, 0] == pytest.approx(expected(*values), rel=1e-6)
    for place, step in enumerate(1e-6 * np.eye(4)):
        difference = (expected(*(values + step)) - expected(*(values - step))) / 2e-6
        assert found.by_parameters[0, 0, 0, place] == pytest.approx(difference, rel=1e-6, abs=1e-7)
    assert found.by_initial_state[0, :, 0] == pytest.approx(0.0, abs=1e-12)
