"""The work of a worker's child: claim a fit, run it, save its end.

This module loads the numerics, so only children import it, after the fork.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress

import structlog
import torch

from odelib.errors import FitError, StopRequested
from odelib.fitting import fit, warm_up
from odelib.monitor import Checkpoint, Monitor
from odelib.problem.limits import UNLIMITED
from odelib.problem.request import parse_problem
from worker.attempt_endings import Ending, Unfinished, ending_of_error, ending_of_result, ending_of_stop
from worker.batches.chunk import ChunkRun
from worker.batches.updates import SINGLY, ChunkUpdates
from worker.errors import StoreUnavailable
from worker.memory import FitMemory, default_megabytes
from worker.progress_updates import ProgressUpdates
from worker.pulse import Pulse, Updates
from worker.settings import WorkerSettings
from worker.shared_flags import SharedFlags
from worker.states import Queue
from worker.store.batches import rows_in
from worker.store.connection import connect
from worker.store.leases import Claim, ClaimedChunk, LeaseStore
from worker.unforeseen import failure_of

_MIN_RETRY_PAUSE, _MAX_RETRY_PAUSE = 0.1, 2.0  # seconds

log = structlog.get_logger(__name__)


class FitRunner:
    """Runs fits, one at a time, in this process.

    wake: sends a wake-up for a fit of a queue; raises `StoreUnavailable`. processes: number of processes like this one
    that share the machine's memory.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        wake: Callable[[Queue, str], None],
        flags: SharedFlags,
        *,
        processes: int = 1,
    ) -> None:
        torch.set_num_threads(1)
        self._settings = settings
        self._megabytes = settings.fit_memory_mb or default_megabytes(processes)
        self._wake = wake
        self._flags = flags
        self._store = LeaseStore(connect(settings.redis_url, retries=0), settings)

    def warm_up(self) -> None:
        """Do everything in advance that only the first fit would wait for."""
        warm_up()
        try:
            self._store.connect()
        except StoreUnavailable as error:
            log.warning("no_store_yet", reason=str(error))

    def run_next_fit(self, queue: Queue, fit_id: str) -> None:
        """Run the oldest waiting fit of the queue, if any. fit_id: the fit for which the wake-up was sent."""
        if self._flags.stopping:
            self._wake_others(queue, fit_id)
            return
        try:
            claim = self._store.claim(queue)
        except StoreUnavailable as error:
            log.warning("no_claim", queue=queue, reason=str(error))  # the sweep sends another wake-up
            return
        if claim is None:
            log.info("nothing_to_do", queue=queue, fit=fit_id)
            return
        log.info(
            "claimed",
            queue=queue,
            fit=claim.fit_id,
            attempt=claim.token,
            elapsed=claim.elapsed,
            request=claim.request_id,
        )
        self._work(queue, claim)

    def _work(self, queue: Queue, claim: Claim) -> None:
        monitor, memory = Monitor(), FitMemory(self._megabytes)
        # A GPU driver maps far more memory than it uses, so the kernel's limit cannot apply.
        ceiling = nullcontext() if queue == "gpu" else memory.limited()
        if claim.chunk is None:
            progress = ProgressUpdates(monitor, self._settings.checkpoint_seconds)
            pulse = self._pulse(claim, monitor, progress, memory)
            ending = _run(claim, monitor, progress, pulse, memory, ceiling)
        else:
            singly = claim.checkpoint == SINGLY.encode()
            rows = ChunkUpdates(rows_in(claim.chunk.rows), singly=singly, every=self._settings.checkpoint_seconds)
            pulse = self._pulse(claim, monitor, rows, memory)
            ending = self._run_chunk(claim, claim.chunk, monitor, rows, pulse, ceiling)
        if isinstance(ending, Ending):
            self._finish(claim, ending, pulse)
            if claim.chunk is not None:  # another chunk of the batch may wait now
                self._wake_others(queue, claim.fit_id)
        elif ending == "hand_back":
            self._hand_back(queue, claim, pulse)
        else:
            log.warning("dropped", fit=claim.fit_id, attempt=claim.token)

    def _pulse(self, claim: Claim, monitor: Monitor, updates: Updates, memory: FitMemory) -> Pulse:
        return Pulse(self._store, claim, monitor, updates, self._settings, memory, lambda: self._flags.stopping)

    def _run_chunk(
        self,
        claim: Claim,
        chunk: ClaimedChunk,
        monitor: Monitor,
        updates: ChunkUpdates,
        pulse: Pulse,
        ceiling: AbstractContextManager[None],
    ) -> Ending | Unfinished:
        request = json.loads(claim.problem)["request"]
        run = ChunkRun(request, claim, chunk, updates, self._settings.max_deaths, self._megabytes)
        try:
            with pulse, ceiling:
                return run.run(monitor)
        except StopRequested as stop:
            return run.ending() if stop.reason == "cancelled" else ending_of_stop(stop.reason, "")

    def _finish(self, claim: Claim, ending: Ending, pulse: Pulse) -> None:
        progress = pulse.progress(is_done=ending.status == "succeeded")
        trace = pulse.trace()
        if self._retry(claim, lambda: self._store.finish(claim, ending, progress, trace)):
            log.info("ended", fit=claim.fit_id, attempt=claim.token, status=ending.status)
        else:
            log.warning("end_not_saved", fit=claim.fit_id, attempt=claim.token, status=ending.status)

    def _hand_back(self, queue: Queue, claim: Claim, pulse: Pulse) -> None:
        if self._retry(claim, lambda: self._store.hand_back(claim, pulse.final_update())):
            log.info("handed_back", fit=claim.fit_id, attempt=claim.token)
            self._wake_others(queue, claim.fit_id)

    def _retry(self, claim: Claim, save: Callable[[], bool]) -> bool:
        """Call `save` until the store is available, and return its result; False if the worker stops before."""
        pause, since = _MIN_RETRY_PAUSE, time.monotonic()
        while True:
            try:
                return save()
            except StoreUnavailable as error:
                if pause == _MIN_RETRY_PAUSE:
                    log.warning("save_waits_for_store", fit=claim.fit_id, reason=str(error))
                if self._flags.stopping and time.monotonic() - since > self._settings.stop_grace_seconds:
                    return False
            time.sleep(pause)
            pause = min(2 * pause, _MAX_RETRY_PAUSE)

    def _wake_others(self, queue: Queue, fit_id: str) -> None:
        with suppress(StoreUnavailable):  # otherwise their sweep finds the fit
            self._wake(queue, fit_id)


def _run(
    claim: Claim,
    monitor: Monitor,
    updates: ProgressUpdates,
    pulse: Pulse,
    memory: FitMemory,
    ceiling: AbstractContextManager[None],
) -> Ending | Unfinished:
    try:
        with pulse, ceiling:
            problem = parse_problem(json.loads(claim.problem)["request"], UNLIMITED)
            resume = _checkpoint_of(claim)
            updates.begin(problem, resume, claim.losses)
            pulse.limit(problem.time_limit_seconds - claim.elapsed)
            return ending_of_result(fit(problem, monitor=monitor, resume=resume, elapsed=claim.elapsed))
    except StopRequested as stop:
        return ending_of_stop(stop.reason, pulse.partial(stop.reason))
    except FitError as error:
        if error.code == "time_limit":  # before the first point of this attempt; an earlier attempt may have left one
            return ending_of_stop("time_limit", pulse.partial("time_limit"))
        log.info("cannot_succeed", fit=claim.fit_id, code=error.code)
        return ending_of_error(error, pulse.partial("interrupted"))
    except Exception as error:  # noqa: BLE001  any other exception fails the fit, so that it is not tried for ever
        failure = failure_of(error, claim.fit_id, memory.megabytes)
        return Ending("failed", pulse.partial("interrupted"), failure)


def _checkpoint_of(claim: Claim) -> Checkpoint | None:
    if claim.checkpoint is None:
        return None
    try:
        return Checkpoint.from_json(claim.checkpoint)
    except (TypeError, ValueError):
        # Written by another version of the software; the fit starts anew.
        log.warning("checkpoint_not_understood", fit=claim.fit_id)
        return None
