"""Solves under schedules: the extended system's kernels, the states at the start, and what happens in each member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy, SolveSettings
from odelib.engines.compiled.adjoint import scheduled as adjoint
from odelib.engines.compiled.kernels import Happenings, Solved, kernels_of
from odelib.engines.schedules.extended_system import ExtendedSystem, ExtendedSystems, Phase
from odelib.engines.schedules.modes import left_to_fail, solvable_without_modes
from odelib.engines.schedules.schedule import Schedule
from odelib.engines.steady_state import Starts, StartStates
from odelib.errors import SolveError
from odelib.problem.system import System


class Given(NamedTuple):
    """The members of a batch. times: (1, T) or (B, T); states: (B, n); values: (B, p + c), parameters and constants."""

    times: Reals
    states: Reals
    values: Reals

    def of_members(self, places: Sequence[int]) -> Given:
        """Those of some members."""
        times = self.times if len(self.times) == 1 else self.times[places]
        return Given(times, self.states[places], self.values[places])


class ScheduledKernels:
    """The compiled functions of one system with all that is done to it.

    unlocated_jumps: see `Engine`.
    """

    def __init__(self, system: System) -> None:
        self._systems = ExtendedSystems(system, with_conditions=True)
        self._starts: dict[int, StartStates] = {}
        self.unlocated_jumps: set[str] = set()

    @property
    def has_modes(self) -> bool:
        """See `ExtendedSystems.has_modes`."""
        return self._systems.has_modes

    def has_adjoint(self, settings: SolveSettings) -> bool:
        """Whether `solve_on_tape` is able to."""
        return adjoint.is_able(self._systems.of(settings.protocols))

    def solve_on_tape(self, given: Given, settings: SolveSettings) -> adjoint.ScheduledRecording:
        """Solve a batch such that one can go back through it."""
        return adjoint.solve_on_tape(self._systems.of(settings.protocols), *given, settings)

    def prepare(self) -> None:
        """Compile what a solve needs in which nothing is done."""
        extended = self._systems.of(None)
        kernels_of(extended.system, extended.resets)

    def solve(self, given: Given, differentiate_by: DifferentiateBy, settings: SolveSettings) -> Solved:
        """As `Kernels.solve`, without the held states.

        What modes may be to blame for is solved again without them: see `schedules.modes`.
        """
        extended = self._systems.of(settings.protocols)
        solved = self._solve(extended, given, differentiate_by, settings)
        places = solvable_without_modes(solved.failures) if extended.mode_count else []
        if not places:
            return solved
        plain = self._systems.of(settings.protocols, has_modes=False)
        again = self._solve(plain, given.of_members(places), differentiate_by, settings.of_members(places))
        if len(again.failures) < len(places):
            self.unlocated_jumps |= {event.name for event in extended.system.events[-extended.mode_count :]}
        solved.states[places], solved.sensitivities[places] = again.states, again.sensitivities
        if solved.atol is not None and again.atol is not None:
            solved.atol[places] = again.atol
        return solved._replace(
            failures=left_to_fail(solved.failures, places, again.failures),
            methods=tuple(dict.fromkeys([*solved.methods, *again.methods])),
            most_steps=max(solved.most_steps, again.most_steps),
            grazing=solved.grazing | again.grazing,
            happened={**solved.happened, **{places[member]: told for member, told in again.happened.items()}},
        )

    def _solve(
        self, extended: ExtendedSystem, given: Given, differentiate_by: DifferentiateBy, settings: SolveSettings
    ) -> Solved:
        count, n = given.states.shape
        places = settings.protocols.members if settings.protocols is not None else (0,) * count
        unit = np.zeros((n, differentiate_by.count))
        unit[list(differentiate_by.states), np.arange(len(differentiate_by.states))] = 1.0
        states, sensitivities, failures = given.states, np.broadcast_to(unit, (count, *unit.shape)), {}
        if settings.is_start and not settings.skips_earlier:
            starts = self._find_starts(extended, places, given, differentiate_by, settings)
            if starts is not None:
                states, sensitivities, failures = starts.states, starts.sensitivities, dict(starts.failures)
        started = given._replace(states=states)
        solved = _through(extended, places, started, sensitivities, differentiate_by, settings, "experiment")
        failures = {**solved.failures, **failures}
        solved.states[list(failures)] = np.nan
        solved.sensitivities[list(failures)] = 0.0
        return solved._replace(failures=failures)

    def _find_starts(
        self, extended: ExtendedSystem, places: Sequence[int], given: Given, differentiate_by: DifferentiateBy,
        settings: SolveSettings,
    ) -> Starts | None:  # fmt: skip
        def run(
            phase: Phase, b: int, state: Reals, first: float, last: float, by: DifferentiateBy
        ) -> tuple[Reals, Reals]:
            one = Given(np.array([[first, last]]), state[None], given.values[b : b + 1])
            unit = np.zeros((1, len(state), by.count))
            unit[0, list(by.states), np.arange(len(by.states))] = 1.0
            own = replace(settings, before=None, recorded_events=0)
            solved = _through(extended, [places[b]], one, unit, by, own, phase)
            if solved.failures:
                raise solved.failures[0]
            return solved.states[0, -1], solved.sensitivities[0, -1]

        if id(extended) not in self._starts:
            self._starts[id(extended)] = StartStates(extended)
        first = np.broadcast_to(given.times[:, 0], (len(places),))
        return self._starts[id(extended)].find(places, given.states, given.values, first, differentiate_by, run)


def _through(
    extended: ExtendedSystem, places: Sequence[int], given: Given, sensitivities: Reals,
    differentiate_by: DifferentiateBy, settings: SolveSettings, phase: Phase,
) -> Solved:  # fmt: skip
    """Solve through a phase from states (B, n) with sensitivities (B, n, m)."""
    count, n = given.states.shape
    first, last = (np.broadcast_to(given.times[:, end], (count,)) for end in (0, -1))
    schedule = extended.schedule(
        places, given.values, first, last, is_start=settings.is_start, with_jacobian=differentiate_by.count > 0,
        skips_earlier=settings.skips_earlier, phase=phase,
    )  # fmt: skip
    kernels = kernels_of(extended.system, extended.resets)
    states = np.concatenate([given.states, schedule.held], axis=1)
    values = np.concatenate([given.values[:, : len(extended.system.parameters)], schedule.constants], axis=1)
    whole = _with_held(sensitivities, schedule, differentiate_by)
    before = None if settings.before is None else np.atleast_2d(settings.before.cpu().numpy())
    happenings = Happenings(schedule, whole, before, settings.is_start, settings.recorded_events, extended.terms)
    solved = kernels.solve(given.times, states, values, differentiate_by, settings.options, settings.stop, happenings)
    failures: dict[int, SolveError] = {**solved.failures, **schedule.failures}
    return solved._replace(
        states=np.ascontiguousarray(solved.states[..., :n]),
        sensitivities=np.ascontiguousarray(solved.sensitivities[:, :, :n]), failures=failures,
        atol=None if solved.atol is None else solved.atol[:, :n],
        happened={
            member: tuple(replace(each, before=each.before[:n], after=each.after[:n]) for each in told)
            for member, told in solved.happened.items()
        },
    )  # fmt: skip


def _with_held(sensitivities: Reals, schedule: Schedule, differentiate_by: DifferentiateBy) -> Reals:
    """The initial sensitivities with those of held states, (B, n + h, m)."""
    count, held = schedule.held_rows.shape
    rows = np.zeros((count, held, differentiate_by.count))
    if differentiate_by.parameters and len(schedule.jacobian):
        by_parameters = schedule.jacobian[:, list(differentiate_by.parameters)]
        moving = schedule.held_rows >= 0
        rows[moving, len(differentiate_by.states) :] = by_parameters[schedule.held_rows[moving]]
    return np.concatenate([sensitivities, rows], axis=1)
