"""The kernels for GPUs, their text compiled for the CPU, against the compiled engine: everything but the launch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from odelib.engines.base import DifferentiateBy, SolverOptions, never
from odelib.engines.compiled.kernels import Solved, kernels_of
from odelib.engines.cuda import source
from odelib.errors import FitError, StopRequested
from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.limits import Limits
from odelib.problem.solver import AbsoluteTolerance
from odelib.problem.system import System, SystemDefinition
from tests.odelib.engines.cuda.host import COMPILER, host_kernels
from tests.systems import STIFF, SYSTEMS

Array = NDArray[np.float64]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no g++")
TIMES = np.array([0.0, 0.0, 0.1, 0.35, 0.6, 1.0, 1.0])


def system_of(definition: dict[str, Any]) -> System:
    return build_system(SystemDefinition.model_validate(definition), limits=Limits())


def options(method: str = "auto", atol: AbsoluteTolerance = "auto", max_steps: int = 20_000) -> SolverOptions:
    return SolverOptions(method, 1e-6, atol, max_steps)


def both(
    system: System, states: Array, values: Array, end: float, settings: SolverOptions, by: DifferentiateBy | None = None
) -> tuple[Solved, Solved]:
    """A batch solved by the compiled engine and by the kernels for GPUs."""
    by = by or DifferentiateBy(tuple(range(len(system.states))), tuple(range(len(system.parameters))))
    times = np.ascontiguousarray(end * TIMES[None])
    expected = kernels_of(system).solve(times, states, values, by, settings, never)
    return expected, host_kernels(system).solve(times, states, values, by, settings, never)


def assert_same(expected: Solved, found: Solved, tolerance: float) -> None:
    """States and sensitivities, in units of the largest of each, and all that is said of the solve."""
    for one, other in ((expected.states, found.states), (expected.sensitivities, found.sensitivities)):
        largest = np.nanmax(np.abs(one), axis=(0, 1), initial=1e-300)
        assert np.nanmax(np.abs(one - other) / largest, initial=0.0) < tolerance
        assert (np.isnan(one) == np.isnan(other)).all()
    assert found.methods == expected.methods
    assert found.most_steps == pytest.approx(expected.most_steps, rel=0.02 if expected.failures else 0)
    assert {b: (e.code, pytest.approx(e.time, rel=1e-6)) for b, e in expected.failures.items()} == {
        b: (e.code, e.time) for b, e in found.failures.items()
    }


def spread(values: list[float], count: int = 6) -> Array:
    rng = np.random.default_rng(1)
    return np.array(values) * (1 + 0.05 * rng.standard_normal((count, len(values))))


# rounding differs; the errors of steps are small differences, which carry it to the sizes of the next steps
CASES = [("Robertson", "auto"), ("HIRES", "kvaerno5"), ("van der Pol, mild", "auto"), ("all functions", "dop853")]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_solutions_are_those_of_the_compiled_engine(name: str, method: str) -> None:
    example = {**SYSTEMS, **STIFF}[name]
    states, values = spread(example.state_values), spread(example.parameter_values)
    assert_same(*both(system_of(example.definition), states, values, example.end, options(method)), 1e-8)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "kvaerno5"])
def test_all_methods_with_tolerances_as_numbers_and_as_many_unknowns_as_are_asked_for(method: str) -> None:
    system = CATALOGUE["lotka-volterra"]
    states, values = spread([1.0, 0.8]), spread([1.3, 0.9, 0.8, 1.8])
    for by in (DifferentiateBy((1,), (0, 3)), DifferentiateBy()):
        assert_same(*both(system, states, values, 5.0, options(method, 1e-8), by), 1e-9)


def test_one_that_fails_fails_alone_with_the_reason_of_the_compiled_engine() -> None:
    equations = {"x": "a*x**2", "y": "b*log(3 - x)"}
    system = system_of({"states": ["x", "y"], "parameters": ["a", "b"], "equations": equations})
    values = np.array([[-1.0, 1.0], [5.0, 1.0], [-2.0, 1.0], [0.5, 1.0], [-1.0, 1.0], [5.0, 0.0], [-2.0, 2.0]])
    states = np.array([[1.0, 1.0], [1.0, 1.0], [np.nan, 1.0], [1.9, 0.0], [3.5, 1.0], [-1.0, 1.0], [0.5, 1.0]])
    expected, found = both(system, states, values, 3.0, options())

    assert set(expected.failures) == {1, 2, 3, 4}
    assert_same(expected, found, 1e-6)
    assert [str(found.failures[b]) for b in (2, 4)] == [str(expected.failures[b]) for b in (2, 4)]


def test_no_member_takes_more_than_max_steps() -> None:
    example = STIFF["van der Pol, mu = 1000"]
    system, states, values = system_of(example.definition), spread(example.state_values), spread([1000.0])
    expected, found = both(system, states, values, example.end, options("dopri5", max_steps=50))

    assert len(expected.failures) == 6
    assert_same(expected, found, 1e-6)


def test_arguments_just_beyond_a_border_and_unknowns_that_are_0() -> None:
    tank = {
        "states": ["h", "below"], "parameters": ["k", "leak"],
        "equations": {"h": "-k*sqrt(h)", "below": "k*sqrt(h) - leak*below"},
    }  # fmt: skip
    states, values = np.array([[1.0, 0.0], [0.3, 0.0]]), np.array([[1.0, 0.1], [2.0, 0.0]])
    assert_same(*both(system_of(tank), states, values, 4.0, options()), 1e-6)


def test_what_the_kernels_do_not_solve_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    switched = {"states": ["x"], "parameters": ["k"], "equations": {"x": "where(t < 0.5, -k*x, 0)"}}
    with pytest.raises(FitError, match="no events, inputs or comparisons with time on a GPU"):
        host_kernels(system_of(switched))
    monkeypatch.setattr(source, "MAX_OPERATIONS", 5)
    with pytest.raises(FitError, match="operations in the equations"):
        host_kernels(CATALOGUE["lorenz"])


def test_a_batch_is_solved_in_blocks_and_stops_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    system = CATALOGUE["lotka-volterra"]
    states, values = spread([1.0, 0.8], 5), spread([1.3, 0.9, 0.8, 1.8], 5)
    kernels, by = host_kernels(system), DifferentiateBy((0,), ())
    times = np.stack([(1 + b) * TIMES for b in range(5)])
    whole = kernels.solve(times, states, values, by, options(), never)
    monkeypatch.setattr(kernels, "block_size", lambda times, columns: 2)
    calls: list[None] = []

    np.testing.assert_array_equal(kernels.solve(times, states, values, by, options(), never).states, whole.states)
    with pytest.raises(StopRequested, match="cancelled"):
        kernels.solve(
            times, states, values, by, options(), lambda: "cancelled" if calls.append(None) or len(calls) > 1 else None
        )
