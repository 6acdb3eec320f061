"""The exceptions of the queue.

WorkerError
├── StoreUnavailable      Redis does not respond, or cannot serve now
├── StoreFull             Redis has no memory left for another fit
├── QueueFull             the maximum number of fits is waiting
├── SimulationsFull       the maximum number of simulations is waiting
├── NoWorker              no worker is live, so nothing can be simulated
├── SimulationTimeout     a simulation took too long
├── SimulationFailed      a simulation cannot succeed
├── SimulationBroke       an unexpected error ended a simulation
├── KeyLimitReached       an API key has reached one of its limits
├── FitNotFound           no fit has this id, or not any more
├── FitNotFinished        only a fit that has ended can be deleted
├── NoResult              the fit has no result, or not yet
├── FitEnded              the fit ended before it was cancelled
├── BatchNotFound         no batch has this id, or not any more
├── BatchNotFinished      only a batch that has ended can be deleted, or be had as one file
├── BatchEnded            the batch ended before it was cancelled
├── BatchesFull           the maximum number of batches is unfinished
├── IdempotencyConflict   the key belongs to a fit with another body
└── RedisNotStarted       the private Redis server did not start
"""

from __future__ import annotations


class WorkerError(Exception):
    """The base class of the queue's exceptions."""


class StoreUnavailable(WorkerError):
    """Redis does not respond or cannot serve now; the same call may succeed later."""


class StoreFull(WorkerError):
    """Redis has reached its memory limit and accepts no fits until others are deleted or expire."""

    def __init__(self) -> None:
        super().__init__(
            "Redis has no memory left; delete fits that you no longer need, wait until results expire, or increase "
            "maxmemory"
        )


class QueueFull(WorkerError):
    """The maximum number of fits is waiting."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the queue is full with {limit} fits; try again when some of them have started")


class SimulationsFull(WorkerError):
    """The maximum number of simulations is waiting."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} simulations are waiting already; try again when some of them have been answered")


class KeyLimitReached(WorkerError):
    """An API key has reached one of its limits. seconds: after which another try may succeed."""

    def __init__(self, detail: str, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"{detail}; try again later")


class NoWorker(WorkerError):
    """No worker is live."""

    def __init__(self) -> None:
        super().__init__("no worker is running, and only workers simulate; start one, or try again later")


class SimulationTimeout(WorkerError):
    """A simulation was not answered in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the simulation took longer than {seconds:g} s; if its equations are new, they may have been compiled by "
            "now: try again. Otherwise use fewer times, or loosen solver.rtol, or submit a fit with everything fixed"
        )


class SimulationFailed(WorkerError):
    """A simulation cannot succeed; the message says why and what to change."""


class SimulationBroke(WorkerError):
    """An unexpected error ended a simulation; the worker's log has the details."""


class FitNotFound(WorkerError):
    """No fit has this id, or not any more."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id
        super().__init__(f"no fit has the id {fit_id!r:.80}; it may have expired or been deleted")


class FitNotFinished(WorkerError):
    """The fit has not ended, so it cannot be deleted."""

    def __init__(self, fit_id: str) -> None:
        self.fit_id = fit_id
        super().__init__(f"the fit {fit_id!r:.80} has not finished; cancel it first")


class NoResult(WorkerError):
    """The fit has no result, or not yet."""

    def __init__(self, fit_id: str) -> None:
        super().__init__(f"the fit {fit_id!r:.80} has no result; only a fit that has ended can have one")


class FitEnded(WorkerError):
    """The fit ended before it was cancelled."""

    def __init__(self, fit_id: str, status: str) -> None:
        self.fit_id = fit_id
        self.status = status
        super().__init__(f"the fit {fit_id!r:.80} has already ended; its status is {status!r}")


class BatchNotFound(WorkerError):
    """No batch has this id, or not any more."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch has the id {batch_id!r:.80}; it may have expired or been deleted")


class BatchNotFinished(WorkerError):
    """The batch has not ended."""

    def __init__(self, batch_id: str, instead: str) -> None:
        super().__init__(f"the batch {batch_id!r:.80} has not finished; {instead}")


class BatchEnded(WorkerError):
    """The batch ended before it was cancelled."""

    def __init__(self, batch_id: str, status: str) -> None:
        super().__init__(f"the batch {batch_id!r:.80} has already ended; its status is {status!r}")


class BatchesFull(WorkerError):
    """The maximum number of batches is unfinished."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} batches are unfinished; try again when one of them has ended")


class IdempotencyConflict(WorkerError):
    """The idempotency key was used with another body."""

    def __init__(self) -> None:
        super().__init__("this idempotency key was used with another body; use a new key, or send the same body again")


class RedisNotStarted(WorkerError):
    """The private Redis server could not be started; the message says why."""
