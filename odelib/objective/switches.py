"""Switching times that meet a measurement: there the loss has a kink.

The state at a measurement t changes with a switching time τ only while τ < t. So the gradient of the loss jumps where τ
passes t, as does the loss itself if a dose or an event changes the state at once. The loss may be least there without a
zero gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from odelib.arrays import Reals
from odelib.engines.base import Happened
from odelib.engines.schedules.extended_system import NOTHING_DONE, ExtendedSystem
from odelib.objective.unknowns import Unknowns
from odelib.problem.resolved import ResolvedProblem

MEETS = 1e-6  # of a series' duration: times that are this close meet


class Switches:
    """The switching times of the equations and of conditions of events, doses and changes in the fitted series.

    Those of events whose conditions depend on states are only known from a solve.
    """

    def __init__(self, problem: ResolvedProblem, unknowns: Unknowns) -> None:
        self._problem, self._unknowns = problem, unknowns

    @cached_property
    def _extended(self) -> ExtendedSystem:
        protocols = self._problem.protocols if self._problem.has_protocols else NOTHING_DONE.all
        return ExtendedSystem(self._problem.solved_system, protocols, with_conditions=True)

    @property
    def depend_on_states(self) -> bool:
        """Whether there are events, or comparisons of states at which rates jump."""
        return bool(self._extended.system.events)

    def at_measurements(self, coordinates: Reals, happened: Sequence[Sequence[Happened]] = ()) -> Reals:
        """The derivatives dτ/dx of the times that meet a measurement and that unknowns move, (times, count).

        In units of the duration of the series. happened: the events of each fitted series, whose derivatives are by
        what the objective differentiates by.
        """
        rows: list[Reals] = []
        parameters, by_coordinates = self._unknowns.values(coordinates)[0], self._unknowns.jacobians(coordinates)
        for place, series in enumerate(self._problem.fitted):
            first, last = series.start, series.times[-1]
            if first == last:
                continue
            own = [parameters[series.index], self._unknowns.constants[series.index]]
            values = np.concatenate([each.detach().cpu().numpy() for each in own])
            times, jacobian = self._moving(series.index, values, first, last)
            moved = [*(jacobian @ by_coordinates[0][series.index])]
            if happened:
                jacobians = by_coordinates[0][series.index], by_coordinates[1][series.index]
                moved += [self._of_event(event, *jacobians) for event in happened[place]]
                times = np.concatenate([times, [event.time for event in happened[place]]])
            distances = np.abs(times[:, None] - np.array(series.times)).min(axis=1, initial=np.inf)
            meets = np.flatnonzero(distances <= MEETS * (last - first))
            rows += [moved[place] / (last - first) for place in meets]
        moving = [row for row in rows if row.any()]
        return np.unique(moving, axis=0) if moving else np.zeros((0, self._unknowns.count))

    def _of_event(self, event: Happened, of_parameters: Reals, of_initial_state: Reals) -> Reals:
        """The derivatives of an event's time by the coordinates, (count,)."""
        by = self._unknowns.differentiate_by
        found: Reals = event.by[: len(by.states)] @ of_initial_state[list(by.states)]
        found = found + event.by[len(by.states) :] @ of_parameters[list(by.parameters)]
        return found

    def _moving(self, index: int, values: Reals, first: float, last: float) -> tuple[Reals, Reals]:
        """The times (K,) in a series that depend on parameters, and their derivatives (K, p).

        values: (p + c,). No times if what was done in the series cannot be solved.
        """
        member = index if self._problem.has_protocols else 0
        schedule = self._extended.schedule(
            [member], values[None], np.array([first]), np.array([last]), is_start=True, with_jacobian=True
        )
        moves = (schedule.time_rows[0] >= 0) & np.isfinite(schedule.times[0]) & (not schedule.failures)
        return schedule.times[0][moves], schedule.jacobian[schedule.time_rows[0][moves]]
