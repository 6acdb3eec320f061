"""The expected (Gauss–Newton) information of the unknowns: what the residuals' derivatives tell of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Booleans, Reals

FLAT_TOLERANCE = 1e-6  # a direction is flat where the residuals change by less than this part of the most they change
MIN_LENGTH = 1e-150  # of a length, whose inverse is squared
TAKES_PART = 1e-3  # in a flat direction: a component of at least this part of the largest


@dataclass(frozen=True)
class Information:
    """inverse: (JᵀJ)⁻¹, (count, count), across all directions but the flat ones; flat: those, as rows."""

    inverse: Reals
    flat: Reals

    def in_flat_direction(self) -> Booleans:
        """The unknowns that take part in a flat direction."""
        components = np.abs(self.flat)
        part: Booleans = (components > TAKES_PART * components.max(axis=1, keepdims=True, initial=0.0)).any(axis=0)
        return part


def fisher_information(jacobian: Reals, free: Booleans) -> Information:
    """From the derivatives of the scaled residuals, (observations, count), by unknowns of comparable size.

    Those that are not `free` have no row or column in the information.
    """
    count, places = jacobian.shape[1], np.flatnonzero(free)
    inverse = np.zeros((count, count))
    if not len(places):
        return Information(inverse, np.zeros((0, count)))
    triangle = np.linalg.qr(jacobian[:, places], mode="r")  # small, however many observations there are
    _, singular, directions = np.linalg.svd(triangle, full_matrices=True)
    lengths = np.zeros(len(places))
    lengths[: len(singular)] = singular
    determined = lengths > max(FLAT_TOLERANCE * lengths[0], MIN_LENGTH)
    kept = directions[determined]
    inverse[np.ix_(places, places)] = (kept.T / lengths[determined] ** 2) @ kept
    flat = np.zeros((int((~determined).sum()), count))
    flat[:, places] = directions[~determined]
    return Information(inverse, flat)
