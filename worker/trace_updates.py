"""What listeners to a running fit see besides its progress: the best values, and the loss after each step."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from odelib.monitor import LossHistory
from odelib.problem.request import FitProblem
from odelib.problem.unknowns import Unknown
from worker.store.leases import Trace


class TraceUpdates:
    """Builds traces from what the store does not have yet. Losses have ten digits: enough to draw them."""

    def __init__(self) -> None:
        self._saved: tuple[int, int] | None = None  # thinnings and the last step of the losses in the store
        self._pending: tuple[int, int] | None = None

    def build(self, problem: FitProblem, best: Mapping[str, float], losses: LossHistory) -> Trace:
        """Return the trace. best: the free unknowns at the best point."""
        strides = losses.strides
        replaces = self._saved is None or self._saved[0] != strides
        entries = losses.since(0 if replaces or self._saved is None else self._saved[1])
        if entries:
            self._pending = (strides, entries[-1][0])
        text = ",".join(f"[{step},{loss:.10g}]" for step, loss in entries if math.isfinite(loss))
        values = {
            "parameters": _values(problem.parameters, best),
            "initial_state": _values(problem.initial_state, best),
        }
        return Trace(json.dumps(values), text, replaces)

    def mark_saved(self) -> None:
        """Record that the store has the last trace."""
        self._saved = self._pending


def _values(entries: Mapping[str, Unknown | float | str], best: Mapping[str, float]) -> dict[str, float]:
    """Return all values, fixed ones included and expressions left out; those of an experiment end in its name, as in
    `k[plot 3]`."""
    found = {}
    for name, entry in entries.items():
        own = {unknown: value for unknown, value in best.items() if unknown.startswith(f"{name}[")}
        if not own and not isinstance(entry, str):
            own = {name: best.get(name, entry.start if isinstance(entry, Unknown) else entry)}
        found.update(own)
    return found
