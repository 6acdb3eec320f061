"""The workers' side of the store: claim a fit, renew its lease, finish it, hand it back."""

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
class ClaimedChunk:
    """What a chunk of a batch has besides a fit.

    first: the place of its first series in the batch. series, rows: as compressed lines of JSON, the rows of earlier
    attempts, None if there are none. deaths: how often the worker died since the last of them.
    """

    first: int
    series: bytes
    rows: bytes | None
    deaths: int


@dataclass(frozen=True)
class Claim:
    """A fit, or a chunk of a batch, under a lease.

    token: the fencing token, required for every write; the number of this attempt.
    elapsed: running time of the earlier attempts in seconds.
    problem: JSON text, as accepted. checkpoint: JSON text of the last one, None if there is none. losses: the entries
    of earlier attempts (see `Trace`), None if there are none. request_id: of the HTTP request that submitted it.
    chunk: None for a fit. The problem of a chunk is that of its batch, without data.
    """

    fit_id: str
    token: str
    elapsed: float
    problem: bytes
    checkpoint: bytes | None
    losses: bytes | None = None
    request_id: str | None = None
    chunk: ClaimedChunk | None = None


@dataclass(frozen=True)
class Trace:
    """What listeners to a running fit see besides its progress, as JSON text.

    best: the best `parameters` and `initial_state` so far, by name; "" for no change. losses: entries `[step,loss]`,
    separated by commas.
    replaces: whether these are all losses, and not only the new ones.
    """

    best: str = ""
    losses: str = ""
    replaces: bool = False

    def arguments(self) -> tuple[str | int, ...]:
        """Return the arguments of the scripts, in the order of `save_trace` in prelude.lua."""
        return (self.best, self.losses, int(self.replaces))


@dataclass(frozen=True)
class AttemptUpdate:
    """What is new in an attempt, as JSON text ("" if nothing is).

    seconds: running time of this attempt. position: (stage, step) of the checkpoint.
    partial: the result to show if the attempt leaves no other. partial_outcome: its outcome, exactly as in `partial`.
    trace: the best values and losses of the progress.
    """

    seconds: float
    progress: str = ""
    checkpoint: str = ""
    position: tuple[int, int] = (0, 0)
    partial: str | bytes = ""
    partial_outcome: str = ""
    trace: Trace = Trace()

    def arguments(self) -> tuple[str | bytes | float, ...]:
        """Return the arguments of the scripts, in the order of `update_from` in prelude.lua."""
        seconds = f"{self.seconds:.6f}"
        return (
            *(seconds, self.progress, self.checkpoint, *self.position, self.partial, self.partial_outcome),
            *self.trace.arguments(),
        )


class PulseReply(Enum):
    """The reply of the store to a pulse: the lease is held or lost, or the fit is to be cancelled or to make way."""

    HELD = b"held"
    CANCEL = b"cancel"
    YIELD = b"yield"
    LOST = b"lost"


class LeaseStore:
    """Fits under a lease. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis, settings: WorkerSettings) -> None:
        self._client = client
        self._scripts = Scripts(client)
        self._lease = microseconds(settings.lease_seconds)
        self._kept = microseconds(settings.results_kept_seconds)
        self._patience = microseconds(settings.long_wait_seconds)
        self._slice = settings.slice_seconds

    def connect(self) -> None:
        """Open the connection before its first use."""
        with store_errors():
            self._client.ping()

    def claim(self, queue: Queue) -> Claim | None:
        """Take a lease on the next waiting fit of the queue; None if no fit waits."""
        fields = self._scripts.run("claim", queue, self._lease, self._patience)
        if not fields:
            return None
        fit_id, token, elapsed, problem, checkpoint, losses, request, *of_chunk = fields
        chunk = None
        if of_chunk:
            first, series, rows, deaths = of_chunk
            chunk = ClaimedChunk(int(first), series, rows, int(deaths))
        request_id = request.decode() if request else None
        return Claim(fit_id.decode(), token.decode(), float(elapsed), problem, checkpoint, losses, request_id, chunk)

    def pulse(self, claim: Claim, update: AttemptUpdate) -> PulseReply:
        """Renew the lease, or take it back if it lapsed and nobody else has it; save the update."""
        return PulseReply(
            self._scripts.run("pulse", claim.fit_id, claim.token, self._lease, *update.arguments(), self._slice)
        )

    def finish(self, claim: Claim, ending: Ending, progress: str, trace: Trace = Trace()) -> bool:
        """End the fit. progress: JSON text, "" for none. Without a result, the partial result of the store is used.

        Returns False if another attempt has the fit, or it has ended otherwise.
        """
        arguments = (claim.fit_id, claim.token, ending.status, self._kept, ending.result, ending.error, progress)
        return bool(self._scripts.run("finish", *arguments, *trace.arguments(), ending.stages))

    def hand_back(self, claim: Claim, update: AttemptUpdate) -> bool:
        """Return the unfinished fit to its place in the queue, without counting a death.

        Returns False if it was cancelled meanwhile, or another attempt has it.
        """
        reply = self._scripts.run("hand_back", claim.fit_id, claim.token, self._kept, *update.arguments(), self._slice)
        return bool(reply == b"ready")
