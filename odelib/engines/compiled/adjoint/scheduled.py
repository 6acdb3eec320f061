"""Solves on tape under schedules of doses, inputs and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from odelib.arrays import Reals
from odelib.engines.base import SolveSettings
from odelib.engines.compiled.adjoint.kernels import Recording, adjoint_of
from odelib.engines.compiled.kernels import Happenings
from odelib.engines.schedules.extended_system import ExtendedSystem
from odelib.engines.schedules.schedule import Schedule
from odelib.errors import SolveError


class GoesBack(Protocol):
    """What is asked of a `Recording`, and of one without held states."""

    @property
    def states(self) -> Reals:
        """(B, T, n), NaN for members that failed."""

    @property
    def failures(self) -> Mapping[int, SolveError]:
        """The errors of members that failed."""

    @property
    def atol(self) -> Reals:
        """The absolute tolerances of the states, (B, n)."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods used."""

    @property
    def most_steps(self) -> int:
        """The most steps of one member."""

    def gradient(self, outputs_bar: Reals) -> tuple[Reals, Reals]:
        """See `Recording.gradient`."""


class ScheduledRecording:
    """A `Recording` of an extended system, without its held states: see `GoesBack`."""

    def __init__(self, recording: Recording, schedule: Schedule, n: int) -> None:
        self._recording, self._schedule, self._n = recording, schedule, n
        self.states: Reals = np.ascontiguousarray(recording.states[..., :n])
        self.failures: Mapping[int, SolveError] = {**recording.failures, **schedule.failures}
        self.states[list(self.failures)] = np.nan
        self.atol: Reals = recording.atol[:, :n]
        self.methods, self.most_steps = recording.methods, recording.most_steps

    def gradient(self, outputs_bar: Reals) -> tuple[Reals, Reals]:
        """See `Recording.gradient`. What held states begin with depends on parameters."""
        schedule = self._schedule
        whole = np.zeros(self._recording.states.shape)
        whole[..., : self._n] = outputs_bar
        by_state, by_parameters = self._recording.gradient(whole)
        moving = schedule.held_rows >= 0
        if moving.any():
            members, _ = np.nonzero(moving)
            by_held = by_state[:, self._n :][moving]
            np.add.at(by_parameters, members, by_held[:, None] * schedule.jacobian[schedule.held_rows[moving]])
        failed = list(schedule.failures)
        by_state[failed], by_parameters[failed] = 0.0, 0.0
        return np.ascontiguousarray(by_state[:, : self._n]), by_parameters


def is_able(extended: ExtendedSystem) -> bool:
    """Whether there is an adjoint of all that may happen: neither of events nor of steady states."""
    if extended.system.events:
        return False
    protocols = extended.protocols
    return not any(each.steady_state or any(dose.steady for dose in each.doses) for each in protocols)


def solve_on_tape(
    extended: ExtendedSystem, times: Reals, initial_state: Reals, values: Reals, settings: SolveSettings
) -> ScheduledRecording:
    """Solve a batch on tape. times: (1, T) or (B, T); initial_state: (B, n); values: (B, p + c), original constants."""
    count, n = initial_state.shape
    members = settings.protocols.members if settings.protocols is not None else (0,) * count
    first, last = (np.broadcast_to(times[:, end], (count,)) for end in (0, -1))
    schedule = extended.schedule(
        members, values, first, last, is_start=settings.is_start, with_jacobian=True,
        skips_earlier=settings.skips_earlier,
    )  # fmt: skip
    states = np.concatenate([initial_state, schedule.held], axis=1)
    own = np.concatenate([values[:, : len(extended.system.parameters)], schedule.constants], axis=1)
    before = None if settings.before is None else np.atleast_2d(settings.before.cpu().numpy())
    happenings = Happenings(schedule, None, before, settings.is_start, 0, extended.terms)
    recording = adjoint_of(extended.system, extended.resets).solve(
        times, states, own, settings.options, settings.stop, happenings
    )
    return ScheduledRecording(recording, schedule, n)
