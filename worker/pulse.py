"""The thread beside a running fit: it keeps the lease, tells how the fit goes, and has it stopped."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from odelib.errors import StopReason
from odelib.monitor import Checkpoint, Monitor
from odelib.problem.request import FitProblem
from odelib.result import OutcomeCode
from worker.attempt_endings import Ending, ending_of_stop, out_of_memory
from worker.errors import WorkerError
from worker.log import where, where_is_the_main_thread
from worker.memory import FitMemory
from worker.progress_updates import News
from worker.settings import WorkerSettings
from worker.store.leases import Answer, Claim, LeaseStore, ProgressReport

_INNERMOST = 12  # calls that are logged of a fit that does not stop

log = structlog.get_logger(__name__)


class Pulse:
    """Several times a second, beside a fit in the main thread: renew the lease, pass on the request to stop, save
    progress and checkpoint.

    A fit that does not stop in time, or takes more memory than it may, is ended here, with its best point, and its
    process with it. Redis may be away: the fit goes on, and the pulse with it as soon as Redis is back.

        with Pulse(…) as pulse:
            problem = …
            pulse.begin(problem, resume)
            fit(problem, monitor=monitor, …)
    """

    def __init__(
        self,
        store: LeaseStore,
        claim: Claim,
        monitor: Monitor,
        settings: WorkerSettings,
        memory: FitMemory,
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._claim = claim
        self._monitor = monitor
        self._settings = settings
        self._memory = memory
        self._stopping = stopping
        self._news = News(monitor, settings.checkpoint_seconds)
        self._time_left = math.inf
        self._started = time.monotonic()
        self._asked: float | None = None
        self._away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def begin(self, problem: FitProblem, resume: Checkpoint | None) -> None:
        """The problem is known now, and from where the fit goes on."""
        self._news.begin(problem, resume)
        self._time_left = problem.time_limit_seconds - self._claim.elapsed

    def final_report(self) -> ProgressReport:
        """All that the store does not have yet."""
        return self._news.report(self._seconds(), everything=True)

    def progress(self) -> str:
        """The latest progress, as JSON text; "" if there is none."""
        return self._news.progress()

    def partial(self, reason: StopReason) -> str:
        """The result from the last checkpoint, as JSON text; "" if there is none."""
        return self._news.partial(_OUTCOMES[reason])

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            # A tick that was missed is not made up for.
            due = max(due + self._settings.pulse_seconds, time.monotonic())
            if self._over.wait(due - time.monotonic()):
                return
            try:
                self._beat()
            except WorkerError as error:
                if not self._away:
                    log.warning("pulse_without_store", fit=self._claim.fit_id, reason=str(error))
                self._away = True
            except Exception as error:  # noqa: BLE001  without this thread the lease lapses and nobody can stop the fit
                log.error("pulse_failed", fit=self._claim.fit_id, kind=type(error).__name__, at=where(error))

    def _beat(self) -> None:
        if self._stopping():
            self._ask("interrupted")
        if self._seconds() > self._time_left + self._settings.stop_grace_seconds:
            self._ask("time_limit")  # the fit knows its limit, and did not keep it
        self._enforce()
        self._enforce_memory()
        report = self._news.report(self._seconds())
        answer = self._store.pulse(self._claim, report)
        self._news.saved()
        if self._away:
            log.info("pulse_again", fit=self._claim.fit_id)
        self._away = False
        if answer is Answer.LOST:
            self._ask("lease_lost")
        elif answer is Answer.CANCEL:
            self._ask("cancelled")

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _ask(self, reason: StopReason) -> None:
        if self._monitor.stop is None:
            self._monitor.stop = reason
            self._asked = time.monotonic()
            log.info("asked_to_stop", fit=self._claim.fit_id, reason=reason)

    def _enforce(self) -> None:
        reason = self._monitor.stop
        if reason is None or self._asked is None or time.monotonic() - self._asked < self._grace(reason):
            return
        place = where_is_the_main_thread()[-_INNERMOST:]
        log.warning("does_not_stop", fit=self._claim.fit_id, reason=reason, at=place)
        ending = ending_of_stop(reason, self.partial(reason))
        if isinstance(ending, Ending):
            # If Redis is away this raises, and the next tick tries again: the end must be saved first.
            self._store.finish(self._claim, ending, self.progress())
        elif ending == "hand_back":
            with suppress(WorkerError):  # the lease lapses then
                self._store.hand_back(self._claim, self.final_report())
        os.kill(os.getpid(), signal.SIGKILL)

    def _enforce_memory(self) -> None:
        if not self._memory.exceeded():
            return
        log.warning("takes_too_much_memory", fit=self._claim.fit_id, megabytes=self._memory.megabytes)
        # Nothing is made of the best point, which would take more memory: that of the last checkpoint stands.
        ending = Ending("failed", error=out_of_memory(self._memory.megabytes))
        self._store.finish(self._claim, ending, self.progress())
        os.kill(os.getpid(), signal.SIGKILL)

    def _grace(self, reason: StopReason) -> float:
        return self._settings.cancel_grace_seconds if reason == "cancelled" else self._settings.stop_grace_seconds


_OUTCOMES: dict[StopReason, OutcomeCode] = {
    "cancelled": "cancelled",
    "time_limit": "time_limit",
    "interrupted": "interrupted",
    "lease_lost": "interrupted",
}
