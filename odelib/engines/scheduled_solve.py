"""Solves batches under schedules and with events, member by member, for an engine whose solver knows neither."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy, Happened, SolverOptions, SolveSettings
from odelib.engines.scheduled_trajectory import Given, Integrate, ScheduledPrograms, ScheduledTrajectory
from odelib.engines.schedules.extended_system import ExtendedSystem, ExtendedSystems, Phase
from odelib.engines.schedules.modes import left_to_fail, solvable_without_modes
from odelib.engines.steady_state import StartStates
from odelib.engines.switching_times import GRAZING
from odelib.engines.symbolic import borders
from odelib.errors import SolveError
from odelib.problem.system import System

MakeIntegrate = Callable[[SolveSettings, Tensor], Integrate]
"""From a member's settings and the sizes (m,) of the unknowns."""
Ended = tuple[Reals, Reals]


@dataclass(frozen=True)
class ScheduledSolution:
    """The solutions of a batch.

    rows: the states and their sensitivities, (B, T, n, 1 + m). failures, happened: see `Solution`.
    """

    rows: Reals
    failures: dict[int, SolveError]
    happened: dict[int, tuple[Happened, ...]]


class ScheduledSolver:
    """Trajectories of one system and their sensitivities; grazing_events, unlocated_jumps: see `Engine`."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._systems = ExtendedSystems(system)
        self._parts: dict[int, _Parts] = {}
        self.grazing_events: set[str] = set()
        self.unlocated_jumps: set[str] = set()

    @property
    def has_modes(self) -> bool:
        """See `ExtendedSystems.has_modes`."""
        return self._systems.has_modes

    def solve(
        self, states: Reals, parameters: Reals, settings: SolveSettings, make_integrate: MakeIntegrate
    ) -> ScheduledSolution:
        """Solve a batch. states: (B, n); parameters: (B, p).

        What modes may be to blame for is solved again without them: see `schedules.modes`.
        """
        extended = self._systems.of(settings.protocols)
        solved = self._solve(extended, states, parameters, settings, make_integrate)
        places = solvable_without_modes(solved.failures) if extended.mode_count else []
        if not places:
            return solved
        plain = self._systems.of(settings.protocols, has_modes=False)
        again = self._solve(plain, states[places], parameters[places], settings.of_members(places), make_integrate)
        if len(again.failures) < len(places):
            self.unlocated_jumps |= {event.name for event in extended.system.events[-extended.mode_count :]}
        solved.rows[places] = again.rows
        return ScheduledSolution(
            solved.rows,
            left_to_fail(solved.failures, places, again.failures),
            {**solved.happened, **{places[member]: told for member, told in again.happened.items()}},
        )

    def _solve(
        self, extended: ExtendedSystem, states: Reals, parameters: Reals, settings: SolveSettings,
        make_integrate: MakeIntegrate,
    ) -> ScheduledSolution:  # fmt: skip
        count, by = len(states), settings.differentiate_by
        times = settings.times.detach().cpu().expand(count, -1).numpy()
        constants = settings.constants.detach().cpu().expand(count, -1).numpy()
        values = np.concatenate([parameters, constants], axis=1)
        places = settings.protocols.members if settings.protocols is not None else (0,) * count
        found = np.zeros((count, times.shape[1], states.shape[1], 1 + by.count))
        failures: dict[int, SolveError] = {}
        happened: dict[int, tuple[Happened, ...]] = {}
        unit = np.zeros((states.shape[1], by.count))
        unit[list(by.states), np.arange(len(by.states))] = 1.0

        def run(phase: Phase, b: int, state: Reals, first: float, last: float, by: DifferentiateBy) -> Ended:
            """One member through a phase before the start: see `steady_state.Run`."""
            own = replace(
                _of_member(settings, b, count), times=settings.times.new_tensor([first, last]), before=None,
                differentiate_by=by, recorded_events=0,
            )  # fmt: skip
            sensitivities = np.eye(len(state))[:, list(by.states)]
            sensitivities = np.concatenate([sensitivities, np.zeros((len(state), len(by.parameters)))], axis=1)
            rows, _ = self._member(extended, places[b], (state, sensitivities), values[b], own, make_integrate, phase)
            return rows[-1, :, 0], rows[-1, :, 1:]

        starts = None
        if settings.is_start and not settings.skips_earlier:
            starts = self._of(extended).starts.find(places, states, values, times[:, 0], by, run)
            failures |= {} if starts is None else starts.failures
        for b in range(count):
            start = (states[b], unit) if starts is None else (starts.states[b], starts.sensitivities[b])
            own = _of_member(settings, b, count)
            try:
                if b not in failures:
                    found[b], happened[b] = self._member(
                        extended, places[b], start, values[b], own, make_integrate, "experiment"
                    )
            except SolveError as error:
                failures[b] = error
        found[list(failures), ..., 0] = math.nan
        return ScheduledSolution(found, failures, happened)

    def _of(self, extended: ExtendedSystem) -> _Parts:
        if id(extended) not in self._parts:
            self._parts[id(extended)] = _Parts(extended, ScheduledPrograms(extended), StartStates(extended))
        return self._parts[id(extended)]

    def _member(
        self, extended: ExtendedSystem, place: int, start: tuple[Reals, Reals], values: Reals, settings: SolveSettings,
        make_integrate: MakeIntegrate, phase: Phase,
    ) -> tuple[Reals, tuple[Happened, ...]]:  # fmt: skip
        """The states of one member and their sensitivities, (T, n, 1 + m), and its events as far as they are recorded.

        start: (n,), and its derivatives (n, m). values: (p + c).
        """
        by, times = settings.differentiate_by, settings.times.detach().cpu().numpy()
        schedule = extended.schedule(
            [place], values[None], times[:1], times[-1:], is_start=settings.is_start, with_jacobian=by.count > 0,
            skips_earlier=settings.skips_earlier, phase=phase,
        )  # fmt: skip
        if schedule.failures:
            raise schedule.failures[0]
        state, count, device = start[0], len(start[0]), settings.times.device
        jacobian = np.zeros((len(schedule.jacobian), by.count))
        jacobian[:, len(by.states) :] = schedule.jacobian[:, list(by.parameters)]
        rows = np.zeros((1 + by.count, count + schedule.held.shape[1]))
        rows[0] = np.concatenate([state, schedule.held[0]])
        rows[1:, :count] = start[1].T
        moving = np.flatnonzero(schedule.held_rows[0] >= 0)
        rows[1:, count + moving] = jacobian[schedule.held_rows[0, moving]].T
        names, parameters = extended.system.parameters, torch.from_numpy(values[: len(extended.system.parameters)])
        directions = torch.eye(by.count, dtype=parameters.dtype, device=device)[len(by.states) :]
        given = Given(
            schedule=schedule,
            start=torch.from_numpy(rows).to(device),
            times=times,
            before=np.zeros(len(times), dtype=bool) if settings.before is None else settings.before.cpu().numpy(),
            parameters=dict(zip(names, parameters.to(device).unbind(), strict=True)),
            directions=dict(zip([names[index] for index in by.parameters], directions, strict=True)),
            jacobian=torch.from_numpy(jacobian).to(device),
            max_steps=settings.options.max_steps,
            is_start=settings.is_start,
            tolerances=_tolerances(extended.system, settings.options),
            grazing=GRAZING * math.sqrt(settings.options.rtol),
            describe_failure=extended.describe_failure,
        )
        sizes = np.abs(np.concatenate([state[list(by.states)], values[list(by.parameters)]]))
        with torch.no_grad(), dual_level():
            integrate = make_integrate(settings, torch.from_numpy(sizes).to(device))
            trajectory = ScheduledTrajectory(self._of(extended).programs, given, integrate)
            solved = trajectory.solve()
        self.grazing_events |= trajectory.grazed
        found: Reals = solved[..., :count].transpose(1, 2).cpu().numpy()
        return found, tuple(
            replace(each, before=each.before[:count], after=each.after[:count])
            for each in trajectory.happened[: settings.recorded_events]
        )


def _tolerances(system: System, options: SolverOptions) -> dict[str, float]:
    atol = options.atol if isinstance(options.atol, float) else 0.0
    return borders.tolerances(options.rtol, dict.fromkeys(system.states, atol))


@dataclass(frozen=True)
class _Parts:
    """What is made once for an extended system, which it keeps alive."""

    extended: ExtendedSystem
    programs: ScheduledPrograms
    starts: StartStates


def _of_member(settings: SolveSettings, member: int, count: int) -> SolveSettings:
    """The settings of one member of a batch of `count`, its protocol apart."""
    times = settings.times.expand(count, -1)[member]
    constants = settings.constants.expand(count, -1)[member]
    before = None if settings.before is None else settings.before.expand(count, -1)[member]
    return replace(settings, times=times, constants=constants, before=before)
