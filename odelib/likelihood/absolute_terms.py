"""The parts of a loss that have a tip: Laplace noise, Laplace priors, the l1 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals


@dataclass(frozen=True)
class AbsoluteTerms:
    """Parts of a loss that are heights·|offsets|, with the offsets' slopes by the coordinates, (k, count)."""

    slopes: Reals
    offsets: Reals
    heights: Reals

    @staticmethod
    def joined(absolute_terms: Sequence[AbsoluteTerms]) -> AbsoluteTerms:
        """All of them."""
        return AbsoluteTerms(
            np.concatenate([one.slopes for one in absolute_terms]),
            np.concatenate([one.offsets for one in absolute_terms]),
            np.concatenate([one.heights for one in absolute_terms]),
        )

    def within(self, near: float) -> tuple[Reals, Reals]:
        """Those less than `near` high: their slopes times heights, and on which side of the tip the point is."""
        chosen = self.heights * np.abs(self.offsets) <= near
        return self.heights[chosen, None] * self.slopes[chosen], np.sign(self.offsets[chosen])
