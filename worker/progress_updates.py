"""The updates that a running fit sends to the store: progress, checkpoint and partial result, each only once."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace

import structlog

from odelib.fitting import partial_result
from odelib.monitor import Checkpoint, LossHistory, Monitor, Progress
from odelib.problem.request import FitProblem
from odelib.result import OutcomeCode
from worker.log import where
from worker.store.leases import AttemptUpdate, Trace
from worker.store.scripts import outcome_json
from worker.trace_updates import TraceUpdates

log = structlog.get_logger(__name__)


class ProgressUpdates:
    """Builds updates from what the monitor has and the store does not have yet.

    every: seconds between two saved checkpoints of a stage; the first checkpoint of a stage is saved at once.
    """

    def __init__(self, monitor: Monitor, every: float) -> None:
        self._monitor = monitor
        self._every = every
        self._problem: FitProblem | None = None
        self._saved_progress: Progress | None = None
        self._saved_checkpoint: Checkpoint | None = None
        self._checkpoint_saved_at = -math.inf
        self._pending: tuple[Progress | None, Checkpoint | None] = (None, None)
        self._trace = TraceUpdates()
        self._rendered: tuple[Checkpoint | None, AttemptUpdate] = (None, AttemptUpdate(0.0))

    def begin(self, problem: FitProblem, earlier: Checkpoint | None, losses: bytes | None = None) -> None:
        """Set the problem, and the checkpoint and the losses of an earlier attempt if there are any."""
        self._problem = problem
        self._saved_checkpoint = earlier
        if earlier is not None and losses:
            steps = sum(report["steps"] for report in earlier.reports)
            entries = ((step, loss) for step, loss in json.loads(b"[%b]" % losses) if step <= steps)
            self._monitor.losses = LossHistory(entries)

    def build(self, seconds: float, *, everything: bool = False) -> AttemptUpdate:
        """Return the update after `seconds` of this attempt. everything: include a checkpoint that is not due yet."""
        progress, checkpoint = self._monitor.progress, self._monitor.checkpoint
        if checkpoint is self._saved_checkpoint or not (everything or self._is_due(checkpoint)):
            checkpoint = None
        self._pending = (progress, checkpoint)
        texts = self._render(checkpoint) if checkpoint is not None else AttemptUpdate(0.0)
        is_new = progress is not self._saved_progress
        return AttemptUpdate(
            seconds,
            _progress_json(progress) if is_new else "",
            texts.checkpoint,
            texts.position,
            texts.partial,
            texts.partial_outcome,
            self.trace() if is_new else Trace(),
        )

    def mark_saved(self) -> None:
        """Record that the store has the last update."""
        self._saved_progress, checkpoint = self._pending
        self._trace.mark_saved()
        if checkpoint is not None:
            self._saved_checkpoint = checkpoint
            self._checkpoint_saved_at = time.monotonic()

    def progress(self, *, is_done: bool = False) -> str:
        """Return the latest progress as JSON text, "" if there is none. is_done: nothing is left to do."""
        latest = self._monitor.progress
        return _progress_json(replace(latest, fraction=1.0) if latest is not None and is_done else latest)

    def trace(self) -> Trace:
        """Return the best parameters so far, and the losses that the store does not have yet."""
        checkpoint = self._monitor.checkpoint
        if checkpoint is None or self._problem is None:
            return Trace()
        return self._trace.build(self._problem, checkpoint.best, self._monitor.losses)

    def partial(self, code: OutcomeCode) -> str:
        """Return the result of the latest checkpoint as JSON text, "" if it cannot be computed.

        For "" the store falls back on the partial result of the last saved checkpoint.
        """
        checkpoint = self._monitor.checkpoint or self._saved_checkpoint
        return self._partial_of(checkpoint, code) if checkpoint is not None else ""

    def give_up(self, failure: str) -> bool:
        """Return False: there is nothing besides the fit."""
        return False

    def _is_due(self, checkpoint: Checkpoint | None) -> bool:
        if checkpoint is None:
            return False
        is_new_stage = self._saved_checkpoint is None or checkpoint.stage != self._saved_checkpoint.stage
        return is_new_stage or time.monotonic() - self._checkpoint_saved_at >= self._every

    def _render(self, checkpoint: Checkpoint) -> AttemptUpdate:
        # Kept, because the same checkpoint is sent again and again while Redis is away.
        if self._rendered[0] is not checkpoint:
            partial = self._partial_of(checkpoint, "interrupted")
            text = checkpoint.to_json()
            outcome = outcome_json("interrupted") if partial else ""
            self._rendered = checkpoint, AttemptUpdate(0.0, "", text, checkpoint.position, partial, outcome)
        return self._rendered[1]

    def _partial_of(self, checkpoint: Checkpoint, code: OutcomeCode) -> str:
        if self._problem is None:
            return ""
        try:
            return partial_result(self._problem, checkpoint, code).to_json()
        except Exception as error:  # noqa: BLE001  checkpoint and end state are saved all the same
            log.error("no_partial_result", kind=type(error).__name__, at=where(error))
            return ""


def _progress_json(progress: Progress | None) -> str:
    if progress is None or not math.isfinite(progress.loss):
        return ""
    return json.dumps(asdict(progress))
