"""The expected information JᵀJ of the unknowns, with J the derivatives of the residuals in units of their scale.

For least squares JᵀJ is the Gauss–Newton matrix, for a likelihood the Fisher information. A direction in which hardly
any residual changes is flat: the data do not determine it, and JᵀJ has no inverse along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Booleans, Reals

FLAT_TOLERANCE = 1e-6  # a direction is flat if the residuals change by less than this fraction of the most they change
MIN_SINGULAR_VALUE = 1e-150  # its inverse square is still a finite number
MIN_COMPONENT = 1e-3  # of the largest component of a flat direction: an unknown with less takes no part in it


@dataclass(frozen=True)
class Information:
    """The information of `count` unknowns.

    inverse: (JᵀJ)⁻¹ without the flat directions, (count, count); rows and columns of unknowns that are not free are 0.
    flat: the flat directions, one unit vector a row, (directions, count).
    """

    inverse: Reals
    flat: Reals

    def in_flat_direction(self) -> Booleans:
        """Return which unknowns take part in a flat direction, (count,)."""
        components = np.abs(self.flat)
        takes_part = components > MIN_COMPONENT * components.max(axis=1, keepdims=True, initial=0.0)
        return np.asarray(takes_part.any(axis=0))


def fisher_information(jacobian: Reals, free: Booleans) -> Information:
    """Invert the information of the free unknowns.

    jacobian: J, (residuals, count), by unknowns in units of their magnitude: flat directions depend on these units.
    free: (count,).

    J = QR and R = UΣVᵀ give (JᵀJ)⁻¹ = VΣ⁻²Vᵀ. JᵀJ itself is not formed: its condition number is the square of J's, and
    directions below the square root of the rounding error would be lost.
    """
    count, places = jacobian.shape[1], np.flatnonzero(free)
    inverse = np.zeros((count, count))
    if not len(places):
        return Information(inverse, np.zeros((0, count)))
    triangle = np.linalg.qr(jacobian[:, places], mode="r")  # small, however many residuals there are
    _, found, directions = np.linalg.svd(triangle, full_matrices=True)
    singular_values = np.zeros(len(places))  # 0 for those that fewer residuals than unknowns leave out
    singular_values[: len(found)] = found
    is_determined = singular_values > max(FLAT_TOLERANCE * singular_values[0], MIN_SINGULAR_VALUE)
    kept = directions[is_determined]
    inverse[np.ix_(places, places)] = (kept.T / singular_values[is_determined] ** 2) @ kept
    flat = np.zeros((int((~is_determined).sum()), count))
    flat[:, places] = directions[~is_determined]
    return Information(inverse, flat)
