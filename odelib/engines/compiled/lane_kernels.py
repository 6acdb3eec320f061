"""Batches solved in lanes: who can be, and the calls of the compiled loop."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from odelib.arrays import Booleans, Integers, Reals
from odelib.engines.base import DifferentiateBy, SolverOptions, StopCheck
from odelib.engines.compiled import cache, lane_operations, step_control
from odelib.engines.compiled.kernels import EquationsKey, Solved, explicit_tableau, limits_of, methods_of
from odelib.engines.compiled.lane_operations import LANES
from odelib.engines.compiled.lane_source import lane_source
from odelib.engines.compiled.lanes import COUNTS, LEFT, advance_lanes, can_run_in_lanes, memory_size
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.engines.tableaus.registry import EXPLICIT
from odelib.errors import StopRequested
from odelib.problem.solver import AUTO
from odelib.problem.system import System

MIN_MEMBERS = 8 * LANES  # with fewer, lanes are empty for much of the time, and compiling for them does not pay
MAX_NUMBERS = 200  # in a row: a longer one fills vectors by itself, and eight of them leave the cache
ROUNDS_PER_CALL = 40_000  # of one number, between two checks of the stop flag
_CALLED = hashlib.sha256(inspect.getsource(lane_operations).encode()).hexdigest()[:16]
_INDICES = {tableau.name: index for index, tableau in enumerate(EXPLICIT)}
_advance: Any = advance_lanes  # Numba's type for it allows no *arguments
SolveOthers = Callable[[Booleans], Solved]  # the members in lanes' stead


class LaneKernels:
    """The compiled right-hand side of one system for lanes; `rates` is None if they cannot compute it."""

    def __init__(self, system: System) -> None:
        source = lane_source(system, _CALLED)
        self._module = cache.load(source) if source else None  # keeps its machine code alive
        self.rates: int | None = self._module.rates_with_sensitivities.address if self._module else None
        self._states = len(system.states)

    def are_able(self, count: int, differentiate_by: DifferentiateBy, options: SolverOptions) -> bool:
        """Whether a batch of so many members can be solved in lanes, and pays."""
        tableau = explicit_tableau(options)
        return (
            self.rates is not None
            and count >= MIN_MEMBERS
            and self._states * (1 + differentiate_by.count) <= MAX_NUMBERS
            and options.method != KVAERNO5.name
            and can_run_in_lanes(tableau)
        )

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        options: SolverOptions, stop: StopCheck, solve_others: SolveOthers,
    ) -> Solved:  # fmt: skip
        """As `Kernels.solve`. solve_others: solves the members that are left, given which these are, (B,)."""
        count, steps, n, m = len(initial_state), times.shape[1], self._states, differentiate_by.count
        states, sensitivities = np.empty((count, steps, n)), np.zeros((count, steps, n, m))
        unknowns = np.concatenate(
            [initial_state[:, differentiate_by.states], values[:, differentiate_by.parameters]], 1
        )
        is_easy = (initial_state != 0).all(axis=1) & (unknowns != 0).all(axis=1)
        is_easy &= np.isfinite(initial_state).all(axis=1) & np.isfinite(values).all(axis=1)
        statuses = np.where(is_easy, 0, LEFT)
        taken = np.zeros(count, dtype=np.int64)
        self._advance(
            times, initial_state, values, differentiate_by, options, stop, (statuses, taken, states, sensitivities)
        )
        left = statuses != step_control.DONE
        methods, most_steps, failures = methods_of(step_control.USED_EXPLICIT, options), int(taken.max(initial=0)), {}
        if left.any():
            others = solve_others(left)
            states[left], sensitivities[left] = others.states, others.sensitivities
            places = np.flatnonzero(left).tolist()
            failures = {places[place]: error for place, error in others.failures.items()}
            used = (*(methods if not left.all() else ()), *others.methods)
            methods, most_steps = tuple(dict.fromkeys(used)), max(most_steps, others.most_steps)
        return Solved(states, sensitivities, failures, methods, most_steps, frozenset())

    def _advance(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        options: SolverOptions, stop: StopCheck, results: tuple[Integers, Integers, Reals, Reals],
    ) -> None:  # fmt: skip
        """Solve on until no member waits, on as many threads as torch has."""
        count, n, m, o = len(initial_state), self._states, differentiate_by.count, options
        unknowns = np.array([*differentiate_by.states, *(n + p for p in differentiate_by.parameters)], dtype=np.int64)
        column_of = np.full(values.shape[1], -1, dtype=np.int64)
        column_of[list(differentiate_by.parameters)] = np.arange(len(differentiate_by.states), m)
        threads = max(1, min(torch.get_num_threads(), count // LANES))
        first = [i * count // threads for i in range(threads)]
        last = [*first[1:], count]
        memory = [np.zeros(memory_size(n, m, values.shape[1])) for _ in first]
        counts = [np.zeros((COUNTS, LANES), dtype=np.int64) for _ in first]
        for own in counts:
            own[0] = -1
        rounds = max(50, ROUNDS_PER_CALL // (n * (1 + m)))
        settings = (
            _INDICES[explicit_tableau(o).name], o.method == AUTO, self.rates, n, m, o.rtol, limits_of(o, n),
            o.atol == AUTO, o.max_steps,
        )  # fmt: skip
        arrays = times, initial_state, values, unknowns, column_of

        def advance(thread: int) -> bool:
            """Returns whether the thread's members have all left their lanes."""
            first[thread] = _advance(
                first[thread], last[thread], rounds, *settings, *arrays, memory[thread], counts[thread], *results
            )
            return first[thread] >= last[thread] and bool((counts[thread][0] < 0).all())

        with ThreadPoolExecutor(threads) as pool:
            running = list(range(threads))
            while running:
                if reason := stop():
                    raise StopRequested(reason)
                ended = pool.map(advance, running) if len(running) > 1 else map(advance, running)
                running = [thread for thread, is_done in zip(running, ended, strict=True) if not is_done]


@lru_cache(maxsize=64)
def _lane_kernels_of(equations: EquationsKey) -> LaneKernels:
    return LaneKernels(equations.system)


def lane_kernels_of(system: System) -> LaneKernels:
    """The system's kernels for lanes, compiled on first use and kept."""
    return _lane_kernels_of(EquationsKey(system, ()))
