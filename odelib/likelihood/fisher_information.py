"""The expected information JᵀJ of the unknowns, with J the derivatives of the residuals in units of their scale.

For least squares JᵀJ is the Gauss–Newton matrix, for a likelihood the Fisher information. A direction in which hardly
any residual changes is flat: the data do not determine it, and JᵀJ has no inverse along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Booleans, Reals

FLAT_TOLERANCE = 1e-6  # a direction is flat if the residuals change by less than this fraction of the most they change
ROUNDING = 1e-13  # of the largest singular value: smaller ones are rounding errors
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


def fisher_information(jacobian: Reals, free: Booleans, noise: float) -> Information:
    """Invert the information of the free unknowns.

    jacobian: J, (residuals, count), by unknowns in units of their magnitude: flat directions depend on these units.
    free: (count,). noise: the standard deviation of the noise in the units of the residuals, 1 under a likelihood.

    J = QR and R = UΣVᵀ give (JᵀJ)⁻¹ = VΣ⁻²Vᵀ. JᵀJ itself is not formed: its condition number is the square of J's, and
    directions below the square root of the rounding error would be lost.
    """
    count, places = jacobian.shape[1], np.flatnonzero(free)
    inverse = np.zeros((count, count))
    if not len(places):
        return Information(inverse, np.zeros((0, count)))
    rows = jacobian[:, places]
    triangle = np.linalg.qr(rows, mode="r")  # small, however many residuals there are
    _, found, directions = np.linalg.svd(triangle, full_matrices=True)
    singular_values = np.zeros(len(places))  # 0 for those that fewer residuals than unknowns leave out
    singular_values[: len(found)] = found
    is_determined = singular_values > max(FLAT_TOLERANCE * singular_values[0], MIN_SINGULAR_VALUE)
    kept, lost = directions[is_determined], directions[~is_determined]
    weak = singular_values[~is_determined] > max(ROUNDING * singular_values[0], MIN_SINGULAR_VALUE)
    if weak.any():
        responding, silent = _responding(rows, lost[weak], noise)
        kept, lost = np.concatenate([kept, responding]), np.concatenate([silent, lost[~weak]])
    _, lengths, within = np.linalg.svd(triangle @ kept.T, full_matrices=False)
    kept = within @ kept
    inverse[np.ix_(places, places)] = (kept.T / lengths**2) @ kept
    flat = np.zeros((len(lost), count))
    flat[:, places] = lost
    return Information(inverse, flat)


def _responding(rows: Reals, directions: Reals, noise: float) -> tuple[Reals, Reals]:
    """Divide directions, (k, free), into those along which some residual changes and those along which none does.

    Each residual counts by the most that it changes itself, in place of the most that any does. In chaos the late
    residuals change by e^(λt) along one direction; beside them the early ones seem not to change at all, although they
    determine the other directions. A residual that changes by less than the noise counts as little as it determines.
    """
    relative = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), max(noise, MIN_SINGULAR_VALUE))
    _, changes, turned = np.linalg.svd(np.linalg.qr(relative @ directions.T, mode="r"), full_matrices=True)
    responds = np.zeros(len(directions), dtype=bool)
    responds[: len(changes)] = changes > FLAT_TOLERANCE * np.linalg.norm(relative, 2)
    turned = turned @ directions
    return turned[responds], turned[~responds]
