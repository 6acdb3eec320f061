"""The updates that a running chunk of a batch sends to the store: its rows so far, each state only once."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from odelib.result import OutcomeCode
from worker.batches.rows import Row, counts_of, failed_row, packed
from worker.store.leases import AttemptUpdate, Trace

SINGLY = "singly"


class ChunkUpdates:
    """Builds updates from the rows that are done and that the store does not have yet.

    rows: those of earlier attempts, by their place in the chunk. singly: whether the series are fitted one by one,
    because fitting them together has failed. every: seconds between two updates with rows.
    """

    def __init__(self, rows: Mapping[int, Row], *, singly: bool, every: float) -> None:
        self._every = every
        self._rows = dict(rows)
        self.singly = singly
        self._saved = self._pending = (len(rows), singly)
        self._saved_at = -math.inf
        self._running: tuple[int, Any] | None = None

    @property
    def rows(self) -> dict[int, Row]:
        """The rows that are done, by their place in the chunk."""
        return self._rows

    def begin(self, place: int, series: Any) -> None:
        """Record which series is fitted now, if they are fitted one by one."""
        self._running = place, series

    def add(self, place: int, row: Row) -> None:
        """Add the row of a series."""
        self._running = None
        self._rows = {**self._rows, place: row}  # replaced as a whole: another thread reads it

    def give_up(self, failure: str) -> bool:
        """Let the running series fail, so that the others go on. failure: the error, JSON text.

        If it is not known which one runs, the next attempt fits one by one.
        """
        if self._running is not None:
            place, series = self._running
            self.add(place, failed_row(series, failure))
        self.singly = True
        return True

    def build(self, seconds: float, *, everything: bool = False) -> AttemptUpdate:
        """Return the update after `seconds` of this attempt. everything: include rows that are not due yet."""
        rows, singly = self._rows, self.singly
        is_due = everything or time.monotonic() - self._saved_at >= self._every
        self._pending = self._saved
        if (len(rows), singly) == self._saved or not is_due:
            return AttemptUpdate(seconds)
        self._pending = (len(rows), singly)
        return AttemptUpdate(
            seconds,
            checkpoint=SINGLY if singly else "together",
            position=(0, len(rows)),
            partial=packed(rows) if rows else "",
            partial_outcome=counts_of(rows),
        )

    def mark_saved(self) -> None:
        """Record that the store has the last update."""
        if self._pending != self._saved:
            self._saved, self._saved_at = self._pending, time.monotonic()

    def progress(self, *, is_done: bool = False) -> str:
        """Return "": the progress of a batch is counted in chunks."""
        return ""

    def trace(self) -> Trace:
        """Return an empty trace: nobody follows a chunk."""
        return Trace()

    def partial(self, code: OutcomeCode) -> str:
        """Return "": the store keeps the rows of the last update."""
        return ""
