"""Tsitouras' pair of order 5(4) with an interpolant of order 4 (Computers & Mathematics with Applications 62, 2011)."""

import numpy as np
from numpy.polynomial import Polynomial

from odelib.arrays import Reals
from odelib.engines.tableaus.tableau import Tableau, contiguous, matrix

_END = [
    0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774,
]  # fmt: skip
_LOWER = [
    0.09468075576583945, 0.009183565540343254, 0.4877705284247616, 1.234297566930479, -2.7077123499835256,
    1.866628418170587, 1 / 66,
]  # fmt: skip
_ROWS = [
    [],
    [0.161],
    [-0.008480655492356989, 0.335480655492357],
    [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
    [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
    [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
    _END,
]


def _interpolant() -> Reals:
    theta = Polynomial([0, 1])
    square = theta**2
    weights = [
        -1.0530884977290216 * theta * (theta - 1.329989018975141)
        * (square - 1.4364028541716351 * theta + 0.7139816917074209),
        0.1017 * square * (square - 2.1966568338249754 * theta + 1.2949852507374631),
        2.4906272856512528 * square * (square - 2.3853564547206167 * theta + 1.5780346820809248),
        -16.548102889244902 * square * (theta - 1.2171292729553325) * (theta - 0.6162040603780009),
        47.37952196281928 * square * (theta - 1.2030712083723626) * (theta - 0.6580472926535474),
        -34.87065786149661 * square * (theta - 1.2) * (theta - 2 / 3),
        2.5 * square * (theta - 1) * (theta - 0.6),
    ]  # fmt: skip
    return contiguous(np.array([weight.coef[1:5] for weight in weights]))


TSIT5 = Tableau(
    name="tsit5",
    order=5,
    error_order=4,
    main=7,
    a=matrix(_ROWS),
    c=np.array([0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0]),
    error=np.array([*_END, 0.0]) - np.array(_LOWER),
    error_low=np.zeros(7),
    interpolant=_interpolant(),
)
