"""The service's side of the store: submit, read, list, cancel and delete fits."""

from __future__ import annotations

import re

import redis

from worker.errors import (
    FitEnded,
    FitNotFinished,
    FitNotFound,
    IdempotencyConflict,
    KeyLimitReached,
    NoResult,
    QueueFull,
)
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.records import Cancellation, FitFilter, FitRecord, Page, Submission, to_record
from worker.store.scripts import Scripts

# Fits that one script looks at: Redis serves no other client meanwhile.
_SCAN = 1_000
_OWNER_RETRY_SECONDS = 10
_CURSOR = re.compile(r"[0-9]{1,15}", re.ASCII)


class FitStore:
    """Fits as the service sees them. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._scripts = Scripts(client)
        self._limit = settings.max_queued_fits
        self._long = settings.long_seconds
        self._kept = microseconds(settings.results_kept_seconds)

    def submit(
        self,
        fit_id: str,
        problem: bytes,
        *,
        system: str,
        labels: bytes,
        queue: Queue,
        idempotency: str,
        digest: str,
        message: tuple[str, bytes],
        webhook: bytes = b"",
        request_id: str = "",
        owner: str = "",
        owner_limit: int | None = None,
        kind: str = "",
        seconds: float = 0.0,
    ) -> Submission:
        """Accept a fit and queue its message in one step. Safe to repeat with the same id if the reply is lost.

        problem, labels, webhook: JSON text. idempotency: a hash of the key, "" for none. message: the broker's list,
        and the text to push there.
        kind, seconds: from `worker.costs`. owner: the id of a key, and owner_limit: the most queued and running fits
        that it may have.
        Raises `QueueFull`, `KeyLimitReached`, `IdempotencyConflict`, `StoreFull`.
        """
        about = (fit_id, problem, system, labels, queue, self._limit, idempotency, digest, *message)
        limit = "" if owner_limit is None else owner_limit
        lane = (kind, f"{seconds:.3f}", self._long)
        verdict, *fields = self._scripts.run("submit", *about, webhook, request_id, owner, limit, *lane)
        if verdict == b"full":
            raise QueueFull(self._limit)
        if verdict == b"owner_full":
            raise KeyLimitReached(f"this key may have {owner_limit} queued and running fits", _OWNER_RETRY_SECONDS)
        if verdict == b"conflict":
            raise IdempotencyConflict
        return Submission(to_record(fields[0]), created=verdict == b"created")

    def get(self, fit_id: str, *, result: bool) -> FitRecord:
        """Return a fit in its current state. Raises `FitNotFound`."""
        fields = self._scripts.run("read", fit_id, int(result))
        if not fields:
            raise FitNotFound(fit_id)
        return to_record(fields)

    def problem(self, fit_id: str) -> bytes:
        """Return the accepted problem as JSON text. Raises `FitNotFound`."""
        problem = self._scripts.run("problem", fit_id)
        if not problem:
            raise FitNotFound(fit_id)
        return bytes(problem)

    def file(self, fit_id: str, name: str) -> bytes | None:
        """Return a file that was made of the result before, None if it was not. Raises `FitNotFound`, `NoResult`."""
        found = self._scripts.run("file", fit_id, name)
        if not found:
            raise FitNotFound(fit_id)
        has_result, content = found
        if not has_result:
            raise NoResult(fit_id)
        return None if content is None else bytes(content)

    def list(self, wanted: FitFilter, *, limit: int, cursor: str | None) -> Page:
        """Return a page of at most `limit` fits, newest first, without results.

        Raises `ValueError` for an invalid cursor.
        """
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError("invalid cursor")
        position = (cursor or "").encode()
        found: list[FitRecord] = []
        while True:
            fits, position, is_last = self._scripts.run(
                "list", *wanted.arguments(), limit - len(found), position, _SCAN
            )
            found += [to_record(fields) for fields in fits]
            if is_last or len(found) == limit:
                return Page(found, None if is_last else position.decode())

    def cancel(self, fit_id: str) -> Cancellation:
        """Cancel a queued fit at once; ask the worker of a running one to stop. Raises `FitNotFound`, `FitEnded`."""
        verdict, *fields = self._scripts.run("cancel", fit_id, self._kept)
        if verdict == b"not_found":
            raise FitNotFound(fit_id)
        if verdict == b"ended":
            raise FitEnded(fit_id, fields[0].decode())
        return Cancellation(to_record(fields[0]), accepted=verdict == b"accepted")

    def forget(self, fit_id: str) -> None:
        """Delete a fit that has ended. Raises `FitNotFound`, `FitNotFinished`."""
        verdict = self._scripts.run("forget", fit_id)
        if verdict == b"not_found":
            raise FitNotFound(fit_id)
        if verdict == b"not_finished":
            raise FitNotFinished(fit_id)


def microseconds(seconds: float) -> int:
    """Return seconds in the store's unit of time."""
    return round(seconds * 1_000_000)
