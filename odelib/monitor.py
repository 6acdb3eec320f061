"""Progress, checkpoints and the request to stop, exchanged between a running fit and another thread.

A fit knows no Redis and no terminal: it writes its progress and checkpoints into a `Monitor`, and checks there whether
it should stop. Another thread reads and writes the same object. Each field is replaced as a whole, so neither side has
to wait for the other.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from odelib.errors import StopReason


@dataclass(frozen=True)
class Progress:
    """How far a fit has come.

    stage: the kind of the running stage. step, steps: how many of its steps are done, and how many it has. loss: the
    best so far. fraction: of the planned steps of all stages, 0 to 1; it never decreases within an attempt. After the
    stages, profiles are a stage `profile` of as many steps as there are free unknowns.
    """

    stage: str
    step: int
    steps: int
    loss: float
    fraction: float


@dataclass(frozen=True)
class Checkpoint:
    """The state of a fit from which a later attempt continues, or from which a partial result is made.

    stage: the index of the running stage; step: how many of its steps are done. `(stage, step)` only increases.
    best: the best point so far by the names of the free unknowns, in the caller's units, with its `loss` and
    `gradient_norm`. states: the states at the best point, by series and name, at the times of the series.
    optimiser: the memory of the running stage, as JSON; None if it starts afresh from `best`. While profiles are
    computed it has those that are done, and the outcome; `stage` is then the number of stages, and more if a profile
    has found a better point.
    reports: the reports of the stages so far, including the running one, in the form of a result's `stages`.
    """

    stage: int
    step: int
    best: dict[str, float]
    loss: float
    gradient_norm: float
    states: list[dict[str, list[float]]]
    optimiser: dict[str, Any] | None
    reports: list[dict[str, Any]]

    @property
    def position(self) -> tuple[int, int]:
        """How far the fit has come: a later checkpoint has a larger position."""
        return self.stage, self.step

    def to_json(self) -> str:
        """Return the checkpoint as JSON text, in which floats keep all their bits."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Checkpoint:
        """Make a checkpoint from the text of `to_json`. Raises `TypeError` or `ValueError` for any other text."""
        return cls(**json.loads(text))


MAX_LOSSES = 1_000


class LossHistory:
    """The loss after each step of a fit, thinned evenly to at most `MAX_LOSSES` entries.

    One thread adds, another reads. strides: how often it was thinned; a reader that has seen another number reads all.

    >>> history = LossHistory()
    >>> for step in range(1, 5_001):
    ...     history.add(step, 1 / step)
    >>> len(history.since(0)) <= MAX_LOSSES, history.since(4_996)
    (True, [(5000, 0.0002)])
    """

    def __init__(self, entries: Iterable[tuple[int, float]] = ()) -> None:
        self._entries = list(entries)
        self.strides = 0

    def add(self, step: int, loss: float) -> None:
        """Add the loss after a step, counted over all stages."""
        if step % 2**self.strides and self._entries:
            return
        if len(self._entries) >= MAX_LOSSES:
            self.strides += 1
            # A new list: the reader may be going through the old one.
            self._entries = [entry for entry in self._entries if entry[0] % 2**self.strides == 0]
        self._entries.append((step, loss))

    def since(self, step: int) -> list[tuple[int, float]]:
        """Return the entries after a step."""
        entries = self._entries
        return entries[bisect_right(entries, step, key=lambda entry: entry[0]) :]


@dataclass
class Monitor:
    """The object that a fit and another thread share.

    stop: set by the other thread; the fit checks it often, even during a solve.
    progress, checkpoint: the latest ones, set by the fit. losses: of all steps so far.

    >>> from odelib import FitProblem, fit
    >>> problem = FitProblem.model_validate({
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "data": {"times": [0, 1, 2], "values": {"c": [8.0, 4.0, 2.0]}},
    ...     "parameters": {"k": 1.0}, "initial_state": {"c": 5.0},
    ... })
    >>> monitor = Monitor()
    >>> result = fit(problem, monitor=monitor)
    >>> monitor.progress.stage, monitor.progress.loss == result.loss
    ('lbfgsb', True)
    >>> fit(problem, monitor=Monitor(stop="cancelled"))
    Traceback (most recent call last):
    odelib.errors.StopRequested: cancelled
    """

    stop: StopReason | None = None
    progress: Progress | None = field(default=None)
    checkpoint: Checkpoint | None = field(default=None)
    losses: LossHistory = field(default_factory=LossHistory)
