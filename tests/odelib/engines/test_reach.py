"""A gradient can be had where scipy can solve the states: a reduced form of `bench.reach`.

The points lie within two decades of usual values; the reference is the benchmark's.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.peers.ours import Reaching
from bench.reach_reference import RTOL, agree, points, sizes, stored
from bench.reach_systems import systems

SYSTEMS = {problem.name: problem for problem in systems()}
# stiff, in mol/L, with states that begin at 0, with Hill functions, over decades of rates, with spikes
CHOSEN = (
    "robertson",
    "Oregonator",
    "E5",
    "ping-pong enzyme",
    "STAT5",
    "target-mediated",
    "cAMP relay",
    "Lotka–Volterra",
)


def test_the_reference_has_every_system() -> None:
    assert set(stored()) == set(SYSTEMS)
    assert len(SYSTEMS) >= 30


@pytest.mark.parametrize("name", CHOSEN)
def test_sensitivities_are_solved_wherever_scipy_solves_the_states(name: str) -> None:
    problem, scale = SYSTEMS[name], sizes(name)
    solve, missed = Reaching(problem, RTOL, max_steps=100_000), []
    for number, (parameters, end) in enumerate(zip(points(problem), stored()[name], strict=True)):
        if end is not None:
            states = solve(parameters)
            if states is None or not agree(states[-1], np.array(end), np.abs(states).max(axis=0), scale):
                missed.append(number)
    assert not missed
