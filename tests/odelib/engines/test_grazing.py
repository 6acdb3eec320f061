"""Events whose condition hardly becomes true are named, by both engines."""

from __future__ import annotations

import pytest

from odelib.engines.base import Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from tests.odelib.engines.protocols import event, protocol, solved, system


def happening(engine: type[Engine], level: float, rtol: float = 1e-4) -> tuple[float, set[str]]:
    """How often sin t comes above a level, and what grazes."""
    equations = {"x": "v", "v": "-x", "n": "0*level"}
    of = system(equations, ["level"], events=[event("peak", "x > level", add={"n": "1"})])
    solver = engine(of)
    found = solved(solver, of, [protocol()], [0.0, 3.0], [0.0, 1.0, 0.0], [level], rtol=rtol)
    assert not found.failures
    return float(found.states[0, -1, 2]), solver.grazing_events


# torchdiffeq's steps err by more than 1e-4 at this tolerance
@pytest.mark.parametrize(("engine", "peak"), [(CompiledEngine, 1 - 1e-4), (TorchdiffeqEngine, 1 - 5e-4)])
def test_a_peak_that_just_reaches_a_level_grazes(engine: type[Engine], peak: float) -> None:
    assert happening(engine, 0.5) == (1.0, set())
    assert happening(engine, 0.9) == (1.0, set())
    assert happening(engine, peak) == (1.0, {"peak"})


@pytest.mark.parametrize("engine", [CompiledEngine, TorchdiffeqEngine])
def test_a_condition_that_is_true_for_a_fraction_of_a_step_is_not_missed(engine: type[Engine]) -> None:
    assert happening(engine, 1 - 1e-5, 1e-6)[0] == 1.0  # for 0.009, in a step of about 0.3
    assert happening(engine, 1 + 1e-5, 1e-6)[0] == 0.0
