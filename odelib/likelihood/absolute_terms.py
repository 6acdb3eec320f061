"""The terms of a loss that have a kink: from Laplace noise, Laplace priors and the l1 penalty.

The loss is a smooth part plus Σ weight·|offset|. Its gradient jumps at a kink, so a quadratic model of the whole loss
would be wrong for any step across it: optimisers treat these terms exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals


@dataclass(frozen=True)
class AbsoluteTerms:
    """Terms weights·|offsets| of a loss at a point.

    jacobian: the derivatives of the offsets by the coordinates, (k, count). offsets, weights: (k,), weights above 0.
    """

    jacobian: Reals
    offsets: Reals
    weights: Reals

    @staticmethod
    def joined(absolute_terms: Sequence[AbsoluteTerms]) -> AbsoluteTerms:
        """Concatenate several groups of terms."""
        return AbsoluteTerms(
            np.concatenate([terms.jacobian for terms in absolute_terms]),
            np.concatenate([terms.offsets for terms in absolute_terms]),
            np.concatenate([terms.weights for terms in absolute_terms]),
        )

    def near_kinks(self, limit: float) -> tuple[Reals, Reals]:
        """Return the terms of at most `limit`: Jacobian times weights, (m, count), and signs of the offsets, (m,)."""
        is_near = self.weights * np.abs(self.offsets) <= limit
        return self.weights[is_near, None] * self.jacobian[is_near], np.sign(self.offsets[is_near])
