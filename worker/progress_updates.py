"""What a running fit has to tell, as the store keeps it; nothing is told twice."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict

import structlog

from odelib.fitting import partial_result
from odelib.monitor import Checkpoint, Monitor, Progress
from odelib.problem.request import FitProblem
from odelib.result import OutcomeCode
from worker.log import where
from worker.store.leases import ProgressReport
from worker.store.scripts import outcome_json

log = structlog.get_logger(__name__)


class News:
    """Reads a monitor and says what of it the store does not have yet.

    every: seconds from one checkpoint in the store to the next within a stage; a new stage is told at once.
    """

    def __init__(self, monitor: Monitor, every: float) -> None:
        self._monitor = monitor
        self._every = every
        self._problem: FitProblem | None = None
        self._checkpoint: Checkpoint | None = None
        self._progress: Progress | None = None
        self._told = -math.inf
        self._pending: tuple[Progress | None, Checkpoint | None] = (None, None)
        self._rendered: tuple[Checkpoint | None, ProgressReport] = (None, ProgressReport(0.0))

    def begin(self, problem: FitProblem, earlier: Checkpoint | None) -> None:
        """The fit begins, from the checkpoint of an earlier attempt if there was one."""
        self._problem = problem
        self._checkpoint = earlier

    def report(self, seconds: float, *, everything: bool = False) -> ProgressReport:
        """The news after `seconds` of this attempt; `everything`: also a checkpoint whose turn has not come."""
        progress, checkpoint = self._monitor.progress, self._monitor.checkpoint
        if checkpoint is self._checkpoint or not (everything or self._is_due(checkpoint)):
            checkpoint = None
        self._pending = (progress, checkpoint)
        texts = self._render(checkpoint) if checkpoint is not None else ProgressReport(0.0)
        return ProgressReport(
            seconds,
            "" if progress is self._progress else _progress_json(progress),
            texts.checkpoint,
            texts.position,
            texts.partial,
            texts.partial_outcome,
        )

    def saved(self) -> None:
        """The last report is in the store."""
        self._progress, checkpoint = self._pending
        if checkpoint is not None:
            self._checkpoint = checkpoint
            self._told = time.monotonic()

    def progress(self) -> str:
        """The latest progress as JSON text, "" if there is none."""
        return _progress_json(self._monitor.progress)

    def partial(self, code: OutcomeCode) -> str:
        """The result from the latest checkpoint as JSON text, "" if none can be made.

        The store has the one of the last checkpoint saved, and shows it in place of none.
        """
        checkpoint = self._monitor.checkpoint or self._checkpoint
        return self._partial_of(checkpoint, code) if checkpoint is not None else ""

    def _is_due(self, checkpoint: Checkpoint | None) -> bool:
        if checkpoint is None:
            return False
        new_stage = self._checkpoint is None or checkpoint.stage != self._checkpoint.stage
        return new_stage or time.monotonic() - self._told >= self._every

    def _render(self, checkpoint: Checkpoint) -> ProgressReport:
        # While Redis is away the same checkpoint is reported again and again.
        if self._rendered[0] is not checkpoint:
            partial = self._partial_of(checkpoint, "interrupted")
            text = checkpoint.to_json()
            outcome = outcome_json("interrupted") if partial else ""
            self._rendered = checkpoint, ProgressReport(0.0, "", text, checkpoint.position, partial, outcome)
        return self._rendered[1]

    def _partial_of(self, checkpoint: Checkpoint, code: OutcomeCode) -> str:
        if self._problem is None:
            return ""
        try:
            return partial_result(self._problem, checkpoint, code).to_json()
        except Exception as error:  # noqa: BLE001  checkpoint and end state are worth saving all the same
            log.error("no_partial_result", kind=type(error).__name__, at=where(error))
            return ""


def _progress_json(progress: Progress | None) -> str:
    if progress is None or not math.isfinite(progress.loss):
        return ""
    return json.dumps(asdict(progress))
