"""Dense LU factorisation for the implicit method, for matrices of a few to a few hundred rows.

Not LAPACK: its calls cost more than factorising a matrix of a few rows.
"""

from __future__ import annotations

import math
from typing import Any

from odelib.engines.compiled.jit import inline_kernel, kernel

THRESHOLD = 10.0  # see `exchange_rows`


@kernel
def factorise(matrix: Any, pivots: Any, weights: Any) -> bool:
    """Factorise P·A = L·U in place; False if the matrix is singular or not finite.

    weights (n,): sizes of the errors that matter in each unknown: see `exchange_rows`. Scratch, but unchanged on
    success.
    """
    n = len(matrix)
    for k in range(n):
        if not exchange_rows(matrix, pivots, weights, k):
            return False
        inverse = 1.0 / matrix[k, k]
        for i in range(k + 1, n):
            if matrix[i, k] != 0.0:
                factor = matrix[i, k] * inverse
                matrix[i, k] = factor
                for j in range(k + 1, n):
                    matrix[i, j] -= factor * matrix[k, j]
    for k in range(n - 1, -1, -1):
        if pivots[k] != k:
            weights[k], weights[pivots[k]] = weights[pivots[k]], weights[k]
    return True


@inline_kernel
def exchange_rows(matrix: Any, pivots: Any, weights: Any, k: int) -> bool:
    """Bring the pivot of column k to the diagonal, by threshold pivoting; False if there is none.

    The pivot is the diagonal element unless another of its column is THRESHOLD times as large, measured in `weights`,
    so that the choice does not depend on the states' units. An exchange mixes rows, and leaves the rounding errors of
    large numbers in small ones. A row without weight is the last choice.
    """
    n = len(matrix)
    if not math.isfinite(matrix[k, k]):
        return False
    pivots[k] = k
    largest, pivot = THRESHOLD * abs(matrix[k, k]), k
    suits = largest > 0.0
    for i in range(k + 1, n):  # mostly nothing has to be exchanged: a loop without branches finds that out
        suits = suits & (abs(matrix[i, k]) * weights[k] <= largest * weights[i])
    if suits:
        return True
    for i in range(k + 1, n):
        size = abs(matrix[i, k])
        if size > 0.0 and (largest == 0.0 or size * weights[k] > largest * weights[i] > 0.0):
            largest, pivot = size * weights[k] / weights[i] if weights[i] > 0.0 else 0.0, i
    if matrix[pivot, k] == 0.0 or not math.isfinite(matrix[pivot, k]):
        return False
    pivots[k] = pivot
    if pivot != k:
        for j in range(n):
            matrix[k, j], matrix[pivot, j] = matrix[pivot, j], matrix[k, j]
        weights[k], weights[pivot] = weights[pivot], weights[k]
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
