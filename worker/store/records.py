"""A fit as the store returns it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.states import Status

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FitRecord:
    """A fit; fields without a value are None.

    Times are ISO 8601, UTC, with microseconds. error: `type`, `title` and `detail`. result: the stored JSON text of a
    `FitResult`. owner: the id of the key that submitted it, "" without one.
    """

    id: str
    status: Status
    system: str
    created_at: str
    labels: dict[str, str]
    attempts: int
    started_at: str | None
    finished_at: str | None
    expires_at: str | None
    progress: dict[str, Any] | None
    error: dict[str, Any] | None
    result: bytes | None
    owner: str = ""


@dataclass(frozen=True)
class Submission:
    """A submitted fit. created: False if an earlier submission with the same idempotency key created it."""

    record: FitRecord
    created: bool


@dataclass(frozen=True)
class FitFilter:
    """Which fits to list; None and no labels select all.

    owner: the id of a key, "" for all. labels: all of which a fit must have. created_after: the earliest time.
    created_before: later than all.
    """

    status: str | None = None
    system: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None
    owner: str = ""

    def arguments(self) -> tuple[str | bytes, ...]:
        """Return the first arguments of list.lua."""
        after, before = (_microseconds(time) for time in (self.created_after, self.created_before))
        return (self.status or "", self.system or "", json.dumps(dict(self.labels)), after, before, self.owner)


@dataclass(frozen=True)
class Page:
    """A page of fits, newest first. next_cursor: None on the last page."""

    fits: list[FitRecord]
    next_cursor: str | None


@dataclass(frozen=True)
class Cancellation:
    """A cancelled fit. accepted: False if it had been cancelled before."""

    record: FitRecord
    accepted: bool


def to_record(fields: Sequence[Any]) -> FitRecord:
    """Return a fit from the fields that `record` in prelude.lua returns."""
    fit_id, status, system, created, labels, attempts, started, finished, expires, progress, error, owner, result = (
        fields
    )
    return FitRecord(
        id=fit_id.decode(),
        status=status.decode(),
        system=system.decode(),
        created_at=iso_time(created),
        labels=json.loads(labels),
        attempts=int(attempts),
        started_at=iso_time(started) if started else None,
        finished_at=iso_time(finished) if finished else None,
        expires_at=iso_time(expires) if expires else None,
        progress=json.loads(progress) if progress else None,
        error=json.loads(error) if error else None,
        result=result,
        owner=owner.decode() if owner else "",
    )


def _microseconds(time: datetime | None) -> str:
    return "" if time is None else str((time - _EPOCH) // timedelta(microseconds=1))


def iso_time(microseconds: bytes) -> str:
    """Return a time of the store as ISO 8601 text, UTC."""
    time = _EPOCH + timedelta(microseconds=int(microseconds))
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
