"""A system's compiled kernels, and a solve of one trajectory with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odelib.engines.base import Carried, SolverOptions, StopCheck
from odelib.engines.compiled import cache, explicit, implicit
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
STAGES = 16  # of the method that has the most
PAUSE = 40_000  # steps of one equation between two looks at the stop flag: some hundredths of a second
TIGHT = 1e-8  # below this rtol the method of order 8 needs less time than one of order 5

_CODES = {
    explicit.MAX_STEPS: "max_steps",
    explicit.NOT_FINITE: "not_finite",
    explicit.STEP_TOO_SMALL: "step_too_small",
}


@dataclass(frozen=True)
class Solved:
    """values: (T, n + n·m), laid out as in `codegen`; methods: those used, in order of their first use."""

    values: Reals
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
        """States and sensitivities at `times`.

        values: parameters, then constants. Raises `SolveError` and `StopRequested`.
        """
        run = _Run(self, times, initial_state, values, carried, options)
        auto = options.method == AUTO
        method = _explicit_for(options.rtol) if auto else options.method
        used = [method]
        while True:
            if reason := stop():
                raise StopRequested(reason)
            status = run.implicit(auto) if method == KVAERNO5.name else run.explicit(TABLEAUS[method], auto)
            if status == explicit.DONE:
                return Solved(run.out, tuple(dict.fromkeys(used)))
            if status in (explicit.STIFF, implicit.NOT_STIFF):
                method = KVAERNO5.name if status == explicit.STIFF else _explicit_for(options.rtol)
                used.append(method)
                run.switch()
            elif status != explicit.RUNNING:
                raise SolveError(_CODES[status], float(run.clock[explicit.TIME]), options.max_steps)


class _Run:
    """The memory of one solve, and the calls that carry it on."""

    def __init__(
        self, kernels: Kernels, times: Reals, initial_state: Reals, values: Reals, carried: Carried,
        options: SolverOptions,
    ) -> None:  # fmt: skip
        self.kernels, self.times, self.values, self.options = kernels, times, values, options
        self.m = carried.count
        self.z, self.column, self.weight = _start(initial_state, values, carried)
        size = len(self.z)
        self.out = np.empty((len(times), size))
        self.clock, self.count = np.array([times[0], 0.0, 0.0]), np.zeros(6, dtype=np.int64)
        self.stages, self.trial, self.work = np.zeros((STAGES, size)), np.empty(size), np.empty(kernels.work_size)
        self.address = kernels.rates_with_sensitivities if self.m else kernels.rates

    def explicit(self, tableau: Tableau, may_switch: bool) -> int:
        """Carry on with an explicit method."""
        o = self.options
        status: int = explicit.advance(
            self.address, self.times, self.values, self.kernels.size, self.m, self.column, self.weight, tableau.order,
            tableau.error_order, tableau.main, tableau.a, tableau.c, tableau.error, tableau.error_low,
            tableau.interpolant, o.rtol, o.atol, o.max_steps, self._pause(), may_switch, self.z, self.stages,
            self.trial, self.work, self.clock, self.count, self.out,
        )  # fmt: skip
        return status

    def implicit(self, may_switch: bool) -> int:
        """Carry on with the implicit method."""
        o, tableau = self.options, KVAERNO5
        status: int = implicit.advance(
            self.kernels.rates, self.address, self.kernels.jacobian, self.times, self.values, self.kernels.size,
            self.m, self.column, self.weight, tableau.error_order, tableau.a, tableau.c, tableau.error,
            tableau.interpolant, o.rtol, o.atol, o.max_steps, self._pause(), may_switch, self.z,
            self.stages[: len(tableau.c)], self.trial, self.work, self.clock, self.count, self.out,
        )  # fmt: skip
        return status

    def switch(self) -> None:
        """Another method goes on: with a cautious step, from the rate that both have as their first stage."""
        self.clock[explicit.STEP] *= 0.5
        self.clock[explicit.LAST_ERROR] = 1e-4

    def _pause(self) -> int:
        return max(10, PAUSE // len(self.z))


def _explicit_for(rtol: float) -> str:
    return DOP853.name if rtol < TIGHT else DOPRI5.name


def _start(initial_state: Reals, values: Reals, carried: Carried) -> tuple[Reals, NDArray[np.int64], Reals]:
    n, m = len(initial_state), carried.count
    sensitivities = np.zeros((n, m))
    column = np.full(len(values), -1, dtype=np.int64)
    weight = np.ones(m)
    for j, state in enumerate(carried.states):
        sensitivities[state, j] = 1.0
        weight[j] = abs(initial_state[state]) or 1.0
    for j, parameter in enumerate(carried.parameters, start=len(carried.states)):
        column[parameter] = j
        weight[j] = abs(values[parameter]) or 1.0
    return np.concatenate([initial_state, sensitivities.ravel()]), column, weight


@lru_cache(maxsize=64)
def _by_key(key: Any, system: _Hashable) -> Kernels:
    del key
    return Kernels(system.system)


class _Hashable:
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
        return isinstance(other, _Hashable) and self.key == other.key


def kernels_of(system: System) -> Kernels:
    """The system's kernels, compiled on first use and kept."""
    hashable = _Hashable(system)
    return _by_key(hashable.key, hashable)
