"""Protocols as schedules: what happens when, in which order, and with which derivatives."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.schedules.extended_system import ExtendedSystem
from odelib.engines.schedules.schedule import ADD, ASSIGN, HOLD, PIECE, RESET, SWITCH, Schedule
from odelib.problem.protocol import Protocol
from odelib.problem.system import System
from tests.odelib.engines.protocols import change, dose, knots, protocol, solved, steady_state, system

NAMES = {SWITCH: "switch", PIECE: "piece", HOLD: "hold", ASSIGN: "assign", ADD: "add", RESET: "reset"}
VALUES = {"ka": 1.0, "k": 0.1, "lag": 0.5, "F": 0.8, "D": 2.0, "V": 2.0, "q": 1.0}


def absorption(**more: Any) -> System:
    equations = {"a": "-ka*a", "c": "ka*a/V - k*c + q"}
    return system(equations, ["ka", "k", "lag", "F", "D"], {"V": 2.0, "q": 1.0}, **more)


def schedule_of(
    of: System, *protocols: Protocol, first: float = 0.0, last: float = 40.0, values: dict[str, float] | None = None,
    is_start: bool = True, **more: Any,
) -> Schedule:  # fmt: skip
    own = np.array([list((VALUES | (values or {})).values())] * len(protocols))
    count = len(protocols)
    return ExtendedSystem(of, protocols).schedule(
        range(count), own, np.full(count, first), np.full(count, last), is_start=is_start, with_jacobian=True, **more
    )


def entries(schedule: Schedule, member: int = 0) -> list[tuple[float, str, int, float]]:
    """Time, kind, target and value of each."""
    used = np.isfinite(schedule.times[member])
    arrays = (schedule.times, schedule.kinds, schedule.targets, schedule.values)
    return [
        (round(t, 12), NAMES[kind], target, round(value, 12))
        for t, kind, target, value in zip(*(array[member][used].tolist() for array in arrays), strict=True)
    ]


def derivatives(schedule: Schedule, rows: Any, place: int) -> list[float]:
    row = rows[0, place]
    found: list[float] = (np.zeros(5) if row < 0 else schedule.jacobian[row]).tolist()
    return found


def test_repeated_doses_with_lag_and_fraction() -> None:
    given = protocol(doses=(dose("a", 100, 0, every="12", count=3, lag="lag", fraction="F"),))
    found = schedule_of(absorption(), given)
    assert entries(found) == [(0.5, "add", 0, 80.0), (12.5, "add", 0, 80.0), (24.5, "add", 0, 80.0)]
    assert derivatives(found, found.time_rows, 2) == [0, 0, 1, 0, 0]
    assert derivatives(found, found.rows, 2) == [0, 0, 0, 100, 0]
    assert len(set(found.time_rows[0].tolist())) == 1  # one row: they may be applied as one where they coincide


def test_an_infusion_by_duration_and_one_by_rate() -> None:
    by_duration = protocol(doses=(dose("c", 10, 5, duration="D", fraction="F"),))
    by_rate = protocol(doses=(dose("c", 10, 5, rate="4", fraction="F"),))
    found = schedule_of(absorption(), by_duration)
    assert entries(found) == [(5.0, "assign", 2, 4.0), (7.0, "assign", 2, 0.0)]
    assert derivatives(found, found.rows, 0) == [0, 0, 0, 5.0, -2.0]
    assert derivatives(found, found.time_rows, 1) == [0, 0, 0, 0, 1.0]
    found = schedule_of(absorption(), by_rate)  # its rate is a number, which has no sensitivities to carry
    assert entries(found) == [(5.0, "hold", 2, 4.0), (7.0, "hold", 2, 0.0)]
    assert derivatives(found, found.time_rows, 1) == [0, 0, 0, 2.5, 0]


def test_overlapping_infusions_add_up_and_leave_nothing_behind() -> None:
    given = protocol(doses=tuple(dose("c", 0.1 * (k + 1), k, duration=3) for k in range(4)))
    rates = [value for _, _, _, value in entries(schedule_of(absorption(), given))]
    assert rates == pytest.approx([tenths / 30 for tenths in (1, 3, 6, 5, 9, 7, 4, 0)])
    assert rates[-1] == 0.0


def test_what_happens_at_one_instant_is_in_order() -> None:
    given = protocol(
        {"u": 3},
        doses=(dose("a", 1, 2.0 + 1e-13), dose("c", 6, 0, duration=2), dose("c", 4, 2, duration=1)),
        changes=(change(2.0 - 1e-13, to_set={"a": 0}, add={"c": "a*F"}, constants={"V": 3}, inputs={"u": 4}),),
    )
    found = schedule_of(absorption(inputs=["u"]), given)
    assert [(t, kind) for t, kind, _, _ in entries(found)] == [
        (0.0, "hold"), (2.0, "hold"), (2.0, "reset"), (2.0, "assign"), (2.0, "add"), (2.0, "piece"), (2.0, "hold"),
        (2.0, "hold"), (3.0, "hold"),
    ]  # fmt: skip
    assert [value for _, kind, target, value in entries(found) if (kind, target) == ("hold", 7)] == [3, 0, 4, 0]
    assert len(set(found.times[0, 1:8].tolist())) == 1


def test_a_constant_that_changes_with_parameters_becomes_a_held_state() -> None:
    given = protocol(changes=(change(3, constants={"q": "2*k"}), change("D", constants={"q": "k + q"})))
    extended = ExtendedSystem(absorption(), (given, protocol()))
    assert extended.system.states == ("a", "c", "held q")
    found = schedule_of(absorption(), given, protocol())
    assert entries(found) == [(2.0, "assign", 2, 1.1), (3.0, "assign", 2, 0.2)]
    assert found.held.tolist() == [[1.0], [1.0]]
    assert entries(found, 1) == []


def test_a_segment_begins_with_what_has_happened_before() -> None:
    given = protocol(
        {"u": knots([0.0, 1.0, 2.0, 30.0], [0.0, 1.0, 3.0, 3.0], "linear", "zero")},
        doses=(dose("a", 5, [0, 1.5, 10]), dose("c", 8, 1, duration="D")),
        changes=(change(1, constants={"V": 7}), change(1.2, to_set={"a": 0})),
    )
    found = schedule_of(absorption(inputs=["u"]), given, first=1.5, is_start=False)
    assert entries(found) == [(2.0, "piece", 2, 0.0), (3.0, "assign", 2, 0.0), (10.0, "add", 0, 5.0),
                              (30.0, "piece", 2, 0.0)]  # fmt: skip
    assert found.held.tolist() == [[4.0]]
    assert found.constants[0, [0, 2, 3, 4]].tolist() == [7.0, 1.0, 1.0, 2.0]  # V, and t₀, c₀, c₁ of u
    assert found.jacobian[found.held_rows[0, 0]].tolist() == [0, 0, 0, 0, -2.0]


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (protocol(doses=(dose("a", 1, "lag - 1"),)), "before_start"),
        (protocol(changes=(change("lag - 1", to_set={"a": 0}),)), "before_start"),
        (protocol(doses=(dose("c", 1, 0, duration="lag - 1"),)), "dose"),
        (protocol(doses=(dose("c", 1, 0, rate="lag - 1"),)), "dose"),
        (protocol(doses=(dose("a", 1, 0, every="lag - 1", count=2),)), "dose"),
        (protocol(doses=(dose("a", "log(lag - 1)", 0),)), "dose"),
        (protocol(changes=(change("1/(lag - 0.5)", to_set={"a": 0}),)), "change"),
    ],
)
def test_a_member_that_cannot_be_given_this_fails_alone(given: Protocol, code: str) -> None:
    found = schedule_of(absorption(), given, protocol(doses=(dose("a", 1, 3),)))
    assert {member: error.code for member, error in found.failures.items()} == {0: code}
    assert entries(found, 1) == [(3.0, "add", 0, 1.0)]


def test_what_lies_before_a_later_start_may_be_left_out() -> None:
    given = protocol(
        {"u": knots([0.0, 4.0], [1.0, 5.0])},
        doses=(dose("a", 5, 0, every=2, count=3), dose("c", 8, 1, duration=4)),
        changes=(change(1, constants={"V": 7}),),
    )
    found = schedule_of(absorption(inputs=["u"]), given, first=2.0, skips_earlier=True)
    assert [(t, kind) for t, kind, _, _ in entries(found)] == [(2.0, "add"), (4.0, "add"), (4.0, "piece")]
    assert found.constants[0, [0, 3]].tolist() == [2.0, 1.0]


def test_moving_discontinuities_of_equations_are_among_the_entries() -> None:
    of = system({"x": "where(t < lag + 1, 1, 0) - x"}, ["ka", "k", "lag", "F", "D"], {"V": 1.0, "q": 1.0})
    found = schedule_of(of, protocol(doses=(dose("x", 1, 1),)))
    assert [(t, kind) for t, kind, _, _ in entries(found)] == [(1.0, "add"), (1.5, "switch")]
    assert derivatives(found, found.time_rows, 1) == [0, 0, 1, 0, 0]


def test_observables_see_inputs_and_constants_of_their_time() -> None:
    given = protocol(
        {"u": knots([0.0, 2.0, 4.0], [1.0, "F", 3.0], "previous")},
        changes=(change("D + 1", inputs={"u": "k*t"}, constants={"q": "k"}), change(5, constants={"V": 9})),
    )
    extended = ExtendedSystem(absorption(inputs=["u"]), (given,))
    times = torch.tensor([[0.0, 2.0, 2.9, 3.0, 3.0, 6.0]], dtype=torch.float64)
    before = torch.tensor([[False, True, False, True, False, False]])
    parameters = torch.tensor([list(VALUES.values())[:5]], dtype=torch.float64, requires_grad=True)
    found = extended.observed_values([0], times, before, parameters, torch.tensor([[2.0, 1.0]], dtype=torch.float64))
    assert found["u"][0].tolist() == pytest.approx([1.0, 0.8, 0.8, 0.8, 0.3, 0.6])
    assert found["q"][0].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 0.1, 0.1])
    assert found["V"][0].tolist() == [2.0] * 5 + [9.0]
    (by,) = torch.autograd.grad(found["u"].sum() + found["q"].sum(), parameters)
    assert by[0].tolist() == pytest.approx([0, 3.0 + 6.0 + 2.0, 0, 3.0, 0])


def test_thousands_of_numbers_are_put_in_order_once() -> None:
    hours = np.arange(10_000.0)
    given = protocol(
        {"u": knots(hours.tolist(), np.sin(hours).tolist())}, doses=(dose("a", 1, 0, every=24, count=400),)
    )
    extended = ExtendedSystem(absorption(inputs=["u"]), (given,))
    values, ends = np.array([list(VALUES.values())]), (np.zeros(1), np.full(1, 9_999.0))
    first = extended.schedule([0], values, *ends, is_start=True, with_jacobian=True)
    began = time.process_time()
    for _ in range(100):
        again = extended.schedule([0], values * 1.01, *ends, is_start=True, with_jacobian=True)
    assert again.times is first.times
    assert time.process_time() - began < 0.5  # 100 µs each
    assert np.isfinite(first.times).sum() == 9_999 + 400  # the first knot is at the start, the last dose within


def test_a_slow_state_settles_beside_a_fast_one() -> None:
    """By ten orders of magnitude: the row of the slow one in the Jacobian is small, not dependent on others."""
    of = system({"fast": "1e5*(k - fast)", "slow": "1e-5*(fast - slow)"}, ["k"])
    done = [protocol(steady_state=steady_state())]
    found = solved(CompiledEngine(of), of, done, [0.0, 1.0], [0.2, 0.1], [0.7], method="auto")
    assert not found.failures
    np.testing.assert_allclose(found.states[0], 0.7, rtol=1e-9)
    np.testing.assert_allclose(found.by_parameters[0, :, :, 0], 1.0, rtol=1e-9)
