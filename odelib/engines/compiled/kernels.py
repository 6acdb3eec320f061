"""A system's compiled kernels, and solves with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from odelib.arrays import Integers, Reals
from odelib.engines.base import DifferentiateBy, SolverOptions, StopCheck
from odelib.engines.compiled import batch_loop, cache, step_control
from odelib.engines.compiled.codegen import KernelSource
from odelib.engines.compiled.stage_sums import EXPLICIT
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.tableaus.dop853 import DOP853
from odelib.engines.tableaus.dopri5 import DOPRI5
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.engines.tableaus.tableau import Tableau
from odelib.errors import SolveError, StopRequested
from odelib.problem.system import System

_Ended = tuple[int, int, int]
_Spread = Callable[[Callable[[int], _Ended]], Iterable[_Ended]]
TABLEAUS: Mapping[str, Tableau] = {tableau.name: tableau for tableau in EXPLICIT}
_NUMBERS = {tableau.name: number for number, tableau in enumerate(EXPLICIT)}
AUTO = "auto"
TIGHT = 1e-8  # below this rtol the method of order 8 needs less time than one of order 5
PAUSE = 40_000  # steps of one equation between two looks at the stop flag: some hundredths of a second
BLOCK_NUMBERS = 2**22  # of working memory: so many members are solved at a time
_advance: Any = batch_loop.advance_members  # as a function of Numba's it takes no *arguments, says its type

_CODES = {
    step_control.MAX_STEPS: "max_steps",
    step_control.NOT_FINITE: "not_finite",
    step_control.STEP_TOO_SMALL: "step_too_small",
}


class Solved(NamedTuple):
    """What came of the members of a batch.

    states: (B, T, n), NaN for members that failed; sensitivities: (B, T, n, m), columns in the order of
    `DifferentiateBy`, 0 for members that failed; failures: by member; methods: those used, in order of first use.
    """

    states: Reals
    sensitivities: Reals
    failures: Mapping[int, SolveError]
    methods: tuple[str, ...]


class Layout(NamedTuple):
    """What a solve's memory is like.

    columns (m,), column (p + constants,): see `step_control.prepare` and `codegen`; how many numbers a member
    needs, and a thread.
    """

    columns: Integers
    column: Integers
    member: int
    scratch: int


class Kernels:
    """The compiled functions of one system."""

    def __init__(self, system: System) -> None:
        source = KernelSource(system)
        module = cache.load(source.text())
        self.size = source.size
        self.rates: int = module.rates.address
        self.jacobian: int = module.jacobian.address
        self.rates_with_sensitivities: int = module.rates_with_sensitivities.address
        self.work_size = source.work_size
        self._module = module  # its machine code lives as long as this does
        self._jumps = Discontinuities(system)
        self._layouts: dict[tuple[DifferentiateBy, int], Layout] = {}

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        options: SolverOptions, stop: StopCheck,
    ) -> Solved:  # fmt: skip
        """States and sensitivities of all members at `times`.

        times: (1, T), shared, or (B, T), rows non-decreasing. initial_state: (B, n). values: (B, p + constants). All
        contiguous. A member's failure is told in the result; raises `StopRequested` alone.
        """
        count, steps, n = len(initial_state), times.shape[1], self.size
        states, sensitivities = np.empty((count, steps, n)), np.empty((count, steps, n, differentiate_by.count))
        layout = self.layout(differentiate_by, values.shape[1])
        discontinuities = self._jumps.times(values)
        failures: dict[int, SolveError] = {}
        used, block = 0, max(1, BLOCK_NUMBERS // layout.member)
        for first in range(0, count, block):
            part = slice(first, first + block)
            own_times = times if len(times) == 1 else times[part]
            own_jumps = discontinuities if len(discontinuities) == 1 else discontinuities[part]
            arrays = own_times, own_jumps, initial_state[part], values[part], states[part], sensitivities[part]
            run = _Run(self, layout, options, *arrays)
            failed, used_here = run.finish(stop)
            used |= used_here
            if failed:
                failures |= {first + member: error for member, error in run.failures().items()}
        return Solved(states, sensitivities, failures, _methods(used, options))

    def layout(self, differentiate_by: DifferentiateBy, values: int) -> Layout:
        """For so many parameters and constants; made once."""
        if (differentiate_by, values) not in self._layouts:
            n, m = self.size, differentiate_by.count
            parameters = np.array(differentiate_by.parameters, dtype=np.int64)
            columns = np.concatenate([np.array(differentiate_by.states, dtype=np.int64), n + parameters])
            column = np.full(values, -1, dtype=np.int64)
            column[parameters] = np.arange(len(differentiate_by.states), m)
            sizes = batch_loop.member_size(n, m), batch_loop.scratch_size(n, m, self.work_size)
            self._layouts[differentiate_by, values] = Layout(columns, column, *sizes)
        return self._layouts[differentiate_by, values]


def explicit_tableau(options: SolverOptions) -> Tableau:
    """The explicit method asked for, or the one that `auto` starts with."""
    return TABLEAUS.get(options.method) or (DOP853 if options.rtol < TIGHT else DOPRI5)


def _methods(used: int, options: SolverOptions) -> tuple[str, ...]:
    """The names of the methods whose bits are set."""
    explicit = (explicit_tableau(options).name,) if used & step_control.USED_EXPLICIT else ()
    return (*explicit, KVAERNO5.name) if used & step_control.USED_IMPLICIT else explicit


class _Run:
    """The memory of the solves of a block of members, and the calls that carry them on."""

    def __init__(
        self, kernels: Kernels, layout: Layout, options: SolverOptions, times: Reals, discontinuities: Reals,
        initial_state: Reals, values: Reals, states: Reals, sensitivities: Reals,
    ) -> None:  # fmt: skip
        block, n, m, o = len(states), kernels.size, len(layout.columns), options
        self._max_steps, self._states, self._sensitivities = o.max_steps, states, sensitivities
        self._kept = np.zeros((block, layout.member))
        self._count = np.zeros((block, step_control.COUNTS), dtype=np.int64)
        if o.method == KVAERNO5.name:
            self._count[:, step_control.IMPLICIT] = 1
        pause = max(10, PAUSE // (n * (1 + m) * block))
        self._scalars: tuple[Any, ...] = (
            _NUMBERS[explicit_tableau(o).name], o.method == AUTO, kernels.rates,
            kernels.rates_with_sensitivities if m else kernels.rates, kernels.jacobian, n, m, o.rtol, o.atol,
            o.max_steps, pause,
        )  # fmt: skip
        self._arrays = (
            times,
            discontinuities,
            initial_state,
            values,
            layout.columns,
            layout.column,
            self._kept,
            self._count,
        )
        self._scratch = layout.scratch

    def finish(self, stop: StopCheck) -> tuple[int, int]:
        """Carry on until every member has ended; returns how many failed, and the methods used (bits)."""
        threads = min(torch.get_num_threads(), len(self._states))
        if threads == 1:
            return self._finish(stop, lambda carry_on: [carry_on(0)], [len(self._states)])
        borders = [(i + 1) * len(self._states) // threads for i in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            return self._finish(stop, lambda carry_on: pool.map(carry_on, range(threads)), borders)

    def _finish(self, stop: StopCheck, spread: _Spread, borders: list[int]) -> tuple[int, int]:
        """As `finish`, each thread up to its border; `spread` has the threads do something."""
        scratch = [np.zeros(self._scratch) for _ in borders]
        begin = True

        def carry_on(thread: int) -> _Ended:
            ends = borders[thread - 1] if thread else 0, borders[thread]
            ended: _Ended = _advance(
                *ends, begin, *self._scalars, *self._arrays, scratch[thread], self._states, self._sensitivities
            )
            return ended

        while True:
            if reason := stop():
                raise StopRequested(reason)
            running = failed = used = 0
            for still, not_solved, methods in spread(carry_on):
                running, failed, used = running + still, failed + not_solved, used | methods
            if not running:
                return failed, used
            begin = False

    def failures(self) -> dict[int, SolveError]:
        """Why members failed; their states become NaN."""
        failed = {}
        for member in np.flatnonzero(self._count[:, step_control.STATUS] != step_control.DONE).tolist():
            code, time = (
                _CODES[int(self._count[member, step_control.STATUS])],
                float(self._kept[member, step_control.TIME]),
            )
            failed[member] = SolveError(code, time, self._max_steps)
            self._states[member] = np.nan
            self._sensitivities[member] = 0.0  # adds nothing where its states are left out
        return failed


class _Equations:
    """A system as a key of a cache: equal where states, parameters, constants and equations are."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.key = (
            system.states,
            system.parameters,
            tuple(system.constants),
            tuple(expression.text for expression in system.equations.values()),
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Equations) and self.key == other.key


@lru_cache(maxsize=64)
def _kernels_of(equations: _Equations) -> Kernels:
    return Kernels(equations.system)


def kernels_of(system: System) -> Kernels:
    """The system's kernels, compiled on first use and kept."""
    return _kernels_of(_Equations(system))
