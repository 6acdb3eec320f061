"""Fits as those who work on them see them: claim, keep, finish, hand back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import redis

from worker.attempt_endings import Ending
from worker.settings import WorkerSettings
from worker.states import Queue
from worker.store.connection import store_errors
from worker.store.fits import microseconds
from worker.store.scripts import Scripts


@dataclass(frozen=True)
class Claim:
    """A fit under a lease.

    token: the fencing token, without which nothing is written; the number of this attempt.
    elapsed: running time of the earlier attempts, in seconds.
    problem: JSON text, as accepted. checkpoint: JSON text of the last one, None if there is none.
    """

    fit_id: str
    token: str
    elapsed: float
    problem: bytes
    checkpoint: bytes | None


@dataclass(frozen=True)
class ProgressReport:
    """What an attempt has to tell; "" where there is nothing new. All but the seconds is JSON text.

    seconds: running time of this attempt. position: (stage, step) of the checkpoint.
    partial: the result to show if no other comes; partial_outcome: its outcome as it stands in that text.
    """

    seconds: float
    progress: str = ""
    checkpoint: str = ""
    position: tuple[int, int] = (0, 0)
    partial: str = ""
    partial_outcome: str = ""

    def arguments(self) -> tuple[str | float, ...]:
        """In the order of `report_from` in prelude.lua."""
        seconds = f"{self.seconds:.6f}"
        return (seconds, self.progress, self.checkpoint, *self.position, self.partial, self.partial_outcome)


class Answer(Enum):
    """What the store answers to a pulse."""

    HELD = b"held"
    CANCEL = b"cancel"
    LOST = b"lost"


class LeaseStore:
    """The workers' side of the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._lease = microseconds(settings.lease_seconds)
        self._kept = microseconds(settings.results_kept_seconds)

    def connect(self) -> None:
        """Open the connection ahead of its first use."""
        with store_errors():
            self._client.ping()

    def claim(self, queue: Queue) -> Claim | None:
        """The oldest fit that waits in the queue, if any, now under a lease."""
        fields = self._scripts.run("claim", queue, self._lease)
        if not fields:
            return None
        fit_id, token, elapsed, problem, checkpoint = fields
        return Claim(fit_id.decode(), token.decode(), float(elapsed), problem, checkpoint)

    def pulse(self, claim: Claim, report: ProgressReport) -> Answer:
        """Renew the lease, or take it back if it lapsed and nobody else has it; keep the report."""
        return Answer(self._scripts.run("pulse", claim.fit_id, claim.token, self._lease, *report.arguments()))

    def finish(self, claim: Claim, ending: Ending, progress: str) -> bool:
        """End the fit; progress is JSON text, "" for none. False: another attempt has it, or somebody ended it.

        Without a result, that of the last checkpoint stands.
        """
        arguments = (claim.fit_id, claim.token, ending.status, self._kept, ending.result, ending.error, progress)
        return bool(self._scripts.run("finish", *arguments))

    def hand_back(self, claim: Claim, report: ProgressReport) -> bool:
        """Give the fit back before its end, in its old place, without counting a death.

        Returns whether it waits for a worker now; False: it was cancelled meanwhile, or another has it.
        """
        answer = self._scripts.run("hand_back", claim.fit_id, claim.token, self._kept, *report.arguments())
        return bool(answer == b"ready")
