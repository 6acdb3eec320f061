"""The parts of a step against numpy: the methods' sums of stages, and the error norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from odelib.engines.compiled.simd import address, padded
from odelib.engines.compiled.stage_sums import ERROR, ERROR_LOW, SUMS, combine, interpolate
from odelib.engines.compiled.step_control import Equations, squared_norm
from odelib.engines.compiled.tolerances import Tolerances
from odelib.engines.tableaus.registry import METHODS
from odelib.engines.tableaus.tableau import Reals, Tableau

SIZE, H, THETA = 12, 0.3, 0.37
each_method = pytest.mark.parametrize("number", range(len(METHODS)), ids=[tableau.name for tableau in METHODS])


@njit
def combined(which: int, base: Any, stages: Any, out: Any) -> None:
    combine(which, address(base), address(stages), len(base), H, address(out))


@njit
def interpolated(method: int, base: Any, stages: Any, out: Any) -> None:
    interpolate(method, THETA, address(base), address(stages), len(base), len(base), H, address(out))


@njit
def norm_of(n: int, width: int, atol: Any, error: Any, low: Any, two: bool, old: Any, new: Any) -> Any:
    start = len(old) - n * width
    equations = Equations(0, 0, 0, 0, 0, 0, n, n, start, width, len(old), 0)
    tolerances = Tolerances(1e-3, 0, False, False, 1.0, address(atol), 0, 0, 0)
    second = address(low) if two else 0
    return squared_norm(equations, tolerances, address(error), second, address(old), address(new), 0, 0)


def numbers(*shape: int) -> Reals:
    return np.random.default_rng(4).uniform(-1, 1, shape)


@each_method
def test_sums_have_the_methods_coefficients(number: int) -> None:
    tableau: Tableau = METHODS[number]
    count = len(tableau.c)
    base, stages, out = numbers(SIZE), numbers(count, SIZE), np.empty(SIZE)
    for i in range(1, count):
        combined(number * SUMS + i, base, stages, out)
        np.testing.assert_allclose(out, base + H * np.tril(tableau.a, -1)[i] @ stages, rtol=1e-12, atol=1e-14)
    for which, weights in ((ERROR, tableau.error), (ERROR_LOW, tableau.error_low)):
        combined(number * SUMS + which, base, stages, out)
        np.testing.assert_allclose(out, H * weights @ stages, rtol=1e-12, atol=1e-14)


@each_method
def test_the_interpolant_has_the_methods_coefficients(number: int) -> None:
    tableau: Tableau = METHODS[number]
    base, stages, out = numbers(SIZE), numbers(len(tableau.c), SIZE), np.empty(SIZE)
    interpolated(number, base, stages, out)
    weights = tableau.interpolant @ THETA ** np.arange(1, tableau.interpolant.shape[1] + 1)
    np.testing.assert_allclose(out, base + H * weights @ stages, rtol=1e-12, atol=1e-14)


class TestNorm:
    n, m = 3, 5
    start, width = padded(n), padded(m)
    floors = np.array([1e-5, 2e-5, 1e-4, 1e-6, 3e-5, 1.0, 1.0, 1.0])

    def row(self, seed: int) -> Reals:
        """A state and sensitivities, as they lie in memory."""
        random = np.random.default_rng(seed)
        sensitivities = np.zeros((self.n, self.width))
        sensitivities[:, : self.m] = random.normal(size=(self.n, self.m))
        return np.concatenate([random.normal(size=self.n), np.zeros(self.start - self.n), sensitivities.ravel()])

    def atol(self) -> Reals:
        return np.concatenate([np.full(self.n, 1e-5), np.ones(self.start - self.n), np.tile(self.floors, self.n)])

    def expected(self, error: Reals, low: Reals | None, old: Reals, new: Reals) -> float:
        def columns(row: Reals) -> list[Reals]:
            return [row[: self.n], *row[self.start :].reshape(self.n, self.width).T[: self.m]]

        worst = 0.0
        for j, (e, a, b) in enumerate(zip(columns(error), columns(old), columns(new), strict=True)):
            scale = ([1e-5, *self.floors])[j] + 1e-3 * np.maximum(abs(a), abs(b))
            total = float(((e / scale) ** 2).sum())
            second = 0.0 if low is None else float(((columns(low)[j] / scale) ** 2).sum())
            worst = max(worst, total**2 / (total + 0.01 * second) / self.n)
        return worst

    def found(self, error: Reals, low: Reals | None, old: Reals, new: Reals) -> float:
        second = error if low is None else low
        return float(norm_of(self.n, self.width, self.atol(), error, second, low is not None, old, new))

    @pytest.mark.parametrize("two", [False, True])
    def test_it_is_the_largest_mean_square_over_the_columns(self, two: bool) -> None:
        for seed in range(10):
            error, old, new, low = (self.row(4 * seed + i) for i in range(4))
            arguments = (error, low if two else None, old, new)
            assert self.found(*arguments) == pytest.approx(self.expected(*arguments), rel=1e-12)

    def test_it_is_not_finite_if_any_error_is_not(self) -> None:
        old, new = self.row(1), self.row(2)
        places = [*range(self.n), *(self.start + i * self.width + j for i in range(self.n) for j in range(self.m))]
        for bad in (np.nan, np.inf):
            for place in places:
                error = self.row(3)
                error[place] = bad
                assert not np.isfinite(self.found(error, None, old, new))

    def test_zeros_have_no_error(self) -> None:
        nothing = np.zeros(self.start + self.n * self.width)
        assert self.found(nothing, None, nothing, nothing) == 0.0
