"""Solves on tape, and the gradients that come from going back through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy, SolverOptions, StopCheck
from odelib.engines.compiled import cache
from odelib.engines.compiled.adjoint import record as recording
from odelib.engines.compiled.adjoint import sweep as sweeping
from odelib.engines.compiled.adjoint.instants import ROWS
from odelib.engines.compiled.adjoint.source import AdjointSource
from odelib.engines.compiled.events import POINTS
from odelib.engines.compiled.kernels import (
    NOTHING,
    PLAIN,
    WORTH_THREADS,
    Batch,
    Block,
    EquationsKey,
    Happenings,
    Instructions,
    Kernels,
    Layout,
    kernels_of,
    methods_of,
)
from odelib.engines.compiled.sensitivity_jumps import Instants
from odelib.engines.compiled.simd import padded
from odelib.engines.compiled.step_control import STEPS, USED
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.missing_values import Terms
from odelib.engines.schedules.extension import Reset
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.errors import SolveError, StopRequested
from odelib.problem.solver import AUTO
from odelib.problem.system import System

FIRST_ROWS = 64  # of a tape, which grows by
GROWTH = 4
MAX_NUMBERS = 2**23  # of a tape, 64 MB; what does not fit is solved again on the way back
STEPS_PER_CALL = 40_000  # of one equation, between two checks of the stop flag: some hundredths of a second
_NO_UNKNOWNS = DifferentiateBy()
_record: Any = recording.record
_sweep: Any = sweeping.sweep


@dataclass
class _Segment:
    """A part of the way of some members, solved one after the other, that fits on the tape.

    first: the member with which it begins. kept, counters, values: its memory there; None if it begins at its start.
    begins, ends: the rows of each member, (B,). last: one more than the last member. to_end: whether that one ends
    here.
    """

    first: int
    kept: Reals | None
    counters: Integers | None
    values: Reals | None
    begins: Integers
    ends: Integers
    last: int = 0
    to_end: bool = False


@dataclass
class _Given:
    """What a batch is solved from: see `Kernels.solve`.

    instructions: with derivatives by all parameters. by_all: what happens with derivatives by all states and parameters
    where there are resets, else the same; of_all: the layout of a solve with these. values: before anything happens;
    own_values: the solve's own. back: the address of the kernel `pull_back`. size: of the states, padded. stages: the
    most of a step.
    final_counters, final_values: those at the end of the solve; the way back overwrites what entries change.
    """

    kernels: Kernels
    back: int
    work_size: int
    options: SolverOptions
    times: Reals
    instructions: Instructions
    by_all: Instants | None
    of_all: Layout
    initial_state: Reals
    values: Reals
    own_values: Reals
    layout: Layout
    states: Reals
    sensitivities: Reals
    block: Block
    size: int
    stages: int
    steps_per_call: int
    final_counters: Integers = field(init=False)
    final_values: Reals = field(init=False)


class _Recorder:
    """The members from `first` to before `last` on the tape of one thread."""

    def __init__(self, given: _Given, first: int, last: int) -> None:
        self._given, self._first, self._last = given, first, last
        self._row = recording.HEAD + given.size * (1 + given.stages)
        self._most = max(FIRST_ROWS, MAX_NUMBERS // self._row)
        self._tape = np.zeros((min(FIRST_ROWS, self._most), self._row))
        self._scratch = np.zeros(given.layout.scratch)
        self._segments: list[_Segment] = []
        self._on_tape = -1

    def solve(self, stop: StopCheck) -> None:
        """Solve the members to their ends."""
        segment = self._segment(self._first)
        while True:
            self._segments.append(segment)
            self._on_tape = len(self._segments) - 1
            if self._fill(segment, self._given.states, stop):
                return
            if segment.to_end:
                segment = self._segment(segment.last)
            else:
                at, block = segment.last - 1, self._given.block
                segment = self._segment(
                    at, block.kept[at].copy(), block.counters[at].copy(), self._given.own_values[at].copy()
                )

    def sweep(self, outputs_bar: Reals, by_state: Reals, gradients: Reals, atol: Reals) -> None:
        """Go back through all segments; see `sweep.sweep`."""
        given = self._given
        bars = np.zeros((2, given.size))
        work = np.zeros(given.work_size)
        event_kernels = given.instructions.event_kernels
        has_resets = event_kernels is not None and event_kernels.reset_count > 0
        jump_memory = np.zeros(_jump_memory_size(given, event_kernels) if has_resets else 0)
        for number in range(len(self._segments) - 1, -1, -1):
            segment = self._segments[number]
            if number != self._on_tape:
                self._fill_again(segment)
                self._on_tape = number
            _sweep(
                segment.first, segment.last, segment.kept is None, segment.to_end, given.block.scalars[0], given.back,
                given.kernels.rates, given.kernels.jacobian, given.kernels.size, given.options.rtol, given.times,
                given.instructions.before, given.instructions.instants, given.values, given.final_values,
                given.layout.column_of, atol, given.final_counters, self._tape, segment.begins, segment.ends,
                given.states, outputs_bar, bars, work, by_state, gradients, given.by_all, event_kernels,
                given.of_all.column_of, jump_memory,
            )  # fmt: skip

    def _segment(
        self, first: int, kept: Reals | None = None, counters: Integers | None = None, values: Reals | None = None
    ) -> _Segment:
        count = len(self._given.states)
        return _Segment(first, kept, counters, values, np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64))

    def _fill_again(self, segment: _Segment) -> None:
        """Solve a segment again, onto the tape; the outputs are the caller's already."""
        block = self._given.block
        if segment.kept is not None and segment.counters is not None and segment.values is not None:
            block.kept[segment.first], block.counters[segment.first] = segment.kept, segment.counters
            self._given.own_values[segment.first] = segment.values
        self._fill(segment, np.empty_like(self._given.states), lambda: None)

    def _fill(self, segment: _Segment, states: Reals, stop: StopCheck) -> bool:
        """Solve on until the tape is full; returns whether all members have ended."""
        member, used, resumes = segment.first, 0, segment.kept is not None
        while True:
            if reason := stop():
                raise StopRequested(reason)
            member, used, why = self._advance(member, used, segment, states, resumes=resumes)
            is_full = why in (recording.FULL, recording.FULL_BEFORE)
            if is_full and len(self._tape) < self._most:
                rows = min(self._most, GROWTH * len(self._tape))
                self._tape = np.concatenate([self._tape, np.zeros((rows - len(self._tape), self._row))])
            elif why != recording.PAUSED:
                segment.to_end = why != recording.FULL
                segment.last = member if segment.to_end else member + 1
                return bool(why == recording.FINISHED)
            resumes = why != recording.FULL_BEFORE

    def _advance(
        self, member: int, used: int, segment: _Segment, states: Reals, *, resumes: bool
    ) -> tuple[int, int, int]:
        given = self._given
        method, may_switch, rates, _, jacobian, n, _, rtol, limits, is_auto, borders, max_steps, _ = given.block.scalars
        found: tuple[int, int, int] = _record(
            member, self._last, resumes, given.options.method == KVAERNO5.name, given.steps_per_call, method,
            may_switch, rates, jacobian, n, rtol, limits, is_auto, borders, max_steps, given.times, *given.instructions,
            given.initial_state, given.values, given.own_values, given.layout.unknowns, given.layout.column_of,
            given.block.kept, given.block.counters, self._scratch, states, given.sensitivities, self._tape, used,
            segment.begins, segment.ends,
        )  # fmt: skip
        return found


class Recording:
    """A batch solved on tape.

    states: (B, T, n), NaN for members that failed. failures, methods, most_steps, atol: as in `Solved`.
    """

    def __init__(self, given: _Given, stop: StopCheck, threads: int, terms: Terms) -> None:
        self._given = given
        count = len(given.states)
        threads = min(threads, count)
        ends = [(i + 1) * count // threads for i in range(threads)]
        self._recorders = [_Recorder(given, first, last) for first, last in zip([0, *ends], ends, strict=False)]
        self._on_threads(lambda recorder: recorder.solve(stop))
        block = given.block
        given.final_counters, given.final_values = block.counters.copy(), given.own_values.copy()
        self.failures: Mapping[int, SolveError] = block.failures(terms)
        self.states, self.atol, self.most_steps = given.states, block.atol.copy(), block.most_steps
        used = np.bitwise_or.reduce(block.counters[:, USED], initial=0)
        self.methods = methods_of(int(used), given.options)
        self.work = given.size * int(block.counters[:, STEPS].sum())  # steps of one equation

    def gradient(self, outputs_bar: Reals) -> tuple[Reals, Reals]:
        """The derivatives of a loss by initial states (B, n) and parameters (B, p), from those by the states (B, T, n).

        0 for members that failed. Not finite where a derivative has no value for a reason that forward sensitivities
        may not have, as one that is infinite times a sensitivity of 0.
        """
        given = self._given
        by_state = np.zeros(given.initial_state.shape)
        gradients = np.zeros((len(by_state), given.size + len(given.kernels.system.parameters)))
        outputs_bar = np.ascontiguousarray(outputs_bar)
        self._on_threads(lambda recorder: recorder.sweep(outputs_bar, by_state, gradients, self.atol))
        return by_state, gradients[:, given.size :]

    def _on_threads(self, run: Callable[[_Recorder], None]) -> None:
        if len(self._recorders) == 1:
            run(self._recorders[0])
            return
        with ThreadPoolExecutor(len(self._recorders)) as pool:
            list(pool.map(run, self._recorders))


class AdjointKernels:
    """The compiled functions of one system, with the products that go back. Raises `FitError` if it is too large."""

    def __init__(self, system: System, resets: tuple[Reset, ...] = ()) -> None:
        self._kernels = kernels_of(system, resets)
        states = range(len(system.states)) if resets else ()  # only resets have derivatives by these
        self._everything = DifferentiateBy(tuple(states), tuple(range(len(system.parameters))))
        self._every_parameter = DifferentiateBy((), tuple(range(len(system.parameters))))
        module = self._kernels.module
        self._work_size = self._kernels.work_size
        if not hasattr(module, "pull_back"):
            moves = bool(system.perceptrons) and bool(Discontinuities(system).shifts)
            source = AdjointSource(replace(system, perceptrons=()) if moves else system)
            module = cache.load(source.text())
            self._work_size = max(self._work_size, source.work_size)
        self._module = module
        self._latest_work = 0  # of a batch: the next one mostly takes as much

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, options: SolverOptions, stop: StopCheck,
        happenings: Happenings = NOTHING,
    ) -> Recording:  # fmt: skip
        """Solve a batch on tape. Takes the arguments of `Kernels.solve`. Raises `StopRequested`.

        No event may happen. The schedule of `happenings` has derivatives by all parameters.
        """
        kernels, n = self._kernels, self._kernels.size
        layout = kernels.layout(_NO_UNKNOWNS, values.shape[1])
        instructions = kernels.instructions(times, initial_state, values, self._every_parameter, happenings)
        of_all, by_all = kernels.layout(self._everything, values.shape[1]), instructions.instants
        if self._everything.states:
            by_all = kernels.instructions(times, initial_state, values, self._everything, happenings).instants
        if instructions.instants is not None:
            values = kernels.with_shifts(values)
        if kernels.has_borders:
            values = kernels.with_border_tolerances(values, options)
        own_values = values.copy()
        count, steps = len(initial_state), times.shape[1]
        states, sensitivities = np.empty((count, steps, n)), np.empty((count, steps, n, 0))
        block = Block(kernels, layout, options, Batch(times, PLAIN, initial_state, own_values, states, sensitivities))
        explicit = block.scalars[0]
        stages = int(sweeping.STAGES[explicit])
        if options.method in (AUTO, KVAERNO5.name):
            stages = max(stages, int(sweeping.STAGES[-1]))
        given = _Given(
            kernels, self._module.pull_back.address, self._work_size, options, times, instructions, by_all, of_all,
            initial_state, values, own_values, layout, states, sensitivities, block, padded(n), stages,
            max(10, STEPS_PER_CALL // n),
        )  # fmt: skip
        threads = torch.get_num_threads() if self._latest_work > WORTH_THREADS else 1
        recording = Recording(given, stop, threads, happenings.terms)
        self._latest_work = recording.work
        return recording


def _jump_memory_size(given: _Given, events: Any) -> int:
    """See `instants.jumps_of`."""
    width = padded(len(given.of_all.unknowns))
    rows = ROWS * (given.size + given.kernels.size * width)
    return int(rows + width + events.target_size + len(events.table) * (2 * POINTS + 7))


@lru_cache(maxsize=64)
def _adjoint_of(equations: EquationsKey) -> AdjointKernels:
    return AdjointKernels(equations.system, equations.resets)


def adjoint_of(system: System, resets: tuple[Reset, ...] = ()) -> AdjointKernels:
    """The system's kernels, compiled on first use and kept. Raises `FitError` if it is too large to be compiled."""
    return _adjoint_of(EquationsKey(system, resets))
