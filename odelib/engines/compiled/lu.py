"""Linear equations for the implicit methods: dense LU, for matrices of a few to a few hundred rows."""

from __future__ import annotations

import math
from typing import Any

from odelib.engines.compiled.step_control import kernel


@kernel
def factorise(matrix: Any, pivots: Any) -> bool:
    """LU with partial pivoting, in place; False where the matrix is singular or not finite."""
    n = len(matrix)
    for k in range(n):
        best, place = abs(matrix[k, k]), k
        for i in range(k + 1, n):
            if abs(matrix[i, k]) > best:
                best, place = abs(matrix[i, k]), i
        if not (best > 0.0 and math.isfinite(best)):
            return False
        pivots[k] = place
        if place != k:
            for j in range(n):
                matrix[k, j], matrix[place, j] = matrix[place, j], matrix[k, j]
        inverse = 1.0 / matrix[k, k]
        for i in range(k + 1, n):
            if matrix[i, k] != 0.0:
                factor = matrix[i, k] * inverse
                matrix[i, k] = factor
                for j in range(k + 1, n):
                    matrix[i, j] -= factor * matrix[k, j]
    return True


@kernel
def back_substitute(matrix: Any, pivots: Any, right: Any) -> None:  # noqa: C901  loops within loops, and no more
    """Solve for the columns of `right` (n, m), in place."""
    n, m = right.shape
    for k in range(n):
        place = pivots[k]
        if place != k:
            for j in range(m):
                right[k, j], right[place, j] = right[place, j], right[k, j]
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
