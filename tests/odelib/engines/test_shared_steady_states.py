"""Experiments that settle under the same conditions share one steady state, however they go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from odelib.engines import steady_state as steady_states
from odelib.engines.base import Engine
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torchdiffeq import TorchdiffeqEngine
from tests.odelib.engines.protocols import protocol, solved, steady_state, system


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the search for steady states."""
    asked: list[Any] = []
    search = steady_states._settled
    monkeypatch.setattr(steady_states, "_settled", lambda *given: asked.append(given) or search(*given))
    return asked


@pytest.mark.parametrize("engine", [CompiledEngine, TorchdiffeqEngine])
def test_members_with_other_constants_later_share_their_steady_state(engine: type[Engine], found: list[Any]) -> None:
    of = system({"x": "k*c - x*(1 + x)", "y": "x - y"}, ["k"], {"c": 1.0})
    settle = {"steady_state": steady_state(constants={"c": 2})}
    done = [protocol(**settle), protocol(**settle), protocol(**settle), protocol(steady_state=steady_state())]
    times = [0.0, 0.8]
    constants = np.array([[0.5], [1.0], [3.0], [3.0]])
    together = solved(engine(of), of, done, times, [0.1, 0.1], [0.7], constants, method="dopri5")
    assert len(found) == 2
    for member in range(4):
        alone = solved(engine(of), of, [done[member]], times, [0.1, 0.1], [0.7], constants[[member]], method="dopri5")
        np.testing.assert_allclose(together.states[member], alone.states[0], rtol=1e-6)
        np.testing.assert_allclose(together.by_parameters[member], alone.by_parameters[0], rtol=1e-5)
    rest = (np.sqrt(1 + 4 * 0.7 * 2) - 1) / 2
    np.testing.assert_allclose(together.states[:3, 0], rest, rtol=1e-6)


def test_a_steady_state_that_does_not_exist_is_sought_once(found: list[Any]) -> None:
    of = system({"x": "k*x"}, ["k"], {"c": 1.0})
    done = [protocol(steady_state=steady_state(constants={"c": 2}))] * 3
    failed = solved(CompiledEngine(of), of, done, [0.0, 1.0], [1.0], [0.7], np.array([[1.0], [2.0], [3.0]]))
    assert len(found) == 1
    assert [error.time for error in failed.failures.values()] == [0.0, 0.0, 0.0]
    assert len({str(error) for error in failed.failures.values()}) == 1
