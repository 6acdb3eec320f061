"""Levenberg–Marquardt over a batch: every member ends where scipy ends for it alone, and disturbs no other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from odelib.optimisers.batched.least_squares import Box, Ends, Points, minimise

Array = NDArray[np.float64]
TIMES = np.linspace(0.0, 3.0, 15)
FREE = Box(np.full(3, -np.inf), np.full(3, np.inf))


def model(x: Array) -> Array:
    """a·exp(−k·t) + c, (b, T), of coordinates (b, 3)."""
    return x[:, :1] * np.exp(-x[:, 1:2] * TIMES) + x[:, 2:]


def jacobian(x: Array) -> Array:
    decay = np.exp(-x[:, 1:2] * TIMES)
    return np.stack([decay, -x[:, :1] * TIMES * decay, np.ones_like(decay)], axis=2)


def minimised(data: Array, start: Array, box: Box = FREE, impossible: int | None = None) -> Ends:
    def linearise(members: NDArray[np.int64], x: Array) -> Points:
        residuals, by = model(x) - data[members], jacobian(x)
        loss = np.square(residuals).sum(axis=1)
        loss[members == impossible] = np.inf
        gradient = 2 * np.einsum("btk,bt->bk", by, residuals)
        negligible = 1e-3 * loss / (len(TIMES) - 3)
        return Points(x, loss, gradient, 2 * np.einsum("bti,btj->bij", by, by), residuals, negligible)

    return minimise(linearise, start, np.maximum(np.abs(start), 0.01), box, steps=50)


def problems(count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    truth = np.array([2.0, 1.2, 0.5]) * rng.uniform(0.5, 2.0, (count, 3))
    return model(truth) + 0.02 * rng.standard_normal((count, len(TIMES))), truth * rng.uniform(0.5, 1.6, (count, 3))


def assert_best(ends: Ends, data: Array, start: Array, box: Box, members: range) -> None:
    for b in members:
        alone = least_squares(
            lambda x, b=b: model(x[None])[0] - data[b], start[b], bounds=(box.lower, box.upper), xtol=1e-12, ftol=1e-12
        )
        variance = 2 * alone.cost / (len(TIMES) - 3)
        assert ends.points.loss[b] - 2 * alone.cost < 1e-3 * variance


def test_every_member_ends_at_its_own_minimum() -> None:
    data, start = problems(40)
    ends = minimised(data, start)

    assert ends.is_settled.all()
    assert_best(ends, data, start, FREE, range(40))


def test_members_do_not_depend_on_each_other() -> None:
    data, start = problems(9)
    together = minimised(data, start)
    for b in range(9):
        alone = minimised(data[b : b + 1], start[b : b + 1])
        np.testing.assert_array_equal(alone.points.coordinates[0], together.points.coordinates[b])


def test_bounds_hold_and_may_be_in_the_way() -> None:
    data, start = problems(20)
    box = Box(np.array([-np.inf, 0.0, 0.7]), np.array([np.inf, 1.0, np.inf]))
    ends = minimised(data, box.clip(start), box)

    assert ((ends.points.coordinates >= box.lower) & (ends.points.coordinates <= box.upper)).all()
    assert_best(ends, data, box.clip(start), box, range(20))


def test_one_without_a_value_or_a_unique_solution_does_not_stop_the_others() -> None:
    data, start = problems(6)
    start[2] = [0.0, 1.0, 0.0]  # k has no effect where a = 0
    data[2] = 0.0
    ends = minimised(data, start, impossible=4)

    assert not ends.is_settled[4]
    np.testing.assert_array_equal(ends.points.coordinates[4], start[4])
    assert ends.is_settled[[0, 1, 3, 5]].all()
    assert_best(ends, data, start, FREE, range(2))
