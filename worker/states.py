"""The states of a fit as a job, and the only table of the moves between them.

Whether the fit converged is not a state but the `outcome` of its result: a fit that did not converge is a `succeeded`
job. The scripts in `store/` receive this table and refuse every other move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Queue = Literal["cpu", "gpu"]

STATUSES: tuple[Status, ...] = get_args(Status)
QUEUES: tuple[Queue, ...] = get_args(Queue)

# `running` → `running` is the next attempt, after a worker died or handed the fit back.
MOVES: Mapping[Status, frozenset[Status]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"running", "succeeded", "failed", "cancelled"}),
    "succeeded": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
ENDED: frozenset[Status] = frozenset(status for status, moves in MOVES.items() if not moves)
