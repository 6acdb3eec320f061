"""What the queue raises on purpose.

WorkerError
├── StoreUnavailable      Redis does not answer, or answers that it cannot serve now
├── StoreFull             Redis has no memory left for another fit
├── QueueFull             as many fits wait as may wait
├── FitNotFound           no fit has this id, or none any more
├── FitNotFinished        only a fit that has ended can be forgotten
├── FitEnded              the fit has ended otherwise and cannot be cancelled
├── IdempotencyConflict   the key belongs to a fit with another body
└── RedisNotStarted       the private Redis server did not start
"""

from __future__ import annotations


class WorkerError(Exception):
    """The root of what the queue raises on purpose."""


class StoreUnavailable(WorkerError):
    """Redis cannot be reached or cannot serve at the moment; the same call may succeed later."""


class StoreFull(WorkerError):
    """Redis has reached its memory limit: it takes no further fits until others are forgotten or expire."""

    def __init__(self) -> None:
        super().__init__(
            "the memory of Redis is full; delete fits that are no longer needed, wait until results expire, "
            "or raise its maxmemory"
        )


class QueueFull(WorkerError):
    """As many fits wait as may wait."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} fits are waiting, which is the limit; try again when some of them have started")


class FitNotFound(WorkerError):
    """No fit has this id, or none has it any more."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id
        super().__init__(f"there is no fit {fit_id!r:.80}; it may have expired, or somebody has deleted it")


class FitNotFinished(WorkerError):
    """The fit has not ended yet, and only one that has can be forgotten."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id
        super().__init__(f"the fit {fit_id!r:.80} has not finished; cancel it first")


class FitEnded(WorkerError):
    """The fit has ended before it could be cancelled."""

    def __init__(self, fit_id: str, status: str) -> None:
        self.fit_id = fit_id
        self.status = status
        super().__init__(f"the fit {fit_id!r:.80} has already ended: {status}")


class IdempotencyConflict(WorkerError):
    """The idempotency key was used for a request with another body."""

    def __init__(self) -> None:
        super().__init__(
            "this idempotency key belongs to a fit with another body; use a new key, or send the same body again"
        )


class RedisNotStarted(WorkerError):
    """The private Redis server could not be started; the message says why."""
