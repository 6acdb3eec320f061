"""The product of two Jacobians in which an infinite derivative times a derivative of 0 is 0."""

from __future__ import annotations

import numpy as np

from odelib.arrays import Reals


def chain(outer: Reals, inner: Reals) -> Reals:
    """The Jacobian dh/dx = dh/dy·dy/dx, (…, k, c), of outer, (…, k, n), and inner, (…, n, c).

    Where an outer derivative is infinite, as that of log(y) at y = 0, it adds nothing for those unknowns that do not
    change y, and so h.
    """
    if np.isfinite(outer).all():
        product: Reals = outer @ inner
        return product
    with np.errstate(invalid="ignore"):
        products = outer[..., :, :, None] * inner[..., None, :, :]
    summed: Reals = np.where(inner[..., None, :, :] == 0, 0.0, products).sum(axis=-2)
    return summed
