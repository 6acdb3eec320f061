"""Linear systems with the transpose of a matrix that `odelib.engines.compiled.lu` has factorised."""

from __future__ import annotations

from typing import Any

from odelib.engines.compiled.adjoint.jit import kernel


@kernel
def solve_transposed(matrix: Any, pivots: Any, right: Any) -> None:
    """Solve Aᵀ·x = right, (n,), in place, with P·A = L·U from `factorise`.

    First with Uᵀ, then with Lᵀ; then come the exchanges, backwards.
    """
    n = len(pivots)
    for k in range(n):
        right[k] /= matrix[k, k]
        if right[k] != 0.0:
            for j in range(k + 1, n):
                right[j] -= matrix[k, j] * right[k]
    for k in range(n - 1, 0, -1):
        if right[k] != 0.0:
            for j in range(k):
                right[j] -= matrix[k, j] * right[k]
    for k in range(n - 1, -1, -1):
        if pivots[k] != k:
            right[k], right[pivots[k]] = right[pivots[k]], right[k]
