"""What happens in the members of a batch, as arrays for the compiled loop: from a schedule, or from discontinuities."""

from __future__ import annotations

import numpy as np

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.compiled.sensitivity_jumps import Instants
from odelib.engines.discontinuities import Found
from odelib.engines.schedules.schedule import HOLD, PIECE, PIECE_SIZE, SWITCH, Schedule

NO_PIECES = np.zeros((0, PIECE_SIZE))


def of_discontinuities(found: Found, differentiate_by: DifferentiateBy, shifts: int) -> Instants:
    """Those of `Instants` for a batch. shifts: the place in q of the first shift."""
    count, total, width = found.jacobian.shape
    entries = np.full((count, total, 4), -1, dtype=np.int64)
    entries[:, :, 0] = SWITCH
    if width:
        entries[:, :, 1] = shifts + found.shifts
        entries[:, :, 2] = np.arange(count * total).reshape(count, total)
    jacobian = columns(found.jacobian.reshape(-1, width), differentiate_by) if width else no_jacobian(differentiate_by)
    return Instants(found.times, entries, np.zeros((count, total)), jacobian, NO_PIECES, 0)


def of_schedule(schedule: Schedule, differentiate_by: DifferentiateBy, parameters: int, shifts: int | None) -> Instants:
    """As `of_discontinuities`. parameters: how many come before the constants in q. shifts: None if there are none."""
    targets = schedule.targets.copy()
    targets[(schedule.kinds == HOLD) | (schedule.kinds == PIECE)] += parameters
    is_switch = schedule.kinds == SWITCH
    targets[is_switch] = -1 if shifts is None else np.where(targets >= 0, targets + shifts, -1)[is_switch]
    entries = np.stack([schedule.kinds, targets, schedule.time_rows, schedule.rows], axis=2).astype(np.int64)
    width, held = schedule.jacobian.shape[1], schedule.held.shape[1]
    jacobian = columns(schedule.jacobian, differentiate_by) if width else no_jacobian(differentiate_by)
    return Instants(own(schedule.times), entries, own(schedule.values), jacobian, own(schedule.pieces), held)


def of_members(instants: Instants, members: slice) -> Instants:
    """Those of some members."""
    if len(instants.times) == 1:
        return instants
    return instants._replace(
        times=instants.times[members], entries=instants.entries[members], values=instants.values[members]
    )


def columns(jacobian: Reals, differentiate_by: DifferentiateBy) -> Reals:
    """Derivatives (R, p) by all parameters as columns of sensitivities (R, m)."""
    by_states = np.zeros((len(jacobian), len(differentiate_by.states)))
    return own(np.concatenate([by_states, jacobian[:, list(differentiate_by.parameters)]], axis=1))


def no_jacobian(differentiate_by: DifferentiateBy) -> Reals:
    """No rows."""
    return np.zeros((0, differentiate_by.count))


def own(array: Reals) -> Reals:
    """A contiguous, writable array: Numba compiles the loop for these."""
    return np.require(array, dtype=np.float64, requirements=["C", "W", "A"])
