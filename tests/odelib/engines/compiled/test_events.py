"""Events in the compiled engine: when they happen, what they change, and how they end a solve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from odelib.engines.base import DifferentiateBy
from odelib.engines.compiled.engine import CompiledEngine
from odelib.errors import SolveError
from odelib.problem.protocol import Protocol
from odelib.problem.system import Event, System
from tests.odelib.engines.protocols import Array, dose, event, protocol, settings, solved, system

METHODS = ["dopri5", "tsit5", "dop853", "kvaerno5", "auto"]
G, E = 9.81, 0.8


def ball(when: str = "h <= 0 and v < 0", **more: Any) -> System:
    return system({"h": "v", "v": "-g"}, ["g", "e"], events=[event("bounce", when, {"v": "-e*v"}, **more)])


BALL = ball()


def height(t: float, h: float, v: float, g: float, e: float) -> float:
    """Of a ball that bounces at 0."""
    while t > (flight := (v + math.sqrt(v * v + 2 * g * h)) / g):
        t, h, v = t - flight, 0.0, -e * (v - g * flight)
    return h + v * t - g * t * t / 2


def one(
    of: System, times: Sequence[float], states: Sequence[float], parameters: Sequence[float],
    done: Protocol | None = None, **more: Any,
) -> tuple[Array, Array]:  # fmt: skip
    """States (T, n) and their derivatives by initial values and parameters, (T, n, n + p)."""
    found = solved(CompiledEngine(of), of, [done or protocol()], times, states, parameters, **more)
    if found.failures:
        raise found.failures[0]
    return found.states[0], np.concatenate([found.by_initial_state, found.by_parameters], axis=-1)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("when", ["h <= 0 and v < 0", "h < 0"])
def test_a_ball_bounces(when: str, method: str) -> None:
    times, point = np.linspace(0, 3, 7), np.array([1.0, 0.5, G, E])
    states, derivatives = one(ball(when), times.tolist(), point[:2].tolist(), point[2:].tolist(), method=method)
    assert states[:, 0] == pytest.approx([height(t, *point) for t in times], abs=1e-9)
    for j, step in enumerate(np.eye(4) * 1e-6):
        by_differences = [(height(t, *(point + step)) - height(t, *(point - step))) / 2e-6 for t in times]
        assert derivatives[:, 0, j] == pytest.approx(by_differences, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("when", ["h <= 0 and v < 0", "h < 0", "h <= 0"])
@pytest.mark.parametrize("e", [0.5, 0.8])
def test_bounces_without_end_are_an_error(when: str, e: float) -> None:
    with pytest.raises(SolveError, match="'bounce' happens again and again") as raised:
        one(ball(when), [0.0, 10.0], [1.0, 0.0], [G, e])
    end = math.sqrt(2 / G) * (1 + e) / (1 - e)
    assert raised.value.code == "endless_events"
    assert raised.value.time == pytest.approx(end, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_condition_stays_true_once_its_threshold_has_come_to_the_level_of_the_reset(method: str) -> None:
    """x falls, y rises and is set to 0 whenever it is above x: ever sooner until x is 0, at t = x(0), and no more."""
    sinking = system({"x": "-1", "y": "1"}, [], events=[event("back", "y > x", {"y": "0"})])
    states, derivatives = one(sinking, [0.0, 1.5], [1.0, 0.25], [], method=method)
    assert states[-1] == pytest.approx([-0.5, 0.5], abs=1e-9)
    assert derivatives[-1, 1] == pytest.approx([-1.0, 0.0], abs=1e-9)


def test_more_than_most_is_an_error() -> None:
    with pytest.raises(SolveError, match="'bounce' had happened as often") as raised:
        one(ball(most=3), [0.0, 3.0], [1.0, 0.0], [G, E])
    assert raised.value.code == "too_many_events"
    assert one(ball(most=3), [0.0, 1.9], [1.0, 0.0], [G, E])[0].shape == (2, 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_short_excursion_within_a_step_is_seen(method: str) -> None:
    """sin(t) is above 0.999 for 0.09 in every period; steps are as long as the oscillator's, or much longer."""
    watched = system({"s": "c", "c": "-s", "n": "0*k"}, ["k"], events=[event("peak", "s > 0.999", add={"n": "1"})])
    states, _ = one(watched, [0.0, 20 * math.pi], [0.0, 1.0, 0.0], [1.0], method=method, rtol=1e-5)
    assert states[-1, 2] == 10
    in_time = system({"n": "0*k"}, ["k"], events=[event("pulse", "t > 5 and t < 5.001 + 0*k", add={"n": "1"})])
    assert one(in_time, [0.0, 100.0], [0.0], [1.0], method=method)[0][-1, 0] == 1


def test_events_of_an_instant() -> None:
    """All from the values before the first of them, and again until nothing is newly true."""
    names: list[Event] = [
        event("third", "y > 5", {"x": "0.1"}, {"z": "100*x"}),
        event("first", "x > 1", {"y": "3*y + 2*x"}, {"z": "x"}),
        event("second", "not x <= 1", {"x": "x*y*0.5"}, {"z": "10*y"}),
    ]
    of = system({"x": "r", "y": "0*x", "z": "0*x"}, ["r"], events=names)
    states, derivatives = one(of, [0.0, 2.0, 3.0], [0.5, 1.5, 0.0], [0.4])
    # x = 1 at 1.25: y = 6.5, x = 0.75, z = 1 + 15; then y > 5: x = 0.1, z += 75
    assert states[1] == pytest.approx([0.1 + 0.4 * 0.75, 6.5, 91.0])
    # x = 0.1 + r*(t - (1 - x0)/r)
    assert derivatives[1, 0] == pytest.approx([1.0, 0.0, 0.0, 2.0])
    assert derivatives[1, 2] == pytest.approx([0.0, 10.0 + 50.0, 1.0, 0.0])


def test_an_event_made_true_by_a_dose_happens_at_its_time() -> None:
    of = system(
        {"x": "-k*x", "n": "0*x"}, ["k", "a", "at"], events=[event("full", "x >= 3", {"x": "0.5*x"}, {"n": "x"})]
    )
    given = protocol(doses=(dose("x", "a", "at"),))
    states, derivatives = one(
        of, [0.0, 1.0, 1.5], [2.0, 0.0], [0.5, 2.0, 1.0], given, before=torch.tensor([[False, True, False]])
    )
    at_dose = 2 * math.exp(-0.5)
    assert states[1] == pytest.approx([at_dose, 0.0])
    assert states[2] == pytest.approx([(at_dose + 2) / 2 * math.exp(-0.25), at_dose + 2])
    assert derivatives[2, 1] == pytest.approx([math.exp(-0.5), 1.0, -at_dose, 1.0, -0.5 * at_dose])
    after, _ = one(of, [0.0, 1.0], [2.0, 0.0], [0.5, 2.0, 1.0], given)
    assert after[1] == pytest.approx([(at_dose + 2) / 2, at_dose + 2])


def test_after_a_stop_the_state_stays() -> None:
    of = system({"x": "-k*x"}, ["k", "low"], events=[event("end", "x < low", stop=True)])
    states, derivatives = one(of, [0.0, 1.0, 4.0, 9.0], [2.0], [0.5, 0.7], protocol(doses=(dose("x", 5, 6),)))
    assert states[:, 0] == pytest.approx([2.0, 2 * math.exp(-0.5), 0.7, 0.7])
    assert derivatives[2, 0] == pytest.approx([0.0, 0.0, 1.0])


def test_at_the_start() -> None:
    events = [event("begin", "x > 1", {"y": "5"}, at_start=True), event("never", "x > 1", {"y": "7"})]
    of = system({"x": "-k*x", "y": "0*x"}, ["k"], events=events)
    assert one(of, [0.0, 1.0], [2.0, 0.0], [0.5])[0][:, 1].tolist() == [5.0, 5.0]
    assert one(of, [0.0, 1.0], [2.0, 0.0], [0.5], is_start=False)[0][:, 1].tolist() == [0.0, 0.0]


def test_a_crossing_that_is_hardly_one_is_told() -> None:
    of = system({"s": "c", "c": "-s", "n": "0*k"}, ["k"], events=[event("peak", "s > k", add={"n": "1"})])
    grazing = []
    for k in (0.5, 1 - 1e-6):
        engine = CompiledEngine(of)
        engine.sensitivities(
            np.array([0.0, 1.0, 0.0]),
            np.array([k]),
            settings([0.0, 3.0], [], None, DifferentiateBy((), (0,)), rtol=1e-6),
        )
        grazing.append(engine.grazing_events)
    assert grazing == [set(), {"peak"}]


def test_the_time_of_an_event_has_the_accuracy_of_the_solver() -> None:
    """The time at which a Van der Pol oscillator passes 1, kept as an amount."""
    of = system(
        {"x": "v", "v": "mu*(1 - x*x)*v - x", "s": "0*x"}, ["mu"], events=[event("pass", "x < 1", add={"s": "t - s"})]
    )
    last = one(of, [0.0, 30.0], [2.0, 0.0, 0.0], [2.0], method="dop853", rtol=1e-12)[0][-1, 2]
    for method in ("dopri5", "tsit5", "kvaerno5"):
        errors = [
            abs(one(of, [0.0, 30.0], [2.0, 0.0, 0.0], [2.0], method=method, rtol=r)[0][-1, 2] - last)
            for r in (1e-5, 1e-8)
        ]
        assert errors[0] < 1e-2
        assert errors[1] < 1e-5
