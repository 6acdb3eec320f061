"""What was done in series and predictions, as the engines take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import Happened, Solution
from odelib.engines.layer import ProtocolSettings
from odelib.engines.schedules.interpolation import SAME_INSTANT
from odelib.engines.schedules.schedule import Protocols
from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.parser import number_expression
from odelib.problem.resolved import ResolvedProblem
from odelib.result import EventTime

NOTHING = number_expression(0.0)
RECORDED_EVENTS = 10_000  # of a trajectory whose events are asked for


class Drawn(NamedTuple):
    """A trajectory for drawing: times (T,), states (T, n), the settings that it was solved with, and its events."""

    times: Tensor
    states: Tensor
    done: ProtocolSettings
    happened: tuple[Happened, ...]

    @property
    def events(self) -> list[EventTime]:
        """When the system's events happened; comparisons at which a rate jumps are none."""
        return [EventTime(name=each.name, time=each.time) for each in self.happened if each.name is not None]


class SeriesProtocols:
    """The protocols of a problem. Members are series by their index, or predictions after all series.

    happens: whether anything happens in any of them, events among it. has_steady_states: of each member, whether its
    initial state comes of a steady state.
    """

    def __init__(self, problem: ResolvedProblem, device: torch.device) -> None:
        self._all = problem.protocols if problem.has_protocols else None
        self._series_count, self._device = len(problem.series), device
        self.happens = problem.has_protocols or bool(problem.system.events)
        self._sees_before = [self.happens and protocol.observed == "before" for protocol in problem.protocols]
        self.has_steady_states = [
            protocol.steady_state is not None or any(dose.steady for dose in protocol.doses)
            for protocol in problem.protocols
        ]
        self._system, self._protocols = problem.solved_system, problem.protocols

    def prediction(self, index: int) -> int:
        """The member that is a prediction."""
        return self._series_count + index

    def settings(
        self,
        members: Sequence[int],
        times: int,
        *,
        starts: bool = False,
        is_start: bool = True,
        skips_earlier: bool = False,
    ) -> ProtocolSettings:
        """The settings for a batch of members with this number of times.

        starts: the first time is the start, at which the state is wanted before anything happens but a steady state.
        """
        before = None
        is_steady = starts and any(self.has_steady_states[member] for member in members)
        if is_steady or any(self._sees_before[member] for member in members):
            before = torch.zeros((len(members), times), dtype=torch.bool, device=self._device)
            for row, member in enumerate(members):
                before[row] = self._sees_before[member]
            before[:, 0] |= starts
        protocols = None if self._all is None else Protocols(self._all, tuple(members))
        return ProtocolSettings(protocols, before, is_start, skips_earlier)

    def dense_grid(
        self, member: int, first: float, last: float, points: int, parameters: Tensor, constants: Tensor
    ) -> tuple[Tensor, ProtocolSettings]:
        """Times (T,) between two, for drawing, with each instant of a dose or change twice, and their settings.

        At an instant the state before comes first. parameters: (p,), constants: (c,), those of the solved system.
        """
        grid = np.linspace(first, last, points) if last > first else np.array([first])
        instants = np.array(self._instants(member, parameters, constants))
        instants = np.unique(instants[(instants >= first) & (instants <= last)]) if len(instants) else np.zeros(0)
        if len(instants):  # of the grid, leave out what is an instant up to rounding
            grid = grid[np.abs(grid[:, None] - instants).min(axis=1) > SAME_INSTANT * max(abs(first), abs(last))]
        times = np.concatenate([instants, grid, instants])
        before = np.arange(len(times)) < len(instants)
        if self.has_steady_states[member] and first not in instants:
            before |= times == first
        order = np.argsort(times, kind="stable")
        done = replace(self.settings([member], len(times)), recorded_events=RECORDED_EVENTS)
        if before.any():
            done = replace(done, before=torch.from_numpy(before[order]).to(self._device).unsqueeze(0))
        return torch.from_numpy(times[order]).to(self._device), done

    def drawn(self, times: Tensor, done: ProtocolSettings, solution: Solution) -> Drawn:
        """What was solved on a dense grid of times (T,), with each instant of an event twice, as those of doses are."""
        happened = solution.happened.get(0, ())
        whole = Drawn(times, solution.states.detach(), done, happened)
        near = SAME_INSTANT * float(times.abs().max())
        grid = times.cpu().numpy()
        twice = grid[1:][grid[1:] == grid[:-1]]
        added = [each for each in happened if each.name and not (np.abs(twice - each.time) <= near).any()]
        added = [each for place, each in enumerate(added) if place == 0 or each.time > added[place - 1].time + near]
        if not added:
            return whole
        instants = np.array([each.time for each in added])
        kept = np.abs(grid[:, None] - instants).min(axis=1) > near
        own_before = np.zeros(len(grid), dtype=bool) if done.before is None else done.before[0].cpu().numpy()
        columns = [np.concatenate([instants, grid[kept], instants])]
        columns.append(np.concatenate([np.ones(len(added), bool), own_before[kept], np.zeros(len(added), bool)]))
        order = np.argsort(columns[0], kind="stable")
        sides = [torch.tensor(np.array([getattr(each, side) for each in added])) for side in ("before", "after")]
        states = torch.cat([sides[0].to(whole.states), whole.states[torch.from_numpy(kept)], sides[1].to(whole.states)])
        return Drawn(
            torch.from_numpy(columns[0][order]).to(times),
            states[torch.from_numpy(order)],
            replace(done, before=torch.from_numpy(columns[1][order]).to(self._device).unsqueeze(0)),
            happened,
        )

    def _instants(self, member: int, parameters: Tensor, constants: Tensor) -> list[float]:
        """The times of doses and changes."""
        protocol = self._protocols[member]
        given = [
            (at, dose.every or NOTHING, dose.lag or NOTHING, dose.count) for dose in protocol.doses for at in dose.at
        ]
        given += [(change.at, NOTHING, NOTHING, 1) for change in protocol.changes]
        if not given:
            return []
        expressions = {expression.text: expression for entry in given for expression in entry[:3]}
        program = TorchProgram(list(expressions.values()), [], self._system.definitions)
        named = dict(zip(self._system.parameters, parameters.tolist(), strict=True))
        named |= zip(self._system.constants, constants.tolist(), strict=True)
        values = dict(zip(expressions, (float(value) for value in program.bind(named)()), strict=True))
        return [
            values[at.text] + number * values[every.text] + values[lag.text]
            for at, every, lag, count in given
            for number in range(count)
        ]
