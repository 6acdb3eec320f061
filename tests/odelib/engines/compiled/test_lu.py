"""The linear solver of the implicit method, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from odelib.engines.compiled.lu import back_substitute, factorise


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12])
def test_linear_equations_are_solved_with_row_exchanges_after_the_first_column(n: int) -> None:
    random = np.random.default_rng(n)
    for _ in range(100):
        matrix, right = random.normal(size=(n, n)), random.normal(size=(n, 3))
        factors, pivots, found = matrix.copy(), np.zeros(n, dtype=np.int64), right.copy()
        assert factorise(factors, pivots, np.ones(n))
        back_substitute(factors, pivots, found)
        np.testing.assert_allclose(matrix @ found, right, atol=1e-10 * np.abs(found).max())


def test_the_choice_of_pivots_does_not_depend_on_the_units() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        matrix, units = random.normal(size=(5, 5)), 2.0 ** random.integers(-30, 30, 5)
        pivots = np.zeros((2, 5), dtype=np.int64)
        assert factorise(matrix.copy(), pivots[0], np.ones(5))
        assert factorise(matrix * units[:, None] / units, pivots[1], units.copy())
        np.testing.assert_array_equal(pivots[0], pivots[1])


def test_a_singular_matrix_is_reported() -> None:
    assert not factorise(np.array([[1.0, 2.0], [2.0, 4.0]]), np.zeros(2, dtype=np.int64), np.ones(2))
