"""A system's compiled kernels, and solves with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial, reduce
from itertools import pairwise
from operator import or_
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy, Happened, SolverOptions, StopCheck
from odelib.engines.compiled import batch_loop, cache, step_control
from odelib.engines.compiled.adjoint.source import AdjointSource
from odelib.engines.compiled.codegen import KernelSource
from odelib.engines.compiled.event_source import EventSource, targets_of
from odelib.engines.compiled.events import (
    GRAZED,
    NUMBERS_OF_EVENT,
    RECORD_DIRECTION,
    RECORD_EVENT,
    RECORD_TIME,
    EventKernels,
)
from odelib.engines.compiled.instant_arrays import of_discontinuities, of_members, of_schedule
from odelib.engines.compiled.sensitivity_jumps import Instants
from odelib.engines.missing_values import PLAIN as PLAIN_TERMS
from odelib.engines.missing_values import Terms, describe_failure
from odelib.engines.schedules.extension import Reset
from odelib.engines.schedules.modes import SLIDING, ModeEvent
from odelib.engines.schedules.schedule import Schedule
from odelib.engines.symbolic import borders
from odelib.engines.tableaus.dop853 import DOP853
from odelib.engines.tableaus.dopri5 import DOPRI5
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.engines.tableaus.registry import EXPLICIT
from odelib.engines.tableaus.tableau import Tableau
from odelib.errors import FitError, SolveError, StopRequested
from odelib.problem.expressions.parser import Expression
from odelib.problem.solver import AUTO
from odelib.problem.system import Event, System

TIGHT_RTOL = 1e-8  # below it `auto` starts with the method of order 8, which then needs less time than one of order 5
STEPS_PER_CALL = 40_000  # of one equation, between two checks of the stop flag: some hundredths of a second
WORTH_THREADS = 200_000  # steps of one equation, some milliseconds: less takes longer on threads, which wait for cores
MAX_BLOCK_NUMBERS = 2**22  # of working memory: a larger batch is solved in blocks of members
_TABLEAUS: Mapping[str, Tableau] = {tableau.name: tableau for tableau in EXPLICIT}
_INDICES = {tableau.name: index for index, tableau in enumerate(EXPLICIT)}
CODES = {
    step_control.MAX_STEPS: "max_steps",
    step_control.NOT_FINITE: "not_finite",
    step_control.STEP_TOO_SMALL: "step_too_small",
    step_control.TOO_MANY_EVENTS: "too_many_events",
    step_control.ENDLESS_EVENTS: "endless_events",
    step_control.SLIDING: SLIDING,
}
_advance: Any = batch_loop.advance_batch  # Numba's type for it allows no *arguments


class Happenings(NamedTuple):
    """What happens during the solves of a batch.

    sensitivities: (B, n, m), those of the initial states; None if each is an unknown itself, or depends on none.
    before, is_start, recorded_events: as in `SolveSettings`; before: (1, T) or (B, T). terms: for messages.
    """

    schedule: Schedule | None = None
    sensitivities: Reals | None = None
    before: NDArray[np.bool_] | None = None
    is_start: bool = True
    recorded_events: int = 0
    terms: Terms = PLAIN_TERMS


NOTHING = Happenings()
NO_BEFORE = np.zeros((1, 0), dtype=np.bool_)
NO_SENSITIVITIES = np.zeros((1, 0, 0))


class Instructions(NamedTuple):
    """What `advance_batch` is given of what happens in a batch, under its names there; all None in a plain solve."""

    before: NDArray[np.bool_] | None = None
    instants: Instants | None = None
    initial_sensitivities: Reals | None = None
    event_kernels: EventKernels | None = None
    record: Reals | None = None

    def of_members(self, members: slice) -> Instructions:
        """Those of some members."""
        if self.instants is None:
            return self
        before, given = self.before, self.initial_sensitivities
        return self._replace(
            before=before if before is None or len(before) == 1 else before[members],
            instants=of_members(self.instants, members),
            initial_sensitivities=given if given is None or len(given) == 1 else given[members],
            record=self.record if self.record is None or len(self.record) == 1 else self.record[members],
        )


PLAIN = Instructions()


class Solved(NamedTuple):
    """The solutions of a batch.

    states: (B, T, n), NaN for members that failed; sensitivities: (B, T, n, m), columns in the order of
    `DifferentiateBy`, 0 for members that failed; failures: by member; methods: those used, in order of first use;
    most_steps: of one member; grazing: names of events whose time is uncertain; atol: the absolute tolerances of the
    states at the end, (B, n), if they are known; happened: see `Solution`.
    """

    states: Reals
    sensitivities: Reals
    failures: Mapping[int, SolveError]
    methods: tuple[str, ...]
    most_steps: int
    grazing: frozenset[str]
    atol: Reals | None = None
    happened: Mapping[int, tuple[Happened, ...]] = {}


class Layout(NamedTuple):
    """The layout of a solve's memory.

    unknowns (m,), column_of (p + constants,): see `step_control.initialise` and `codegen`. member, scratch: how many
    numbers a member takes, and a thread.
    """

    unknowns: Integers
    column_of: Integers
    member: int
    scratch: int


class Kernels:
    """The compiled functions of one system. Raises `FitError` if it is too large to be compiled."""

    def __init__(self, system: System, resets: Sequence[Reset] = ()) -> None:
        self.system, source = system, _source_of(system, resets)
        self._discontinuities, self.has_borders = source.discontinuities, source.has_borders
        self._parameter_count = len(system.parameters)
        module = cache.load(source.text())
        self.size = source.size
        self.event_names = tuple(event.name for event in system.events)
        self.told_names = tuple(None if isinstance(event, ModeEvent) else event.name for event in system.events)
        self._events = _event_kernels(source.events, module)
        self.rates: int = module.rates.address
        self.jacobian: int = module.jacobian.address
        self.rates_with_sensitivities: int = module.rates_with_sensitivities.address
        self.work_size = source.work_size
        self.module = module  # keeps its machine code alive
        self._layouts: dict[tuple[DifferentiateBy, int], Layout] = {}
        self._constant: dict[DifferentiateBy, Instants] = {}
        constant = self._discontinuities.constant
        self._never_happens = not system.events and constant is not None and constant.times.size == 0

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        options: SolverOptions, stop: StopCheck, happenings: Happenings = NOTHING,
    ) -> Solved:  # fmt: skip
        """States and sensitivities of all members at `times`.

        times: (1, T), shared, or (B, T), rows non-decreasing. initial_state: (B, n). values: (B, p + constants). All
        contiguous. A member that fails is reported in the result. Raises `StopRequested`.
        """
        count, steps, n = len(initial_state), times.shape[1], self.size
        states, sensitivities = np.empty((count, steps, n)), np.empty((count, steps, n, differentiate_by.count))
        layout = self.layout(differentiate_by, values.shape[1])
        instructions = self.instructions(times, initial_state, values, differentiate_by, happenings)
        if self._discontinuities.shifts or happenings.schedule:  # entries change the constants
            values = self.with_shifts(values)
        if self.has_borders:
            values = self.with_border_tolerances(values, options)
        failures: dict[int, SolveError] = {}
        grazing: set[str] = set()
        atol: list[Reals] = []
        happened: dict[int, tuple[Happened, ...]] = {}
        used, most_steps, block_size = 0, 0, max(1, MAX_BLOCK_NUMBERS // layout.member)
        batch = Batch(times, instructions, initial_state, values, states, sensitivities)
        for first in range(0, count, block_size):
            own = batch if count <= block_size else batch.of_members(slice(first, first + block_size))
            block = Block(self, layout, options, own)
            failed, used_here = block.solve(stop)
            used |= used_here
            most_steps = max(most_steps, block.most_steps)
            atol.append(block.atol)
            if failed:
                failures |= {first + member: error for member, error in block.failures(happenings.terms).items()}
            grazing |= block.grazing()
            if happenings.recorded_events:
                happened |= {first + member: told for member, told in enumerate(block.happened())}
        return Solved(
            states, sensitivities, failures, methods_of(used, options), most_steps, frozenset(grazing),
            np.concatenate(atol) if atol else np.empty((0, n)), happened,
        )  # fmt: skip

    def with_border_tolerances(self, values: Reals, options: SolverOptions) -> Reals:
        """Values with the tolerances at borders after them; the loop writes those of the states."""
        tolerances = np.zeros((len(values), 1 + self.size))
        tolerances[:, 0] = borders.ERRORS * options.rtol
        return np.concatenate([values, tolerances], axis=1)

    def with_shifts(self, values: Reals) -> Reals:
        """A copy of values, with the shifts of comparisons with time after them."""
        return np.concatenate([values, np.zeros((len(values), len(self._discontinuities.shifts)))], axis=1)

    def instructions(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        happenings: Happenings,
    ) -> Instructions:  # fmt: skip
        """What the loop is to do at instants, if it is to do anything."""
        schedule, given, before = happenings.schedule, happenings.sensitivities, happenings.before
        if self._never_happens and schedule is None and given is None:
            return PLAIN
        return Instructions(
            NO_BEFORE if before is None else before,
            self._instants(times, values, differentiate_by, schedule),
            NO_SENSITIVITIES if given is None else given,
            self._events if happenings.is_start else self._events._replace(is_start=False),
            self._record(len(initial_state), differentiate_by.count, happenings.recorded_events),
        )

    def _record(self, count: int, m: int, rows: int) -> Reals:
        """Space for the events of each member: see `events.record_event`."""
        if not rows:
            return np.zeros((1, 0, RECORD_DIRECTION))
        return np.zeros((count, rows, RECORD_DIRECTION + m + 2 * self.size))

    def _instants(
        self, times: Reals, values: Reals, differentiate_by: DifferentiateBy, schedule: Schedule | None
    ) -> Instants:
        """What happens in each member, discontinuities of the equations among it."""
        shifts = values.shape[1]
        if schedule is not None:
            first_shift = shifts if self._discontinuities.shifts else None
            return of_schedule(schedule, differentiate_by, self._parameter_count, first_shift)
        constant = self._discontinuities.constant
        if constant is not None:
            if differentiate_by not in self._constant:
                self._constant[differentiate_by] = of_discontinuities(constant, differentiate_by, shifts)
            return self._constant[differentiate_by]
        first, last = float(times[:, 0].min()), float(times[:, -1].max())
        found = self._discontinuities.find(values, first, last, with_jacobian=len(differentiate_by.parameters) > 0)
        return of_discontinuities(found, differentiate_by, shifts)

    def layout(self, differentiate_by: DifferentiateBy, values: int) -> Layout:
        """The layout for this many parameters and constants; made once."""
        known = self._layouts.get((differentiate_by, values))
        if known is None:
            n, m = self.size, differentiate_by.count
            parameters = np.array(differentiate_by.parameters, dtype=np.int64)
            unknowns = np.concatenate([np.array(differentiate_by.states, dtype=np.int64), n + parameters])
            column_of = np.full(values, -1, dtype=np.int64)
            column_of[parameters] = np.arange(len(differentiate_by.states), m)
            sizes = (
                batch_loop.member_size(n, m),
                batch_loop.scratch_size(n, m, self.work_size, self._events.target_size, len(self.event_names)),
            )
            known = self._layouts[differentiate_by, values] = Layout(unknowns, column_of, *sizes)
        return known


def explicit_tableau(options: SolverOptions) -> Tableau:
    """The explicit method that was asked for, or the one that `auto` starts with."""
    return _TABLEAUS.get(options.method) or (DOP853 if options.rtol < TIGHT_RTOL else DOPRI5)


def methods_of(used: int, options: SolverOptions) -> tuple[str, ...]:
    """The names of the methods whose bits are set."""
    explicit = (explicit_tableau(options).name,) if used & step_control.USED_EXPLICIT else ()
    return (*explicit, KVAERNO5.name) if used & step_control.USED_IMPLICIT else explicit


def limits_of(options: SolverOptions, n: int) -> Reals:
    """The largest absolute tolerance of each state, (n,); held states, the last ones, have no error."""
    return _limits(options.max_atol if options.atol == AUTO else options.atol, n)


@lru_cache(maxsize=64)  # making an array takes a tenth of a small solve
def _limits(given: float | tuple[float, ...], n: int) -> Reals:
    if not isinstance(given, tuple):
        return np.full(n, given)
    return np.array([*given, *[np.inf] * (n - len(given))])


class Batch(NamedTuple):
    """What a batch is solved from, and where its solutions go: see `Kernels.solve` and `Solved`."""

    times: Reals
    instructions: Instructions
    initial_state: Reals
    values: Reals
    states: Reals
    sensitivities: Reals

    def of_members(self, members: slice) -> Batch:
        """That of some members, views of this one's arrays."""
        times, instructions, *own = self
        times = times if len(times) == 1 else times[members]
        return Batch(times, instructions.of_members(members), *(array[members] for array in own))


class Block:
    """The memory of a block of members, and the calls of the compiled loop that solve them.

    scalars, arrays: what `advance_batch` is given. kept, counters: as it says.
    """

    def __init__(self, kernels: Kernels, layout: Layout, options: SolverOptions, batch: Batch) -> None:
        times, instructions, initial_state, values, states, sensitivities = batch
        size, n, m, o = len(states), kernels.size, len(layout.unknowns), options
        self._max_steps, self._states, self._sensitivities = o.max_steps, states, sensitivities
        self._system, self._columns, self._times, self._values = kernels.system, m, times, values
        self.kept = np.zeros((size, layout.member))
        self._names, self._told_names = kernels.event_names, kernels.told_names
        self._record = instructions.record
        counters = step_control.COUNTERS + NUMBERS_OF_EVENT * len(self._names)
        self.counters = np.zeros((size, counters), dtype=np.int64)
        if o.method == KVAERNO5.name:
            self.counters[:, step_control.IMPLICIT] = 1
        steps_per_call = max(10, STEPS_PER_CALL // (n * (1 + m) * size))
        self.scalars: tuple[Any, ...] = (
            _INDICES[explicit_tableau(o).name], o.method == AUTO, kernels.rates,
            kernels.rates_with_sensitivities if m else kernels.rates, kernels.jacobian, n, m, o.rtol,
            limits_of(o, n), o.atol == AUTO,
            values.shape[1] - n if kernels.has_borders else 0, o.max_steps, steps_per_call,
        )  # fmt: skip
        self.arrays = (
            times, *instructions, initial_state, values, layout.unknowns, layout.column_of, self.kept, self.counters,
        )  # fmt: skip
        self._scratch = layout.scratch
        self._calls_alone = WORTH_THREADS // (steps_per_call * n * (1 + m) * size)

    def solve(self, stop: StopCheck) -> tuple[int, int]:
        """Solve on until every member has ended; returns how many failed, and the methods used (bits).

        On as many threads as torch has, if one has not been done soon.
        """
        threads, size = min(torch.get_num_threads(), len(self._states)), len(self._states)
        alone = self._calls_alone if threads > 1 else None
        running, failed, used = self._solve(stop, 0, size, alone, begin=True)
        if not running:
            return failed, used
        ends = [(i + 1) * size // threads for i in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            parts = list(
                pool.map(lambda own: self._solve(stop, own[0], own[1], None, begin=alone == 0), pairwise([0, *ends]))
            )
        return sum(failed for _, failed, _ in parts), reduce(or_, (used for *_, used in parts))

    def _solve(self, stop: StopCheck, first: int, last: int, calls: int | None, *, begin: bool) -> tuple[int, int, int]:
        """As `solve` for the members from `first` to before `last`, in so many calls at most; also how many are left.

        begin: whether none of them has begun yet.
        """
        scratch, done = np.zeros(self._scratch), 0
        running, failed, used = last - first, 0, 0
        while running and done != calls:
            if reason := stop():
                raise StopRequested(reason)
            running, failed, used = _advance(
                first, last, begin, *self.scalars, *self.arrays, scratch, self._states, self._sensitivities
            )
            begin, done = False, done + 1
        return running, failed, used

    @property
    def most_steps(self) -> int:
        """The most steps that one member took."""
        steps = self.counters[:, step_control.STEPS]
        # for one member `max` takes a tenth of a small solve
        return int(steps[0] if len(steps) == 1 else steps.max(initial=0))

    @property
    def atol(self) -> Reals:
        """The absolute tolerances of the states at each member's time, (B, n)."""
        atol: Reals = batch_loop.tolerances_of(self.kept, len(self._system.states), self._columns)
        return atol

    def failures(self, terms: Terms = PLAIN_TERMS) -> dict[int, SolveError]:
        """The errors of members that failed; their states become NaN, their sensitivities 0."""
        failed = {}
        statuses = self.counters[:, step_control.STATUS]
        for member in np.flatnonzero(statuses != step_control.DONE).tolist():
            time = float(self.kept[member, step_control.TIME])
            explain = None
            if statuses[member] in (step_control.NOT_FINITE, step_control.STEP_TOO_SMALL):
                state = batch_loop.state_of(self.kept[member], len(self._system.states), self._columns).tolist()
                values, times = self._values[member].tolist(), self._times[member % len(self._times)]
                duration = float(times[-1] - times[0])
                explain = partial(describe_failure, self._system, time, state, values, duration, terms)
            code = CODES[int(statuses[member])]
            last = int(self.counters[member, step_control.LAST_EVENT])
            event = self._names[last] if self._names else None
            failed[member] = SolveError(code, time, self._max_steps, event=event, explain=explain)
            self._states[member] = np.nan
            self._sensitivities[member] = 0.0  # contributes nothing to a gradient that leaves the member out
        return failed

    def happened(self) -> list[tuple[Happened, ...]]:
        """What has happened in each member, as far as there was space to record it."""
        assert self._record is not None
        return [
            tuple(self._told(row) for row in rows[: self.counters[member, step_control.RECORDED]])
            for member, rows in enumerate(self._record)
        ]

    def _told(self, row: Reals) -> Happened:
        m, n = self._columns, len(self._system.states)
        by, before, after = np.split(row[RECORD_DIRECTION:], [m, m + n])
        return Happened(float(row[RECORD_TIME]), self._told_names[int(row[RECORD_EVENT])], by, before, after)

    def grazing(self) -> set[str]:
        """The events of which one has grazed."""
        if not self._names:
            return set()
        flags: Integers = self.counters[:, step_control.COUNTERS + GRAZED * len(self._names) :].max(axis=0, initial=0)
        return {name for name, grazed in zip(self._names, flags.tolist(), strict=True) if grazed}


def _source_of(system: System, resets: Sequence[Reset]) -> KernelSource | AdjointSource:
    if system.perceptrons and not resets:
        of_layers = AdjointSource(system)
        if of_layers.is_able:
            return of_layers
    return KernelSource(system, [targets_of(system.states, reset.set, reset.add) for reset in resets])


def _event_kernels(source: EventSource | None, module: Any) -> EventKernels:
    if source is None:
        nothing = np.zeros(0, dtype=np.int64)
        return EventKernels(0, 0, 0, 0, nothing.reshape(0, 4), nothing, 0, 0, 0, True)
    addresses = (
        module.conditions.address, module.condition_rates.address, module.condition_rows.address, module.resets.address,
    )  # fmt: skip
    target_size = source.row_size * source.most_targets
    return EventKernels(
        *addresses, source.events, source.reset_layout, source.row_size, target_size, source.reset_count, True
    )


class EquationsKey:
    """A system and resets as a cache key: equal if all texts from which kernels are generated are."""

    def __init__(self, system: System, resets: tuple[Reset, ...]) -> None:
        self.system, self.resets = system, resets
        self.key = (
            system.states,
            system.parameters,
            tuple(system.constants),
            tuple(expression.text for expression in system.equations.values()),
            _texts(system.definitions),
            system.held,
            bool(system.perceptrons),
            tuple(_event_key(event) for event in system.events),
            tuple((_texts(reset.set), _texts(reset.add)) for reset in resets),
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EquationsKey) and self.key == other.key


def _texts(expressions: Mapping[str, Expression]) -> tuple[tuple[str, str], ...]:
    return tuple((name, expression.text) for name, expression in expressions.items())


def _event_key(event: Event) -> tuple[object, ...]:
    texts = event.when.text, _texts(event.set), _texts(event.add)
    return event.name, *texts, event.at_start, event.stop, event.most


@lru_cache(maxsize=64)
def _kernels_of(equations: EquationsKey) -> Kernels | FitError:
    try:
        return Kernels(equations.system, equations.resets)
    except FitError as error:  # kept as well: it takes seconds to find out
        return error


def kernels_of(system: System, resets: tuple[Reset, ...] = ()) -> Kernels:
    """The system's kernels, compiled on first use and kept. Raises `FitError` if it is too large to be compiled."""
    kernels = _kernels_of(EquationsKey(system, resets))
    if isinstance(kernels, FitError):
        raise kernels.with_traceback(None)  # the frames of the first attempt would keep its memory
    return kernels
