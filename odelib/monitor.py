"""What a running fit and the world beside it tell each other.

A fit never talks to Redis, a terminal or a clock on the wall: it writes its progress and checkpoints into a
`Monitor`, and looks there whether it should stop. Another thread reads and writes the same object; each field
is replaced whole, so neither side waits for the other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from odelib.errors import StopReason


@dataclass(frozen=True)
class Progress:
    """Where a fit stands. `fraction` is of all steps planned, 0 to 1, and never decreases within an attempt."""

    stage: str
    step: int
    steps: int
    loss: float
    fraction: float


@dataclass(frozen=True)
class Checkpoint:
    """From where the next attempt goes on, and what can be told of the fit if there is none.

    stage: index of the stage that was running; step: its steps done. `(stage, step)` only grows.
    best: the best point so far by the unknowns' names, in the caller's units, with `loss` and `gradient_norm`.
    states: the states at the best point, per series and state, at the series' times.
    optimiser: the running stage's own memory (JSON), None where it starts afresh from `best`.
    reports: what the stages so far did, the running one included, as the `stages` of a result.
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
        """How far the fit has come; a later checkpoint has a greater one."""
        return self.stage, self.step

    def to_json(self) -> str:
        """As JSON text; floats survive to the last bit."""
        return json.dumps(asdict(self), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Checkpoint:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


@dataclass
class Monitor:
    """The letterbox between a fit and the thread beside it.

    stop: set from outside; the fit looks at it inside every right-hand side and every step.
    progress, checkpoint: set by the fit; the latest of each.
    """

    stop: StopReason | None = None
    progress: Progress | None = field(default=None)
    checkpoint: Checkpoint | None = field(default=None)
