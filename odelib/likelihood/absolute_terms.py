"""The terms of a loss that have a kink: Laplace noise, Laplace priors, the l1 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals


@dataclass(frozen=True)
class AbsoluteTerms:
    """Terms weights·|offsets| of a loss, (k,) each, with the offsets' Jacobian by the coordinates, (k, count)."""

    jacobian: Reals
    offsets: Reals
    weights: Reals

    @staticmethod
    def joined(absolute_terms: Sequence[AbsoluteTerms]) -> AbsoluteTerms:
        """All of them."""
        return AbsoluteTerms(
            np.concatenate([one.jacobian for one in absolute_terms]),
            np.concatenate([one.offsets for one in absolute_terms]),
            np.concatenate([one.weights for one in absolute_terms]),
        )

    def near_kinks(self, limit: float) -> tuple[Reals, Reals]:
        """The terms of at most `limit`: Jacobian times weights, (m, count), and the signs of the offsets, (m,)."""
        chosen = self.weights * np.abs(self.offsets) <= limit
        return self.weights[chosen, None] * self.jacobian[chosen], np.sign(self.offsets[chosen])
