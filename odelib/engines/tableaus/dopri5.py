"""Dormand and Prince's pair of order 5(4) (1980), with Shampine's interpolant of order 4 (1986).

The coefficients are those of `scipy.integrate.RK45`.
"""

import numpy as np
from scipy.integrate import RK45

from odelib.engines.tableaus.tableau import Tableau, contiguous

_A = np.zeros((7, 7))
_A[:6, :5] = RK45.A
_A[6, :6] = RK45.B

DOPRI5 = Tableau(
    name="dopri5",
    order=5,
    error_order=4,
    main=7,
    a=_A,
    c=np.append(RK45.C, 1.0),
    error=contiguous(RK45.E),
    error_low=np.zeros(7),
    interpolant=contiguous(RK45.P),
)
