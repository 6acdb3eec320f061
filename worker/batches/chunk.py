"""Fitting the series of a chunk of a batch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from odelib.batches.fitting import fit_batch
from odelib.errors import StopRequested
from odelib.monitor import LossHistory, Monitor
from odelib.problem.limits import UNLIMITED
from worker.attempt_endings import Ending, died_too_often, problem_json
from worker.batches.rows import Row, counts_of, failed_row, packed, to_row
from worker.batches.updates import ChunkUpdates
from worker.store.batches import Refusal, lines_in, refusal_in
from worker.store.leases import Claim, ClaimedChunk
from worker.unforeseen import failure_of


class ChunkRun:
    """One attempt at a chunk: the rows of earlier attempts stay, the other series are fitted.

    They are fitted together; if a worker died of that, or an unforeseen error ended it, one by one. A series during
    which workers died `max_deaths - 1` times in a row is given up, so that the others get their answers. megabytes: the
    memory limit of a fit.
    """

    def __init__(
        self,
        request: dict[str, Any],
        claim: Claim,
        chunk: ClaimedChunk,
        updates: ChunkUpdates,
        max_deaths: int,
        megabytes: int,
    ) -> None:
        self._request = request
        self._id = claim.fit_id
        self._updates = updates
        self._first = chunk.first
        self._series = [json.loads(line) for line in lines_in(chunk.series)]
        self._deaths = chunk.deaths
        self._max_deaths, self._megabytes = max_deaths, megabytes

    def run(self, monitor: Monitor) -> Ending:
        """Fit the series that have no row yet. Raises `StopRequested` when `monitor.stop` is set."""
        for place in self._missing():
            if (refused := refusal_in(self._series[place])) is not None:
                self._updates.add(place, self._refused(place, refused))
        missing = self._missing()
        if self._deaths and self._updates.singly and self._deaths >= self._max_deaths - 1 and missing:
            failure = died_too_often(self._max_deaths - 1)
            self._updates.add(missing[0], failed_row(self._series[missing[0]], failure))
        if self._deaths:
            self._updates.singly = True
        if not self._updates.singly:
            self._fit_together(self._missing(), monitor)
        for place in self._missing():
            self._fit_alone(place, monitor)
        return self.ending()

    def ending(self) -> Ending:
        """Return the ending of the chunk with the rows that are done."""
        rows = self._updates.rows
        text = packed(rows) if rows else ""
        return Ending("cancelled" if self._missing() else "succeeded", text, stages=counts_of(rows))

    def _missing(self) -> list[int]:
        return [place for place in range(len(self._series)) if place not in self._updates.rows]

    def _fit_together(self, places: Sequence[int], monitor: Monitor) -> None:
        series = [self._series[place] for place in places]
        try:
            for index, row in fit_batch(self._request, series, monitor=monitor, limits=UNLIMITED):
                self._updates.add(places[index], to_row(row, self._first + places[index]))
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001  one by one, only the series that it comes from fails
            failure_of(error, self._id, self._megabytes)
            self._updates.singly = True

    def _fit_alone(self, place: int, monitor: Monitor) -> None:
        monitor.progress, monitor.checkpoint, monitor.losses = None, None, LossHistory()
        series = self._series[place]
        self._updates.begin(place, series)
        try:
            ((_, row),) = fit_batch(self._request, [series], monitor=monitor, limits=UNLIMITED)
            self._updates.add(place, to_row(row, self._first + place))
        except StopRequested:
            raise
        except Exception as error:  # noqa: BLE001  any other exception fails this series, not the others
            self._updates.add(place, failed_row(series, failure_of(error, self._id, self._megabytes)))

    def _refused(self, place: int, refused: Refusal) -> Row:
        problem = problem_json("invalid_request", "The series is invalid", refused.detail)
        row = failed_row(self._series[place], problem)
        row["error"]["errors"] = [
            {"pointer": f"/series/{self._first + place}{refused.pointer}", "detail": refused.detail}
        ]
        return row
