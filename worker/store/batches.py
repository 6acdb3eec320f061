"""The service's side of the store for batches: take in, read, list, cancel and delete them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from worker.errors import (
    BatchEnded,
    BatchesFull,
    BatchNotFinished,
    BatchNotFound,
    IdempotencyConflict,
    StoreUnavailable,
)
from worker.settings import WorkerSettings
from worker.states import ENDED, Queue, Status
from worker.store.connection import store_errors
from worker.store.fits import microseconds
from worker.store.keys import KEYS
from worker.store.records import iso_time
from worker.store.scripts import Scripts

_ARRIVAL_KEPT_SECONDS = 3_600  # of chunks whose batch was never accepted, for example because the service was killed
Rows = list[dict[str, Any]]
_CURSOR = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True)
class BatchRecord:
    """A batch; fields without a value are None.

    series: how many it has. statuses, outcomes: how many of them have which. owner: as of a fit.
    """

    id: str
    status: Status
    system: str
    created_at: str
    labels: dict[str, str]
    series: int
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    owner: str
    statuses: dict[str, int]
    outcomes: dict[str, int]

    @property
    def done(self) -> int:
        """The number of series that have ended."""
        return sum(self.statuses.get(status, 0) for status in ENDED)


@dataclass(frozen=True)
class AcceptedBatch:
    """An accepted batch. created: False if an earlier request with the same idempotency key created it."""

    record: BatchRecord
    created: bool


@dataclass(frozen=True)
class BatchPage:
    """A page of batches, newest first. next_cursor: None on the last page."""

    batches: list[BatchRecord]
    next_cursor: str | None


@dataclass(frozen=True)
class BatchCancellation:
    """A cancelled batch. accepted: False if it had been cancelled before."""

    record: BatchRecord
    accepted: bool


@dataclass(frozen=True)
class ReadyRows:
    """Which rows of a batch can be read: those of the series `start` … `stop` - 1.

    problem: JSON text, as accepted. starts: the place of the first series of each chunk, then the number of series.
    endings: chunk that ended before all its rows were there → the status of the others, and `error` if there is one.
    """

    batch_id: str
    status: Status
    problem: bytes
    starts: list[int]
    endings: dict[int, dict[str, Any]]
    start: int
    stop: int

    @property
    def series(self) -> int:
        """How many series the batch has."""
        return self.starts[-1]

    @property
    def has_all(self) -> bool:
        """Whether these are the last rows of the batch."""
        return self.stop == self.series


class BatchStore:
    """Batches as the service sees them. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._limit = settings.max_unfinished_batches
        self._kept = microseconds(settings.results_kept_seconds)

    def add_chunk(self, batch_id: str, chunk: int, first: int, lines: Sequence[bytes]) -> None:
        """Keep the series of a chunk of a batch that is arriving. first: the place of the first one in the batch.

        lines: a series each, JSON text. Safe to repeat. Raises `StoreFull`.
        """
        series = zlib.compress(b"\n".join(lines), 1)
        self._scripts.run("batch_chunk", batch_id, chunk, first, series, _ARRIVAL_KEPT_SECONDS)

    def discard(self, batch_id: str) -> None:
        """Forget what has arrived of a batch that is not accepted."""
        self._scripts.run("batch_discard", batch_id)

    def accept(
        self,
        batch_id: str,
        problem: bytes,
        *,
        system: str,
        labels: bytes,
        queue: Queue,
        lane: str,
        series: int,
        chunks: int,
        idempotency: str,
        digest: str,
        owner: str,
        messages: tuple[str, Sequence[bytes]],
    ) -> AcceptedBatch:
        """Accept a batch whose chunks have arrived. Safe to repeat with the same id if the reply is lost.

        problem: the request without data and the versions, and labels: JSON text. idempotency: a hash of the key, ""
        for none. messages: the broker's list, and texts to push there, one for each chunk that can wait at once.
        Raises `BatchesFull`, `IdempotencyConflict`, `StoreFull`, and `StoreUnavailable` if chunks were lost.
        """
        about = (
            batch_id,
            problem,
            system,
            labels,
            queue,
            lane,
            series,
            chunks,
            idempotency,
            digest,
            owner,
            self._limit,
        )
        broker_list, texts = messages
        verdict, *fields = self._scripts.run("batch_accept", *about, broker_list, *texts)
        if verdict == b"full":
            raise BatchesFull(self._limit)
        if verdict == b"conflict":
            raise IdempotencyConflict
        if verdict == b"lost":
            raise StoreUnavailable("Redis lost a part of the batch while it arrived")
        return AcceptedBatch(_to_record(fields[0]), created=verdict == b"created")

    def get(self, batch_id: str) -> BatchRecord:
        """Return a batch in its current state. Raises `BatchNotFound`."""
        fields = self._scripts.run("batch_read", batch_id)
        if not fields:
            raise BatchNotFound(batch_id)
        return _to_record(fields)

    def list(self, owner: str, *, limit: int, cursor: str | None) -> BatchPage:
        """Return a page of at most `limit` batches, newest first. Raises `ValueError` for an invalid cursor."""
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError("invalid cursor")
        found, following = self._scripts.run("batch_list", owner, limit, cursor or "")
        return BatchPage([_to_record(fields) for fields in found], following.decode() or None)

    def cancel(self, batch_id: str) -> BatchCancellation:
        """Cancel a batch; what is done stays. Raises `BatchNotFound`, `BatchEnded`."""
        verdict, *fields = self._scripts.run("batch_cancel", batch_id, self._kept)
        if verdict == b"not_found":
            raise BatchNotFound(batch_id)
        if verdict == b"ended":
            raise BatchEnded(batch_id, fields[0].decode())
        return BatchCancellation(_to_record(fields[0]), accepted=verdict == b"accepted")

    def forget(self, batch_id: str) -> None:
        """Delete a batch that has ended. Raises `BatchNotFound`, `BatchNotFinished`."""
        verdict = self._scripts.run("batch_forget", batch_id)
        if verdict == b"not_found":
            raise BatchNotFound(batch_id)
        if verdict == b"not_finished":
            raise BatchNotFinished(batch_id, "cancel it first")

    def ready_rows(self, batch_id: str, start: int, limit: int | None = None) -> ReadyRows:
        """Return which rows can be read from `start` on without a gap, at most `limit`. Raises `BatchNotFound`."""
        found = self._scripts.run("batch_results", batch_id)
        if not found:
            raise BatchNotFound(batch_id)
        status, problem, starts, chunks, endings = found
        starts = [int(place) for place in starts]
        ends = {int(chunk): json.loads(text) for chunk, text in zip(endings[::2], endings[1::2], strict=True)}
        answered = {int(chunk) for chunk in chunks} | ends.keys()
        stop = starts[-1] if status.decode() in ENDED else starts[_first_gap(answered)]
        if limit is not None:
            stop = min(stop, start + limit)
        return ReadyRows(batch_id, status.decode(), problem, starts, ends, start, max(start, min(stop, starts[-1])))

    def rows(self, ready: ReadyRows) -> Iterator[Rows]:
        """Yield the rows chunk by chunk; series without one get `name` and how their chunk ended."""
        for chunk, (first, following) in enumerate(zip(ready.starts, ready.starts[1:], strict=False)):
            if first >= ready.stop or following <= ready.start:
                continue
            rows = self._rows_of_chunk(ready, chunk, following - first)
            yield rows[max(0, ready.start - first) : ready.stop - first]

    def _rows_of_chunk(self, ready: ReadyRows, chunk: int, size: int) -> Rows:
        with store_errors():
            text: Any = self._client.hget(KEYS["BATCH_ROWS"] + ready.batch_id, str(chunk))
        rows = rows_in(text)
        if len(rows) < size:
            with store_errors():
                series: Any = self._client.hget(KEYS["BATCH_SERIES"] + ready.batch_id, str(chunk))
            ending = ready.endings.get(chunk, {"status": "cancelled"})
            for place, line in enumerate(lines_in(series)):
                if place not in rows:
                    rows[place] = {**named(json.loads(line)), **ending}
        return [rows[place] for place in sorted(rows)]


def lines_in(text: bytes | None) -> list[bytes]:
    """Return the lines of a compressed text; none if there is no text."""
    return zlib.decompress(text).split(b"\n") if text else []


def rows_in(text: bytes | None) -> dict[int, dict[str, Any]]:
    """Return the rows in a compressed text, by their place in the chunk."""
    return dict(json.loads(line) for line in lines_in(text))


@dataclass(frozen=True)
class Refusal:
    """Why a series was refused before it was validated. pointer: into the series."""

    name: str | None
    pointer: str
    detail: str

    def line(self) -> bytes:
        """Return the line that stands in a chunk in place of the series: a list, which no series is."""
        return json.dumps([self.name, self.pointer, self.detail]).encode()


def refusal_in(series: Any) -> Refusal | None:
    """Return why a series was refused before it was validated, None if it was not."""
    return Refusal(*series) if isinstance(series, list) else None


def named(series: Any) -> dict[str, str]:
    """Return the beginning of the row of a series: its name, nothing if it has no proper one."""
    name = series[0] if isinstance(series, list) else series.get("name")
    return {"name": name} if isinstance(name, str) else {}


def _first_gap(chunks: set[int]) -> int:
    """Return the first number that is not in the set."""
    number = 0
    while number in chunks:
        number += 1
    return number


def _to_record(fields: Sequence[Any]) -> BatchRecord:
    batch_id, status, system, created, labels, series, started, finished, expires, owner, running, pairs = fields
    counts = {name.decode(): int(count) for name, count in zip(pairs[::2], pairs[1::2], strict=True)}
    statuses = _counts_of("status:", counts) | ({"running": int(running)} if int(running) else {})
    waiting = int(series) - sum(statuses.values())
    return BatchRecord(
        id=batch_id.decode(),
        status=status.decode(),
        system=system.decode(),
        created_at=iso_time(created),
        labels=json.loads(labels),
        series=int(series),
        started_at=iso_time(started) if started else None,
        finished_at=iso_time(finished) if finished else None,
        expires_at=iso_time(expires) if expires else None,
        owner=owner.decode() if owner else "",
        statuses=statuses | ({"queued": waiting} if waiting else {}),
        outcomes=_counts_of("outcome:", counts),
    )


def _counts_of(prefix: str, counts: dict[str, int]) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
