"""Dense LU factorisation for the implicit method, for matrices of a few to a few hundred rows.

Not LAPACK: its calls cost more than factorising a matrix of a few rows.
"""

from __future__ import annotations

import math
from typing import Any

from odelib.engines.compiled.jit import kernel


@kernel
def factorise(matrix: Any, pivots: Any) -> bool:
    """Factorise P·A = L·U in place, with partial pivoting; False if the matrix is singular or not finite."""
    n = len(matrix)
    for k in range(n):
        largest, pivot = abs(matrix[k, k]), k
        for i in range(k + 1, n):
            if abs(matrix[i, k]) > largest:
                largest, pivot = abs(matrix[i, k]), i
        if not (largest > 0.0 and math.isfinite(largest)):
            return False
        pivots[k] = pivot
        if pivot != k:
            for j in range(n):
                matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
        inverse = 1.0 / matrix[k, k]
        for i in range(k + 1, n):
            if matrix[i, k] != 0.0:
                factor = matrix[i, k] * inverse
                matrix[i, k] = factor
                for j in range(k + 1, n):
                    matrix[i, j] -= factor * matrix[k, j]
    return True


@kernel
def back_substitute(matrix: Any, pivots: Any, right: Any) -> None:  # noqa: C901  only nested loops
    """Solve A·X = right, (n, m), in place, with A factorised by `factorise`.

    `factorise` exchanges whole rows, the factors of earlier columns included, as LAPACK does: all exchanges come
    before the substitution. Zero factors are skipped, which makes sparse matrices cheaper.
    """
    n, m = right.shape
    for k in range(n):
        pivot = pivots[k]
        if pivot != k:
            for j in range(m):
                right[k, j], right[pivot, j] = right[pivot, j], right[k, j]
    for k in range(n):
        for i in range(k + 1, n):
            factor = matrix[i, k]
            if factor != 0.0:
                for j in range(m):
                    right[i, j] -= factor * right[k, j]
    for k in range(n - 1, -1, -1):
        for i in range(k + 1, n):
            factor = matrix[k, i]
            if factor != 0.0:
                for j in range(m):
                    right[k, j] -= factor * right[i, j]
        inverse = 1.0 / matrix[k, k]
        for j in range(m):
            right[k, j] *= inverse
