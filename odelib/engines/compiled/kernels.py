"""A system's compiled kernels, and solves with them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from odelib.engines.base import Carried, SolverOptions, StopCheck
from odelib.engines.compiled import cache, explicit, members
from odelib.engines.compiled.codegen import KernelSource
from odelib.engines.compiled.methods.dop853 import DOP853
from odelib.engines.compiled.methods.dopri5 import DOPRI5
from odelib.engines.compiled.methods.kvaerno5 import KVAERNO5
from odelib.engines.compiled.methods.tableau import Tableau
from odelib.engines.compiled.methods.tsit5 import TSIT5
from odelib.errors import SolveError, StopRequested
from odelib.problem.system import System

Reals = NDArray[np.float64]
TABLEAUS: Mapping[str, Tableau] = {tableau.name: tableau for tableau in (DOPRI5, TSIT5, DOP853)}
AUTO = "auto"
TIGHT = 1e-8  # below this rtol the method of order 8 needs less time than one of order 5
PAUSE = 40_000  # steps of one equation between two looks at the stop flag: some hundredths of a second
MEMBER_NUMBERS = max(len(tableau.c) for tableau in (*TABLEAUS.values(), KVAERNO5)) + 2  # for each of its components
BLOCK_NUMBERS = 2**22  # of working memory: so many members are solved at a time

_CODES = {
    explicit.MAX_STEPS: "max_steps",
    explicit.NOT_FINITE: "not_finite",
    explicit.STEP_TOO_SMALL: "step_too_small",
}


@dataclass(frozen=True)
class Solved:
    """What came of the members of a batch.

    values: (B, T, n + n·m), laid out as in `codegen`, NaN for members that failed; failures: by member;
    methods: those used, in order of first use.
    """

    values: Reals
    failures: Mapping[int, SolveError]
    methods: tuple[str, ...]


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

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, carried: Carried, options: SolverOptions,
        stop: StopCheck,
    ) -> Solved:  # fmt: skip
        """States and sensitivities of all members at `times`.

        times: (1, T), shared, or (B, T), rows non-decreasing. initial_state: (B, n). values: (B, p + constants). A
        member's failure is told in the result; raises `StopRequested` alone.
        """
        count, size = len(initial_state), self.size * (1 + carried.count)
        out = np.empty((count, times.shape[1], size))
        block = max(1, BLOCK_NUMBERS // (size * (MEMBER_NUMBERS + times.shape[1])))
        failures: dict[int, SolveError] = {}
        methods: dict[str, None] = {}
        for first in range(0, count, block):
            part = slice(first, first + block)
            own_times = times if len(times) == 1 else times[part]
            run = _Run(self, own_times, initial_state[part], values[part], carried, options, out[part])
            run.finish(stop)
            failures |= {first + b: error for b, error in run.failures().items()}
            methods |= dict.fromkeys(run.methods())
        return Solved(out, failures, tuple(methods))


def explicit_tableau(options: SolverOptions) -> Tableau:
    """The explicit method asked for, or the one that `auto` starts with."""
    return TABLEAUS.get(options.method) or (DOP853 if options.rtol < TIGHT else DOPRI5)


class _Run:
    """The memory of the solves of a block of members, and the calls that carry them on."""

    def __init__(
        self, kernels: Kernels, times: Reals, initial_state: Reals, values: Reals, carried: Carried,
        options: SolverOptions, out: Reals,
    ) -> None:  # fmt: skip
        self.kernels, self.times, self.options, self.out = kernels, times, options, out
        self.values = np.ascontiguousarray(values)
        count, self.m = len(initial_state), carried.count
        self.tableau = explicit_tableau(options)
        self.z, self.column, self.weight = _start(initial_state, values, carried)
        size = self.z.shape[1]
        self.stages = np.zeros((count, max(len(self.tableau.c), len(KVAERNO5.c)), size))
        self.clock = np.zeros((count, 3))
        self.clock[:, explicit.TIME] = times[:, 0]
        self.count = np.zeros((count, members.COUNTS), dtype=np.int64)
        self.count[:, members.IMPLICIT] = options.method == KVAERNO5.name
        self.status = np.full(count, explicit.RUNNING, dtype=np.int64)

    def finish(self, stop: StopCheck) -> None:
        """Carry on until every member has ended."""
        threads = min(torch.get_num_threads(), len(self.status))
        borders = np.linspace(0, len(self.status), threads + 1).astype(int).tolist()
        ranges = list(pairwise(borders))
        while (self.status == explicit.RUNNING).any():
            if reason := stop():
                raise StopRequested(reason)
            if threads <= 1:
                self._advance(0, len(self.status))
            else:
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(lambda ends: self._advance(*ends), ranges))

    def failures(self) -> dict[int, SolveError]:
        """Why members failed; their values become NaN."""
        failed = {}
        for member in np.flatnonzero(self.status != explicit.DONE).tolist():
            code, time = _CODES[int(self.status[member])], float(self.clock[member, explicit.TIME])
            failed[member] = SolveError(code, time, self.options.max_steps)
            self.out[member, :, : self.kernels.size] = np.nan
            self.out[member, :, self.kernels.size :] = 0.0  # adds nothing where its states are left out
        return failed

    def methods(self) -> list[str]:
        """The methods that were at work."""
        used = int(np.bitwise_or.reduce(self.count[:, members.USED]))
        names = {members.USED_EXPLICIT: self.tableau.name, members.USED_IMPLICIT: KVAERNO5.name}
        return [name for bit, name in names.items() if used & bit]

    def _advance(self, first: int, last: int) -> None:
        o, t, s, k = self.options, self.tableau, KVAERNO5, self.kernels
        pause = max(10, PAUSE // (self.z.shape[1] * len(self.status)))
        members.advance_members(
            first, last, k.rates, k.rates_with_sensitivities if self.m else k.rates, k.jacobian, self.times,
            self.values, k.size, self.m, self.column, self.weight, t.order, t.error_order, t.main, t.a, t.c, t.error,
            t.error_low, t.interpolant, s.a, s.c, s.error, s.interpolant, o.method == AUTO, o.rtol, o.atol,
            o.max_steps, pause, k.work_size, self.z, self.stages, self.clock, self.count, self.status, self.out,
        )  # fmt: skip


def _start(initial_state: Reals, values: Reals, carried: Carried) -> tuple[Reals, NDArray[np.int64], Reals]:
    """States with the sensitivities' start, the parameters' columns, and each column's unit (B, m)."""
    count, n = initial_state.shape
    states, parameters = list(carried.states), list(carried.parameters)
    sensitivities = np.zeros((count, n, carried.count))
    sensitivities[:, states, range(len(states))] = 1.0
    column = np.full(values.shape[1], -1, dtype=np.int64)
    column[parameters] = np.arange(len(states), carried.count)
    weight = np.abs(np.concatenate([initial_state[:, states], values[:, parameters]], axis=1))
    weight[~(weight > 0)] = 1.0
    return np.concatenate([initial_state, sensitivities.reshape(count, -1)], axis=1), column, weight


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
