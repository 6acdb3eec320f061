"""The parts of all members → one schedule, and the discontinuities of the equations into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odelib.arrays import Integers, Reals
from odelib.engines.discontinuities import Found
from odelib.engines.schedules.schedule import PIECE, SWITCH, Schedule
from odelib.engines.schedules.timeline import Part

_ARRAYS = ("times", "time_rows", "kinds", "targets", "values", "rows")


@dataclass(frozen=True)
class Columns:
    """The parameters that the columns of a part's Jacobian stand for, among all `count`."""

    count: int
    used: tuple[int, ...]

    def widened(self, jacobian: Reals) -> Reals:
        """The Jacobian by all parameters, (R, p)."""
        wide = np.zeros((len(jacobian), self.count))
        if len(jacobian):
            wide[:, list(self.used)] = jacobian
        return wide


def stacked(parts: Sequence[Part], columns: Columns) -> Schedule:
    """The schedule of all members, without their own constants."""
    count, longest = len(parts), max((len(part.entries) for part in parts), default=0)
    times = np.full((count, longest), np.inf)
    time_rows, kinds, targets = (np.full((count, longest), -1, dtype=np.int64) for _ in range(3))
    values, rows = np.zeros((count, longest)), np.full((count, longest), -1, dtype=np.int64)
    jacobians, pieces, held_rows, row, piece = [], [], [], 0, 0
    pieces_of: dict[int, int] = {}  # where the pieces of a part begin; members without parameters share one
    for b, part in enumerate(parts):
        entries, here = part.entries, slice(0, len(part.entries))
        if id(part) not in pieces_of:
            pieces_of[id(part)] = piece
            pieces.append(part.pieces)
            piece += len(part.pieces)
        times[b, here], kinds[b, here], values[b, here] = entries.times, entries.kinds, entries.values
        targets[b, here] = entries.targets
        time_rows[b, here] = _moved(entries.time_rows, row)
        is_piece = entries.kinds == PIECE
        rows[b, here] = np.where(is_piece, entries.rows + pieces_of[id(part)], _moved(entries.rows, row))
        held_rows.append(_moved(part.held_rows, row))
        jacobians.append(part.jacobian)
        row += len(part.jacobian)
    jacobian = [columns.widened(part) for part in jacobians if len(part)]
    return Schedule(
        times, time_rows, kinds, targets, values, rows,
        jacobian=np.concatenate([np.zeros((0, columns.count)), *jacobian]),
        pieces=np.concatenate(pieces) if pieces else np.zeros((0, 5)),
        constants=np.zeros((count, 0)),
        held=np.stack([part.held for part in parts]) if parts else np.zeros((0, 0)),
        held_rows=np.stack(held_rows) if parts else np.zeros((0, 0), dtype=np.int64),
    )  # fmt: skip


def with_switches(schedule: Schedule, found: Found, tolerance: float) -> Schedule:
    """The schedule with discontinuities, which stand last at an instant. tolerance: of times that are one instant."""
    count, own = schedule.times.shape
    times = np.broadcast_to(found.times, (count, found.times.shape[1])).copy()
    if own:
        for row, entries in zip(times, schedule.times, strict=True):
            place = np.clip(np.searchsorted(entries, row), 1, own)
            for near in (entries[place - 1], entries[np.minimum(place, own - 1)]):
                is_same = np.abs(near - row, out=np.full(len(row), np.inf), where=np.isfinite(row)) <= tolerance
                row[is_same] = near[is_same]
    shape, none = times.shape, np.full(times.shape, -1, dtype=np.int64)
    width = found.jacobian.shape[2]
    jacobian, time_rows = schedule.jacobian, none
    if width:
        moving = np.broadcast_to(found.jacobian, (*shape, width)).reshape(-1, width)
        is_moving = moving.any(1)
        time_rows = np.where(is_moving, len(jacobian) + np.cumsum(is_moving) - 1, -1).reshape(shape)
        jacobian = np.concatenate([jacobian, moving[is_moving]])
    shifts = np.broadcast_to(found.shifts, shape)
    added = (times, time_rows, np.full(shape, SWITCH), shifts, np.zeros(shape), none)
    joined = {
        name: np.concatenate([getattr(schedule, name), more], axis=1) for name, more in zip(_ARRAYS, added, strict=True)
    }
    order = np.argsort(joined["times"], axis=1, kind="stable")
    ordered: dict[str, Any] = {name: np.take_along_axis(array, order, axis=1) for name, array in joined.items()}
    return replace(schedule, jacobian=jacobian, **ordered)


def _moved(rows: Integers, by: int) -> Integers:
    return np.where(rows < 0, -1, rows + by)
