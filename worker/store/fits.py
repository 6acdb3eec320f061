"""Fits as their owners see them: submit, read, list, cancel, forget."""

from __future__ import annotations

import re

import redis

from worker.errors import FitEnded, FitNotFinished, FitNotFound, IdempotencyConflict, QueueFull
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.records import Cancellation, FitRecord, Page, Submission, to_record
from worker.store.scripts import Scripts

_CURSOR = re.compile(r"[0-9]{1,15}", re.ASCII)


class FitStore:
    """The owners' side of the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._scripts = Scripts(client)
        self._limit = settings.max_queued_fits
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
    ) -> Submission:
        """Accept a fit and send its message, in one; may be called again with the same id when the answer was lost.

        problem, labels: JSON text. idempotency: a hash of the key, "" for none. message: the broker's list it goes
        to, and its text.
        Raises `QueueFull`, `IdempotencyConflict`, `StoreFull`.
        """
        arguments = (fit_id, problem, system, labels, queue, self._limit, idempotency, digest, *message)
        verdict, *fields = self._scripts.run("submit", *arguments)
        if verdict == b"full":
            raise QueueFull(self._limit)
        if verdict == b"conflict":
            raise IdempotencyConflict
        return Submission(to_record(fields[0]), created=verdict == b"created")

    def get(self, fit_id: str, *, result: bool) -> FitRecord:
        """The fit as it is now. Raises `FitNotFound`."""
        fields = self._scripts.run("read", fit_id, int(result))
        if not fields:
            raise FitNotFound(fit_id)
        return to_record(fields)

    def problem(self, fit_id: str) -> bytes:
        """The problem as it was accepted, JSON text. Raises `FitNotFound`."""
        problem = self._scripts.run("problem", fit_id)
        if not problem:
            raise FitNotFound(fit_id)
        return bytes(problem)

    def list(self, *, status: str | None, system: str | None, limit: int, cursor: str | None) -> Page:
        """A page of at most `limit` fits, newest first, without results. Raises `ValueError` for a bad cursor."""
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise ValueError("the cursor is not one that a page of this list has returned")
        fits, following = self._scripts.run("list", status or "", system or "", limit, cursor or "")
        return Page([to_record(fields) for fields in fits], following.decode() if following else None)

    def cancel(self, fit_id: str) -> Cancellation:
        """Cancel at once what nobody works on, ask whoever works on it otherwise. Raises `FitNotFound`, `FitEnded`."""
        verdict, *fields = self._scripts.run("cancel", fit_id, self._kept)
        if verdict == b"not_found":
            raise FitNotFound(fit_id)
        if verdict == b"ended":
            raise FitEnded(fit_id, fields[0].decode())
        return Cancellation(to_record(fields[0]), accepted=verdict == b"accepted")

    def forget(self, fit_id: str) -> None:
        """Remove a fit that has ended. Raises `FitNotFound`, `FitNotFinished`."""
        verdict = self._scripts.run("forget", fit_id)
        if verdict == b"not_found":
            raise FitNotFound(fit_id)
        if verdict == b"not_finished":
            raise FitNotFinished(fit_id)


def microseconds(seconds: float) -> int:
    """The unit of time in the store."""
    return round(seconds * 1_000_000)
