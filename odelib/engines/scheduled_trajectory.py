"""One trajectory with a schedule and events, and its sensitivities, for an engine whose solver knows neither.

A trajectory is (1 + m, n): the states, then their derivatives S by m unknowns. At an instant τ that unknowns move, with
x⁺ = h(x⁻, p, τ),

    S⁺ = h_x·S⁻ + h_p + (h_x·f⁻ + h_t − f⁺)·dτ/dp.

Here it is in three steps: S⁻ + f⁻·dτ/dp is the derivative of the state at the instant that moves along; h maps it, with
t moving as τ does; and −f⁺·dτ/dp goes back to the derivative at a fixed time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import make_dual, unpack_dual

from odelib.arrays import Booleans, Reals
from odelib.engines.base import Happened
from odelib.engines.condition_functions import event_function
from odelib.engines.dual_program import DualProgram
from odelib.engines.schedules.entries import Window
from odelib.engines.schedules.extended_system import ExtendedSystem
from odelib.engines.schedules.modes import SLIDING, ModeEvent
from odelib.engines.schedules.schedule import ADD, ASSIGN, HOLD, PIECE, PIECE_SIZE, RESET, SWITCH, Schedule
from odelib.engines.switching_times import GAP, SLIDES
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.errors import SolveError
from odelib.problem.expressions.parser import Expression
from odelib.problem.system import System

Program = Callable[..., list[Tensor]]
Explain = Callable[[float, Tensor], str | None]
"""From where a solve failed, its time and rows (1 + m, n): why, in the caller's terms."""


@dataclass(frozen=True)
class Integrated:
    """Rows at all times (T, 1 + m, n), and the ends of steps in order, the start among them: time and rows there.

    failure: why the solver could not go on from the last of these; then rows mean nothing.
    """

    rows: Tensor
    ends: Sequence[tuple[float, Tensor]]
    failure: SolveError | None = None


Integrate = Callable[[Program, Tensor, Tensor, Explain], Integrated]
"""From a program and rows (1 + m, n) at the first of times (T,)."""

SAMPLES = 8  # of a step, at which conditions are evaluated
EXTREMUM_ITERATIONS = 60  # of a search that shortens its interval to GOLDEN of it
GOLDEN = (math.sqrt(5) - 1) / 2
UNSURE = 0.05  # of the range of a condition's function in a step: an extremum so near to 0 may cross it
MOST_CROWDED = 100  # events in a row that hardly advance


@dataclass(frozen=True)
class Reset:
    """Expressions, and the states that they set and add to."""

    program: TorchProgram
    to_set: Sequence[int]
    to_add: Sequence[int]


class ScheduledPrograms:
    """What a trajectory of an extended system evaluates."""

    def __init__(self, extended: ExtendedSystem) -> None:
        system, discontinuities = extended.system, extended.discontinuities
        self.system, self.shifts = system, discontinuities.shifts
        variables = variables_of(system.states)
        equations = [discontinuities.equations[state] for state in system.states]
        self.rates = TorchProgram(equations, variables, discontinuities.definitions)
        self.functions = TorchProgram([event_function(event) for event in system.events], variables, system.definitions)
        self.truths = TorchProgram([event.when for event in system.events], variables, system.definitions)
        self.is_mode = [isinstance(event, ModeEvent) for event in system.events]
        self.resets = [_reset(system, reset.set, reset.add) for reset in extended.resets]
        self.event_resets = [_reset(system, event.set, event.add) for event in system.events]


def _reset(system: System, to_set: Mapping[str, Expression], to_add: Mapping[str, Expression]) -> Reset:
    program = TorchProgram([*to_set.values(), *to_add.values()], variables_of(system.states), system.definitions)
    places = [[system.states.index(state) for state in part] for part in (to_set, to_add)]
    return Reset(program, *places)


@dataclass(frozen=True)
class Given:
    """One member's part of a solve.

    start: (1 + m, n), held states included. times: (T,), from the start; before: (T,), see `SolveSettings`. directions:
    by parameter its derivatives by the unknowns, (m,). jacobian: (R, m), the schedule's by the unknowns. tolerances:
    see `TorchProgram.bind`. grazing: the part of the largest rate of a condition's function in a step below which it
    grazes. describe_failure: see `ExtendedSystem.describe_failure`.
    """

    schedule: Schedule
    start: Tensor
    times: Reals
    before: Booleans
    parameters: Mapping[str, Tensor]
    directions: Mapping[str, Tensor]
    jacobian: Tensor
    max_steps: int
    is_start: bool
    tolerances: Mapping[str, float]
    grazing: float
    describe_failure: Callable[[float, Reals, Reals, float], str | None]


@dataclass
class _Group:
    """Entries of one instant whose times have the same derivative, by their places."""

    row: int
    places: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _Step:
    """From when a step is and how long, its rows at the start, and those (1, n) at parts of it, from 0 to 1.

    state: by Hermite's cubic.
    """

    begin: float
    width: float
    start: Tensor
    state: Callable[[float], Tensor]


class ScheduledTrajectory:
    """Solves one member. Made and used within `torch.no_grad()` and one `dual_level`.

    grazed: the events whose condition hardly became true. happened: all that have happened.
    """

    def __init__(self, programs: ScheduledPrograms, given: Given, integrate: Integrate) -> None:
        self._programs, self._given, self._integrate = programs, given, integrate
        self._events = programs.system.events
        self._entries = given.schedule
        self._constants = given.schedule.constants[0].copy()
        self._shifts = dict.fromkeys(programs.shifts, 0.0)
        first, last = float(given.times[0]), float(given.times[-1])
        self._scale = max(abs(first), abs(last))
        self._window = Window(first, last)
        self._gap = GAP * self._scale
        self._truths = [False] * len(self._events)
        self._happened = [0] * len(self._events)
        self._stopped = False
        self.grazed: set[str] = set()
        self.happened: list[Happened] = []
        self._crowded, self._last_event = 0, -math.inf
        self._program: Program | None = None
        self._rows: list[Tensor] = []

    def solve(self) -> Tensor:
        """The rows at all times, (T, 1 + m, n)."""
        rows, t = self._begin()
        end, entry = float(self._given.times[-1]), self._first_entry
        count = self._entries.times.shape[1]
        while len(self._rows) < len(self._given.times):
            upcoming = float(self._entries.times[0, entry]) if entry < count else math.inf
            located = None
            if not self._stopped:
                target = min(upcoming - (self._gap if self._is_switch(upcoming) else 0.0), end)
                rows, reached, located = self._advance(rows, t, target)
            if located is not None:
                rows, t = self._pass(rows, reached, [], located)
            elif self._stopped or upcoming > end:
                self._rows += [rows] * (len(self._given.times) - len(self._rows))
            else:
                places = self._places_at(upcoming)
                rows, t = self._pass(rows, upcoming, places, None)
                entry = places[-1] + 1
        return torch.stack(self._rows)

    def _begin(self) -> tuple[Tensor, float]:
        """The rows after what happens at the first time."""
        rows, first = self._given.start, float(self._given.times[0])
        self._first_entry = 0
        if not self._given.is_start:
            found = self._truths_at(first, rows, near=True)  # all but modes, which are not known yet, has happened
            self._truths = [
                is_true and not is_mode for is_true, is_mode in zip(found, self._programs.is_mode, strict=True)
            ]
            rows = self._react(rows, first, self._by_row(-1), None)
            return self._with_outputs(rows, first, rows, rows), first
        self._truths = [
            truth and not event.at_start
            for truth, event in zip(self._truths_at(first, rows), self._events, strict=True)
        ]
        places = self._places_at(first)
        self._first_entry = len(places)
        passed, t = self._pass(rows, first, places, None)
        if places and self._only_switches(places):  # the derivative is one-sided: see `pass_discontinuity`
            mean = (rows + passed) / 2
            mean[:, self._first_mode :] = passed[:, self._first_mode :]
            return mean, t
        return passed, t

    @property
    def _first_mode(self) -> int:
        return len(self._programs.system.states) - sum(self._programs.is_mode)

    def _with_outputs(self, rows: Tensor, time: float, before: Tensor, after: Tensor) -> Tensor:
        """Write the outputs at this instant; returns `rows`."""
        times, near = self._given.times, float(self._window.tolerance(time))
        while len(self._rows) < len(times) and times[len(self._rows)] <= time + near:
            self._rows.append(before if self._given.before[len(self._rows)] else after)
        return rows

    def _places_at(self, time: float) -> list[int]:
        found: list[int] = np.flatnonzero(self._entries.times[0] == time).tolist()
        return found

    def _is_switch(self, time: float) -> bool:
        return any(self._entries.kinds[0, place] == SWITCH for place in self._places_at(time))

    def _only_switches(self, places: Sequence[int]) -> bool:
        return all(self._entries.kinds[0, place] == SWITCH for place in places)

    # what the equations see

    def _bound(self) -> Program:
        """The rates at the constants of the moment."""
        if self._program is None:
            values, device = self._values(), self._given.start.device
            rates, directions = self._programs.rates, self._given.directions
            if len(self._given.start) == 1:
                self._program = rates.bind(values, device, self._given.tolerances)
            else:
                self._program = DualProgram(rates, values, directions, device, self._given.tolerances)
        return self._program

    def _solved(self, rows: Tensor, times: Sequence[float]) -> Tensor:
        """The rows at times, the first of which they are given at."""
        found = self._integrated(rows, times)
        if found.failure is not None:
            raise found.failure
        return found.rows

    def _integrated(self, rows: Tensor, times: Sequence[float]) -> Integrated:
        """See `Integrate`."""
        given = self._given
        values = np.concatenate([[float(value) for value in given.parameters.values()], self._constants])
        duration = float(given.times[-1] - given.times[0])

        def explain(time: float, rows: Tensor) -> str | None:
            return given.describe_failure(time, rows[0].cpu().numpy(), values, duration)

        return self._integrate(self._bound(), rows, rows.new_tensor(times), explain)

    def _values(self) -> dict[str, Tensor]:
        like, names = self._given.start, self._programs.system.constants
        values = {name: like.new_tensor(value) for name, value in zip(names, self._constants.tolist(), strict=True)}
        values |= {name: like.new_tensor(shift) for name, shift in self._shifts.items()}
        return values | dict(self._given.parameters)

    def _rates(self, time: float, rows: Tensor) -> Tensor:
        """f (n,)."""
        program = self._programs.rates.bind(self._values(), rows.device, self._given.tolerances)
        outputs = program(rows.new_tensor(time), *rows[0].unbind(-1))
        return torch.stack([output.expand(()) for output in outputs])

    def _linearised(self, program: TorchProgram, time: float, by_time: Tensor, rows: Tensor) -> Tensor:
        """Values and derivatives, (E, 1 + m'), of expressions; by_time: (m',), how t moves. rows: (1 + m', n)."""
        values, t = self._values(), rows.new_tensor(time)
        if len(rows) == 1:
            plain = program.bind(values, rows.device)(t, *rows[0].unbind(-1))
            return torch.stack([output.expand(()) for output in plain]).unsqueeze(-1)
        more = len(by_time) - self._given.jacobian.shape[1]  # columns of no unknown
        for name, direction in self._given.directions.items():
            values[name] = _dual(values[name], torch.cat([direction, direction.new_zeros(more)]))
        states = [_dual(column[0], column[1:]) for column in rows.unbind(-1)]
        outputs = program.bind(values, rows.device)(_dual(t, by_time), *states)
        return torch.stack([_column(output, rows) for output in outputs])

    def _truths_at(self, time: float, rows: Tensor, *, near: bool = False) -> list[bool]:
        """Which conditions are true. near: also those that become true within rounding."""
        if not self._events:
            return []
        values = self._values()
        outputs = self._programs.truths.bind(values, rows.device)(rows.new_tensor(time), *rows[0].unbind(-1))
        found = [bool(output) for output in outputs]
        if near and not all(found):
            g, slope = self._functions(time, rows)
            reach = 4 * self._gap + float(self._window.tolerance(time))
            for k, is_true in enumerate(found):
                found[k] = is_true or bool(slope[k] > 0 and g[k] <= 0 <= g[k] + slope[k] * reach)
        return found

    def _functions(self, time: float, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The conditions' functions and their rates, (E,) each."""
        extended = torch.cat([rows, self._rates(time, rows)[None]])
        found = self._linearised(self._programs.functions, time, _last(extended), extended)
        return found[:, 0], found[:, -1]

    # an instant

    def _pass(self, rows: Tensor, time: float, places: Sequence[int], located: int | None) -> tuple[Tensor, float]:
        """Let happen what happens at an instant; returns the rows after it and the time from which to go on."""
        before, snapshot_events, recorded = rows, self._event_count, len(self.happened)
        side, has_switch = 8 * self._gap, any(self._entries.kinds[0, place] == SWITCH for place in places)
        groups = self._groups(places)
        if located is None and places and self._only_switches(places):
            rows = self._switched_both_ways(rows, time, groups, side)
            after = self._react(rows, time, self._by_row(-1), None)
        else:
            after = self._apply(rows, time, groups, side, located)
        self._shifts = dict.fromkeys(self._shifts, 0.0)
        self._program = None
        is_switch = located is None or self._programs.is_mode[located]
        is_smooth = is_switch and self._only_switches(places) and self._event_count == snapshot_events
        self._record_states(recorded, before, after)
        mean = (before + after) / 2
        self._with_outputs(after, time, mean if is_smooth else before, mean if is_smooth else after)
        self._check_crowding(time, snapshot_events, located)
        return after, time + self._gap if has_switch else time

    @property
    def _event_count(self) -> int:
        """How many events have happened, those of modes left out."""
        return sum(count for count, is_mode in zip(self._happened, self._programs.is_mode, strict=True) if not is_mode)

    def _record_states(self, first: int, before: Tensor, after: Tensor) -> None:
        """Complete what is recorded of an instant."""
        states = before[0].cpu().numpy(), after[0].cpu().numpy()
        self.happened[first:] = [replace(each, before=states[0], after=states[1]) for each in self.happened[first:]]

    def _check_crowding(self, time: float, happened: int, located: int | None) -> None:
        if self._event_count > happened:
            is_crowded = located is not None and time - self._last_event <= float(self._window.tolerance(time))
            self._crowded = self._crowded + 1 if is_crowded else 0
            self._last_event = time
            if self._crowded > MOST_CROWDED and located is not None:
                name = self._events[located].name
                raise SolveError("endless_events", time, self._given.max_steps, event=name)

    def _groups(self, places: Sequence[int]) -> list[_Group]:
        groups: list[_Group] = []
        for place in places:
            row = int(self._entries.time_rows[0, place])
            if not groups or groups[-1].row != row:
                groups.append(_Group(row))
            groups[-1].places.append(place)
        return groups

    def _apply(self, rows: Tensor, time: float, groups: Sequence[_Group], side: float, located: int | None) -> Tensor:
        for group in groups:
            self._set_shifts(group.places, -side)
        if located is not None:
            by_time = self._by_located(rows, time, located)
            rows = self._react(self._moved(rows, time, by_time, 1.0), time, by_time, located)
            return rows if self._stopped else self._moved(rows, time, by_time, -1.0)
        if not groups:
            return self._react(rows, time, self._by_row(-1), None)
        for number, group in enumerate(groups):
            by_time = self._by_row(group.row)
            rows = self._moved(rows, time, by_time, 1.0)
            rows = self._applied(rows, time, by_time, group.places)
            self._set_shifts(group.places, side)
            if number == len(groups) - 1:
                rows = self._react(rows, time, by_time, None)
            rows = rows if self._stopped else self._moved(rows, time, by_time, -1.0)
        return rows

    def _switched_both_ways(self, rows: Tensor, time: float, groups: Sequence[_Group], side: float) -> Tensor:
        """The mean of one order and its reverse, in which the derivatives are one-sided."""
        found = []
        for order in [groups] if len(groups) == 1 else [groups, list(reversed(groups))]:
            passed = rows
            for group in groups:
                self._set_shifts(group.places, -side)
            for group in order:
                by_time = self._by_row(group.row)
                passed = self._moved(passed, time, by_time, 1.0)
                self._set_shifts(group.places, side)
                passed = self._moved(passed, time, by_time, -1.0)
            found.append(passed)
        return torch.stack(found).mean(0)

    def _set_shifts(self, places: Sequence[int], side: float) -> None:
        for place in places:
            if self._entries.kinds[0, place] == SWITCH and self._entries.targets[0, place] >= 0:
                self._shifts[self._programs.shifts[self._entries.targets[0, place]]] = side

    def _by_row(self, row: int) -> Tensor:
        jacobian = self._given.jacobian
        return jacobian[row] if row >= 0 else jacobian.new_zeros(jacobian.shape[1])

    def _moved(self, rows: Tensor, time: float, by_time: Tensor, sign: float) -> Tensor:
        """The rows with f·dτ/dp added to the derivatives, or taken from them."""
        if not bool(by_time.any()):
            return rows
        moved = rows.clone()
        moved[1:] += sign * by_time.unsqueeze(-1) * self._rates(time, rows)
        return moved

    def _applied(self, rows: Tensor, time: float, by_time: Tensor, places: Sequence[int]) -> Tensor:
        """The rows with entries applied."""
        entries, rows, source = self._entries, rows.clone(), rows
        for place in places:
            kind, target, value = (int(entries.kinds[0, place]), int(entries.targets[0, place]),
                                   float(entries.values[0, place]))  # fmt: skip
            row = int(entries.rows[0, place])
            if kind == PIECE:
                self._constants[target : target + PIECE_SIZE] = entries.pieces[row]
            elif kind == HOLD:
                self._constants[target] = value
            elif kind in (ASSIGN, ADD):
                column = torch.cat([rows.new_tensor([value]), self._by_row(row)])
                rows[:, target] = column if kind == ASSIGN else rows[:, target] + column
            elif kind == RESET:
                rows = self._reset(rows, source, time, by_time, self._programs.resets[target])
        return rows

    def _reset(self, rows: Tensor, source: Tensor, time: float, by_time: Tensor, reset: Reset) -> Tensor:
        """The rows with states set and added to, from those in `source`."""
        if not (reset.to_set or reset.to_add):
            return rows
        columns, rows = self._linearised(reset.program, time, by_time, source), rows.clone()
        for column, state in zip(columns, [*reset.to_set, *reset.to_add], strict=True):
            rows[:, state] = column
        rows[:, list(reset.to_add)] = source[:, list(reset.to_add)]
        for column, state in zip(columns[: len(reset.to_set)], reset.to_set, strict=True):
            rows[:, state] = column
        for column, state in zip(columns[len(reset.to_set) :], reset.to_add, strict=True):
            rows[:, state] = rows[:, state] + column
        return rows

    # events

    def _by_located(self, rows: Tensor, time: float, event: int) -> Tensor:
        """dτ/dp = −(g_x·S + g_p)/(g_x·f + g_t)."""
        extended = torch.cat([rows, self._rates(time, rows)[None]])
        found = self._linearised(self._programs.functions, time, _last(extended), extended)[event]
        slope = found[-1]
        if len(rows) == 1 or not bool(slope > 0):
            return self._by_row(-1)
        return -found[1:-1] / slope

    def _react(self, rows: Tensor, time: float, by_time: Tensor, located: int | None) -> Tensor:
        """Let the events happen that have become true, again until none has."""
        fired: list[int] = []
        while self._events:
            truths = self._truths_at(time, rows, near=True)
            if located is not None:
                truths[located], located = True, None
            for k in [k for k in fired if self._programs.is_mode[k]]:
                self._check_sliding(k, time, rows)
                truths[k] = False
            fired = [k for k, is_true in enumerate(truths) if is_true and not self._truths[k]]
            self._truths = truths
            if not fired:
                break
            source = rows
            for k in fired:
                event = self._events[k]
                self._happened[k] += 1
                if self._happened[k] > event.most:
                    raise SolveError("too_many_events", time, self._given.max_steps, event=event.name)
                name = None if self._programs.is_mode[k] else event.name
                states = rows[0].cpu().numpy()  # until the instant is over
                self.happened.append(Happened(time, name, by_time.cpu().numpy(), states, states))
                rows = self._reset(rows, source, time, by_time, self._programs.event_resets[k])
                self._stopped |= event.stop
            if self._stopped:
                break
        return rows

    def _check_sliding(self, mode: int, time: float, rows: Tensor) -> None:
        """Raise where the comparison of a mode that has just been switched is to change again at once."""
        g, slope = (float(found[mode]) for found in self._functions(time, rows))
        if slope > 0 and g + slope * SLIDES * float(self._window.tolerance(time)) >= 0:
            raise SolveError(SLIDING, time, self._given.max_steps, event=self._events[mode].name)

    # between instants

    def _advance(self, rows: Tensor, t: float, target: float) -> tuple[Tensor, float, int | None]:
        """Integrate to a time, writing the outputs before it; stops at an event, whose number is returned."""
        times, near = self._given.times, float(self._window.tolerance(target))
        inside: list[float] = []
        while (place := len(self._rows) + len(inside)) < len(times) and times[place] < target - near:
            inside.append(float(times[place]))
        if not target > t:
            return rows, t, None
        if not self._events:
            stops = list(dict.fromkeys([t, *inside, target]))
            solved = self._solved(rows, stops)
            by_time = dict(zip(stops, solved, strict=True))
            self._rows += [by_time[time] for time in inside]
            return solved[-1], target, None
        for stop in dict.fromkeys([*inside, target]):
            if stop > t:
                rows, t, located = self._until_event(rows, t, stop)
                if located is not None:
                    return rows, t, located
            self._rows += [rows] * (inside.count(stop))
        return rows, t, None

    def _until_event(self, rows: Tensor, t: float, stop: float) -> tuple[Tensor, float, int | None]:
        solved = self._integrated(rows, [t, stop])
        for (begin, start), (end, reached) in pairwise(solved.ends):
            crossing = self._crossing(begin, start, end, reached)
            if crossing is not None:
                found = self._located(begin, start, end, *crossing)
                self._note_grazing(crossing[0], [(begin, start), (end, reached)], found)
                return found
        if solved.failure is not None:  # an event before the place would have prevented it
            raise solved.failure
        return solved.rows[-1], stop, None

    def _crossing(self, begin: float, start: Tensor, end: float, reached: Tensor) -> tuple[int, float] | None:
        """The first condition that becomes true between two points, and about when; notes those that become false."""
        width = end - begin
        slopes = width * self._rates(begin, start), width * self._rates(end, reached)

        def state(theta: float) -> Tensor:  # Hermite's cubic
            a, b = start[0], reached[0]
            found = a + theta * (b - a)
            bend = (1 - 2 * theta) * (b - a) + (theta - 1) * slopes[0] + theta * slopes[1]
            return (found + theta * (theta - 1) * bend)[None]

        samples = [
            self._sample(begin + k / SAMPLES * width, reached if k == SAMPLES else state(k / SAMPLES))
            for k in range(SAMPLES + 1)
        ]
        step = _Step(begin, width, start, state)
        found, false_at = [], {}
        for event in range(len(self._events)):
            between = self._between(event, step, samples)
            if between is not None:
                false_at[event] = between[0]
                found.append((self._bisected(begin, width, state, *between, event), event))
        if not found:
            self._truths = samples[-1][0]
            return None
        theta, event = min(found)
        for other, low in false_at.items():  # what has become false since the step's start may happen again
            if low <= theta:
                self._truths[other] = False
        return event, begin + theta * width

    def _sample(self, time: float, rows: Tensor) -> tuple[list[bool], list[float]]:
        """Which conditions are true, and their functions."""
        program = self._programs.functions.bind(self._values(), rows.device)
        values = program(rows.new_tensor(time), *rows[0].unbind(-1))
        return self._truths_at(time, rows), [float(value) for value in values]

    def _between(
        self, event: int, step: _Step, samples: Sequence[tuple[list[bool], list[float]]]
    ) -> tuple[float, float] | None:
        """Parts of a step between which a condition becomes true for the first time: it is false at the first one.

        Between two samples it may become true and false again, or the other way round: where its function has an
        extremum between them, that is looked for.
        """
        is_true, values = self._truths[event], [found[event] for _, found in samples]
        slopes = np.gradient(np.array(values))
        for k in range(1, SAMPLES + 1):
            low, high, turns = (k - 1) / SAMPLES, k / SAMPLES, samples[k][0][event]
            if turns and not is_true:
                return low, high
            sign = -1.0 if is_true else 1.0
            if turns == is_true and sign * slopes[k - 1] > 0 > sign * slopes[k]:
                theta = self._extremum(event, step, low, high, sign, UNSURE * (max(values) - min(values)))
                if theta is not None:
                    return (theta, high) if is_true else (low, theta)
            is_true = turns
        return None

    def _extremum(self, event: int, step: _Step, low: float, high: float, sign: float, unsure: float) -> float | None:
        """Where between two points a condition is not as at both of them, looked for at the extremum; else None.

        unsure: the cubic may err by this, so that the step is taken again to end at an extremum so near to 0.
        """

        def value(theta: float) -> tuple[float, bool]:
            truths, values = self._sample(step.begin + theta * step.width, step.state(theta))
            return sign * values[event], truths[event] == (sign > 0)

        inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
        found = [value(theta) for theta in inner]
        for _ in range(EXTREMUM_ITERATIONS):
            for theta, (_, has_turned) in zip(inner, found, strict=True):
                if has_turned:
                    return theta
            if high - low <= 1e-4 / SAMPLES or max(found)[0] < -2 * unsure:
                break
            if found[0][0] > found[1][0]:
                high, inner = inner[1], [inner[1] - GOLDEN * (inner[1] - low), inner[0]]
                found = [value(inner[0]), found[0]]
            else:
                low, inner = inner[0], [inner[1], inner[0] + GOLDEN * (high - inner[0])]
                found = [found[1], value(inner[1])]
        theta = 0.5 * (low + high)
        if max(found)[0] < -unsure:
            return None
        time = step.begin + theta * step.width
        rows = self._solved(step.start, [step.begin, time])[-1]
        return theta if self._truths_at(time, rows)[event] == (sign > 0) else None

    def _bisected(
        self, begin: float, width: float, state: Callable[[float], Tensor], low: float, high: float, event: int
    ) -> float:
        for _ in range(60):
            middle = 0.5 * (low + high)
            if self._truths_at(begin + middle * width, state(middle))[event]:
                high = middle
            else:
                low = middle
        return high

    def _note_grazing(self, event: int, ends: list[tuple[float, Tensor]], found: tuple[Tensor, float, int]) -> None:
        """A crossing that is hardly one, compared with the rates at the step's ends: its time is uncertain."""
        slopes = [float(self._functions(time, rows)[1][event]) for time, rows in [*ends, (found[1], found[0])]]
        if not slopes[-1] > self._given.grazing * max(map(abs, slopes)):
            self.grazed.add(self._events[event].name)

    def _located(self, begin: float, start: Tensor, end: float, event: int, about: float) -> tuple[Tensor, float, int]:
        """The rows at the instant at which a condition becomes true: the step is taken again, to end there."""
        time, rows = about, start
        for _ in range(8):
            time = min(max(time, begin), end)
            rows = start
            if time > begin + 4 * self._gap:
                rows = self._solved(start, [begin, time])[-1]
            g, slope = self._functions(time, rows)
            correction = float(g[event] / slope[event]) if float(slope[event]) > 0 else 0.0
            if not abs(correction) > 1e-13 * self._scale or abs(correction) > end - begin:
                break
            time -= correction
        return rows, time, event


def _dual(value: Tensor, direction: Tensor) -> Tensor:
    dual: Tensor = make_dual(value.expand_as(direction).clone(), direction.clone())  # type: ignore[no-untyped-call]
    return dual


def _column(output: Tensor, rows: Tensor) -> Tensor:
    value, direction = unpack_dual(output)  # type: ignore[no-untyped-call]
    column = rows.new_zeros(len(rows))
    column[0] = value if value.dim() == 0 else value[0]
    if direction is not None:
        column[1:] = direction
    return column


def _last(rows: Tensor) -> Tensor:
    """1 for the last row, 0 for the others, without the first."""
    found = rows.new_zeros(len(rows) - 1)
    found[-1] = 1.0
    return found
