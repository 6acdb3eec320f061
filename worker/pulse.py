"""The thread beside a running fit, which renews the lease, sends updates, and stops the fit."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import structlog

from odelib.errors import StopReason
from odelib.monitor import Monitor
from odelib.result import OutcomeCode
from worker.attempt_endings import Ending, ending_of_stop, out_of_memory
from worker.beside import Beside
from worker.errors import WorkerError
from worker.log import where, where_is_the_main_thread
from worker.memory import FitMemory
from worker.settings import WorkerSettings
from worker.store.leases import AttemptUpdate, Claim, LeaseStore, PulseReply, Trace

_LOGGED_FRAMES = 12  # innermost frames of a fit that does not stop

log = structlog.get_logger(__name__)


class Updates(Protocol):
    """What is new in an attempt: `ProgressUpdates` of a fit, `ChunkUpdates` of a chunk of a batch."""

    def build(self, seconds: float, *, everything: bool = False) -> AttemptUpdate:
        """Return the update after `seconds` of this attempt. everything: include what is not due yet."""

    def mark_saved(self) -> None:
        """Record that the store has the last update."""

    def progress(self, *, is_done: bool = False) -> str:
        """Return the latest progress as JSON text, "" if there is none."""

    def trace(self) -> Trace:
        """Return what listeners see and the store does not have yet."""

    def partial(self, code: OutcomeCode) -> str:
        """Return what there is of a result as JSON text, "" for what the store has."""

    def give_up(self, failure: str) -> bool:
        """Give up what runs, with this error (JSON text). Returns False if nothing else is left to do."""


class Pulse(Beside):
    """Renews the lease, saves progress and checkpoints, and passes on requests to stop, several times a second.

    The fit runs in the main thread. If it does not stop in time, or exceeds its memory limit, the pulse saves its best
    point and kills the process. While Redis is away the fit goes on, and the pulse keeps trying.

        with Pulse(…) as pulse:
            problem = …
            pulse.limit(problem.time_limit_seconds)
            fit(problem, monitor=monitor, …)
    """

    def __init__(
        self,
        store: LeaseStore,
        claim: Claim,
        monitor: Monitor,
        updates: Updates,
        settings: WorkerSettings,
        memory: FitMemory,
        stopping: Callable[[], bool],
    ) -> None:
        super().__init__("pulse", settings.pulse_seconds)
        self._store = store
        self._claim = claim
        self._monitor = monitor
        self._settings = settings
        self._memory = memory
        self._stopping = stopping
        self._updates = updates
        self._time_left = math.inf
        self._started = time.monotonic()
        self._stop_requested_at: float | None = None
        self._is_store_away = False
        self._is_making_way = False

    def limit(self, seconds: float) -> None:
        """Set how long the attempt may run."""
        self._time_left = seconds

    def final_update(self) -> AttemptUpdate:
        """Return everything that the store does not have yet."""
        return self._updates.build(self._seconds(), everything=True)

    def progress(self, *, is_done: bool = False) -> str:
        """Return the latest progress as JSON text, "" if there is none. is_done: nothing is left to do."""
        return self._updates.progress(is_done=is_done)

    def trace(self) -> Trace:
        """Return the best parameters, and the losses that the store does not have yet."""
        return self._updates.trace()

    def partial(self, reason: StopReason) -> str:
        """Return what there is of a result as JSON text, "" for what the store has."""
        return self._updates.partial(_OUTCOMES[reason])

    def _beat(self) -> None:
        try:
            self._look()
        except WorkerError as error:
            if not self._is_store_away:
                log.warning("pulse_without_store", fit=self._claim.fit_id, reason=str(error))
            self._is_store_away = True
        except Exception as error:  # noqa: BLE001  without this thread the lease lapses and the fit cannot be stopped
            log.error("pulse_failed", fit=self._claim.fit_id, kind=type(error).__name__, at=where(error))

    def _look(self) -> None:
        if self._stopping():
            self._request_stop("interrupted")
        if self._seconds() > self._time_left + self._settings.stop_grace_seconds:
            self._request_stop("time_limit")  # the fit knows the limit, and did not keep it
        self._enforce_stop()
        self._enforce_memory_limit()
        reply = self._store.pulse(self._claim, self._updates.build(self._seconds()))
        self._updates.mark_saved()
        if self._is_store_away:
            log.info("pulse_again", fit=self._claim.fit_id)
        self._is_store_away = False
        if reply is PulseReply.LOST:
            self._request_stop("lease_lost")
        elif reply is PulseReply.CANCEL:
            self._request_stop("cancelled")
        elif reply is PulseReply.YIELD:
            self._make_way()

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _make_way(self) -> None:
        """Have the fit handed back when it next can stop; it is not killed for that."""
        if self._monitor.stop is None:
            self._is_making_way = True
            self._monitor.stop = "interrupted"
            log.info("makes_way", fit=self._claim.fit_id)

    def _request_stop(self, reason: StopReason) -> None:
        if self._monitor.stop is None or self._is_making_way:
            self._is_making_way = False
            self._monitor.stop = reason
            self._stop_requested_at = time.monotonic()
            log.info("asked_to_stop", fit=self._claim.fit_id, reason=reason)

    def _enforce_stop(self) -> None:
        """Kill this process if the fit has not stopped in time, after saving what can be saved."""
        reason = self._monitor.stop
        if reason is None or self._stop_requested_at is None:
            return
        if time.monotonic() - self._stop_requested_at < self._grace(reason):
            return
        frames = where_is_the_main_thread()[-_LOGGED_FRAMES:]
        log.warning("does_not_stop", fit=self._claim.fit_id, reason=reason, at=frames)
        ending = ending_of_stop(reason, self.partial(reason))
        if isinstance(ending, Ending):
            # If Redis is away this raises, and the next beat tries again: the end must be saved first.
            self._store.finish(self._claim, ending, self.progress(), self.trace())
        elif ending == "hand_back":
            with suppress(WorkerError):  # otherwise the lease lapses
                self._store.hand_back(self._claim, self.final_update())
        os.kill(os.getpid(), signal.SIGKILL)

    def _enforce_memory_limit(self) -> None:
        if not self._memory.exceeded():
            return
        log.warning("takes_too_much_memory", fit=self._claim.fit_id, megabytes=self._memory.megabytes)
        failure = out_of_memory(self._memory.megabytes)
        if self._updates.give_up(failure):
            self._store.hand_back(self._claim, self.final_update())
        else:
            # Computing a partial result would take more memory; the store has that of the last checkpoint.
            self._store.finish(self._claim, Ending("failed", error=failure), self.progress(), self.trace())
        os.kill(os.getpid(), signal.SIGKILL)

    def _grace(self, reason: StopReason) -> float:
        return self._settings.cancel_grace_seconds if reason == "cancelled" else self._settings.stop_grace_seconds


_OUTCOMES: dict[StopReason, OutcomeCode] = {
    "cancelled": "cancelled",
    "time_limit": "time_limit",
    "interrupted": "interrupted",
    "lease_lost": "interrupted",
}
