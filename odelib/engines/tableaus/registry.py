"""The methods of the compiled engine, by the index that its loops know them by."""

from __future__ import annotations

from odelib.engines.tableaus.dop853 import DOP853
from odelib.engines.tableaus.dopri5 import DOPRI5
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.engines.tableaus.tableau import Tableau
from odelib.engines.tableaus.tsit5 import TSIT5

EXPLICIT: tuple[Tableau, ...] = (DOPRI5, TSIT5, DOP853)
METHODS: tuple[Tableau, ...] = (*EXPLICIT, KVAERNO5)  # the implicit method is the last
