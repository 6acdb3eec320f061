"""Batches solved in lanes: as the loop solves each member, whatever its neighbours do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odelib.engines.base import DifferentiateBy, SolverOptions, StopCheck, never
from odelib.engines.compiled.kernels import Solved, kernels_of
from odelib.engines.compiled.lane_kernels import lane_kernels_of
from odelib.errors import StopReason, StopRequested
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.limits import Limits
from odelib.problem.system import System, SystemDefinition
from tests.systems import SYSTEMS

Array = NDArray[np.float64]
OPTIONS = SolverOptions("auto", 1e-6, "auto", 20_000)


def system_of(definition: dict[str, Any]) -> System:
    return build_system(SystemDefinition.model_validate(definition), limits=Limits())


def spread(values: list[float], count: int) -> Array:
    rng = np.random.default_rng(4)
    return np.array(values) * (1 + 0.1 * rng.standard_normal((count, len(values))))


def both(
    system: System, times: Array, states: Array, values: Array, by: DifferentiateBy,
    options: SolverOptions = OPTIONS, stop: StopCheck = never,
) -> tuple[Solved, Solved, int]:  # fmt: skip
    """The batch solved by the loop and in lanes, and how many members the lanes left."""
    left_over = [0]

    def others(left: NDArray[np.bool_]) -> Solved:
        left_over[0] = int(left.sum())
        own = times if len(times) == 1 else times[left]
        return kernels_of(system).solve(own, states[left], values[left], by, options, stop)

    expected = kernels_of(system).solve(times, states, values, by, options, stop)
    lanes = lane_kernels_of(system)
    assert lanes.are_able(len(states), by, options)
    return expected, lanes.solve(times, states, values, by, options, stop, others), left_over[0]


def assert_same(expected: Solved, found: Solved) -> None:
    for one, other in ((expected.states, found.states), (expected.sensitivities, found.sensitivities)):
        largest = np.nanmax(np.abs(one), axis=(0, 1), initial=1e-300)
        assert np.nanmax(np.abs(one - other) / largest, initial=0.0) < 1e-8
        assert (np.isnan(one) == np.isnan(other)).all()
    assert found.most_steps == expected.most_steps
    assert {b: (e.code, e.time) for b, e in found.failures.items()} == {
        b: (e.code, e.time) for b, e in expected.failures.items()
    }


@pytest.mark.parametrize("method", ["auto", "tsit5"])
@pytest.mark.parametrize("columns", [DifferentiateBy((1,), (0, 3)), DifferentiateBy()])
def test_every_member_has_its_own_times_and_steps(method: str, columns: DifferentiateBy) -> None:
    """Not a whole number of lanes; times that repeat, within a step and at the ends."""
    count = 67
    times = np.linspace(1.0, 9.0, count)[:, None] * np.array([0.0, 0.0, 0.2, 0.2001, 0.7, 1.0, 1.0])
    states, values = spread([1.0, 0.8], count), spread([1.3, 0.9, 0.8, 1.8], count)
    options = SolverOptions(method, 1e-6, "auto" if method == "auto" else 1e-8, 20_000)
    expected, found, left = both(CATALOGUE["lotka-volterra"], times, states, values, columns, options)

    assert left == 0
    assert_same(expected, found)


@pytest.mark.parametrize("name", ["Duffing, driven", "Goodwin", "pendulum"])
def test_systems_with_functions_and_powers(name: str) -> None:
    example = SYSTEMS[name]
    # lanes leave what begins at 0
    states, values = spread([y or 0.1 for y in example.state_values], 64), spread(example.parameter_values, 64)
    by = DifferentiateBy(tuple(range(states.shape[1])), tuple(range(values.shape[1])))
    times = np.linspace(0.0, example.end, 9)[None]
    expected, found, left = both(system_of(example.definition), times, states, values, by)

    assert left == 0
    assert_same(expected, found)


def test_what_lanes_do_not_solve_leaves_the_others_as_they_are() -> None:
    """One is stiff, one blows up, one has no value, one starts at 0, one has an unknown of 0, one takes many steps."""
    system = system_of(
        {"states": ["x", "y"], "parameters": ["a", "b"], "equations": {"x": "a*x**2", "y": "b*(cos(t) - y)"}}
    )
    states, values = spread([1.0, 0.5], 70), spread([-1.0, 2.0], 70)
    values[3], values[10], values[21] = (-1.0, 1e5), (5.0, 1.0), (0.0, 1.0)
    states[30, 0], states[40, 1] = np.nan, 0.0
    by, times = DifferentiateBy((0, 1), (0, 1)), np.linspace(0.0, 2.0, 5)[None]
    expected, found, left = both(system, times, states, values, by)

    assert set(expected.failures) == {10, 30}
    assert left == 5
    assert_same(expected, found)
    assert set(found.methods) == {"dopri5", "kvaerno5"}
    few = SolverOptions("auto", 1e-6, "auto", 12)
    expected, found, left = both(system, times, states, values, by, few)
    assert 5 < len(expected.failures) < left + 1
    assert_same(expected, found)


def test_a_tank_that_runs_empty_leaves_its_lane() -> None:
    system = system_of({"states": ["h"], "parameters": ["k"], "equations": {"h": "-k*sqrt(h)"}})
    states, values = spread([1.0], 64), np.where(np.arange(64)[:, None] % 2 == 0, 0.5, 2.5)
    by, times = DifferentiateBy((0,), (0,)), np.linspace(0.0, 1.2, 5)[None]
    expected, found, left = both(system, times, states, values, by)

    assert left == 32
    assert_same(expected, found)


def test_a_batch_in_lanes_stops_when_asked() -> None:
    states, values, calls = spread([1.0, 0.8], 64), spread([1.3, 0.9, 0.8, 1.8], 64), [0]

    def stop() -> StopReason | None:
        calls[0] += 1
        return "cancelled" if calls[0] > 3 else None

    times = np.array([[0.0, 1e6]])
    options = SolverOptions("dopri5", 1e-6, "auto", 2**31 - 1)
    with pytest.raises(StopRequested, match="cancelled"):
        lane_kernels_of(CATALOGUE["lotka-volterra"]).solve(
            times, states, values, DifferentiateBy((0,), ()), options, stop, lambda left: pytest.fail("not solved")
        )


@pytest.mark.parametrize("equation", ["where(x > 1, -k*x, 0)", "floor(k)*x", "min(k, x)"])
def test_systems_that_lanes_cannot_compute_are_left_to_the_loop(equation: str) -> None:
    system = system_of({"states": ["x"], "parameters": ["k"], "equations": {"x": equation}})
    assert not lane_kernels_of(system).are_able(1000, DifferentiateBy((0,), (0,)), OPTIONS)
