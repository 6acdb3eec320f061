"""The states that solves start from where a protocol says so: steady states, and the periodic ones of steady dosing.

A steady state is the one that integration approaches: integrated until it hardly changes any more, then polished by
Newton's method. Its derivatives come from the implicit function theorem: f(x, p) = 0 gives J·dx/dp = −∂f/∂p. Conserved
totals make J singular; they are linear relations among the right-hand sides, L·f = 0 whatever the state, so that L·x
keeps its value at the start, and

    J·dx = −∂f/∂p·dp,   L·dx = L·dx₀.

A periodic state x = Φ(x, p), Φ being the map over one period, is found by Newton's method on the sensitivities of Φ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.schedules.extended_system import ExtendedSystem, Phase
from odelib.engines.schedules.schedule import Schedule
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.errors import SolveError
from odelib.problem.protocol import SteadyState

GROWTH, MOST_SPANS = 10.0, 16  # each span is so many times as long as the one before
CLOSE = 1e-3  # of a state's size: its change in the last span, and how far Newton's method may go from there
NEWTON_STEPS, CONVERGED = 30, 1e-12
PERIODIC = 1e-4  # of a state's size: the last step of Newton's method on a map, which has the solver's error
RELATION = 1e-9  # relative size of what counts as 0 in a linear relation
UNSTABLE = 1e-7  # relative to the largest: an eigenvalue above 0, and not one of a conserved total

Run = Callable[[Phase, int, Reals, float, float, DifferentiateBy], tuple[Reals, Reals]]
"""Solves one member through a phase, by its number, from a state (n,) between two times: the state (n,) at the end, and
its derivatives (n, m). Steady states are long spans and mostly stiff: by an implicit method where there is one. Raises
`SolveError`."""


@dataclass(frozen=True)
class Starts:
    """Where members start.

    states: (B, n); sensitivities: (B, n, m), by the unknowns; failures: members whose state was not found.
    """

    states: Reals
    sensitivities: Reals
    failures: Mapping[int, SolveError] = field(default_factory=dict)


class StartStates:
    """Finds the states at the start, for one extended system."""

    def __init__(self, extended: ExtendedSystem) -> None:
        self._extended = extended
        system = extended.system
        self._size = len(extended.original.states)
        equations = [extended.equations[state] for state in extended.original.states]  # modes are not known here
        self._rates = TorchProgram(equations, variables_of(system.states), extended.definitions)
        self._is_steady = [
            protocol.steady_state is not None or any(dose.steady for dose in protocol.doses)
            for protocol in extended.protocols
        ]

    def find(
        self, members: Sequence[int], states: Reals, values: Reals, first: Reals, by: DifferentiateBy, run: Run
    ) -> Starts | None:
        """The states at the start; None if all are as given.

        members: (B,), the place of each one's protocol. states: (B, n); values: (B, p + c), parameters and the original
        constants; first: (B,), the times at the start.
        """
        if not any(self._is_steady[member] for member in members):
            return None
        starts, failures = states.copy(), {}
        sensitivities = np.zeros((*states.shape, by.count))
        sensitivities[:, list(by.states), np.arange(len(by.states))] = 1.0
        known: dict[object, tuple[Reals, Reals] | SolveError] = {}
        for b, member in enumerate(members):
            if not self._is_steady[member]:
                continue
            point = _Point(b, member, states[b], values[b : b + 1], float(first[b]), by)
            try:
                schedule = self._schedule(point)
                key = self._key(point, schedule)
            except SolveError as error:
                failures[b] = error
                continue
            if key not in known:
                try:
                    known[key] = self._found(point, schedule, run)
                except SolveError as error:
                    known[key] = _before_start(error, point)
            found = known[key]
            if isinstance(found, SolveError):
                failures[b] = found
            else:
                starts[b], sensitivities[b] = found
        return Starts(starts, sensitivities, failures)

    def _schedule(self, point: _Point) -> Schedule:
        steady = self._extended.protocols[point.protocol].steady_state
        phase: Phase = "period" if steady is None else "settling"
        at = np.array([point.first])
        found = self._extended.schedule(
            [point.protocol], point.values, at, at, is_start=False, with_jacobian=True, phase=phase
        )
        if found.failures:
            raise found.failures[0]
        return found

    def _key(self, point: _Point, schedule: Schedule) -> object:
        """Equal for members with the same steady state: experiments often share one.

        Whatever they were like later: their constants are those while it settles.
        """
        steady = self._extended.protocols[point.protocol].steady_state
        if steady is None:
            return point.member
        texts = tuple((state, value.text) for state, value in steady.set.items())
        own = point.values[:, : len(self._extended.system.parameters)], np.array(point.first), point.state
        numbers = (*own, schedule.constants, schedule.held, schedule.jacobian, schedule.held_rows)
        return texts, tuple(array.tobytes() for array in numbers)

    def _found(self, point: _Point, schedule: Schedule, run: Run) -> tuple[Reals, Reals]:
        steady = self._extended.protocols[point.protocol].steady_state
        equations = _Equations(self._extended, self._rates, point, schedule)
        if steady is None:
            return self._periodic(point, equations, run)
        x, s = _settled(point, equations, run)
        return self._set(steady, point, equations, x, s) if steady.set else (x, s)

    def _set(
        self, steady: SteadyState, point: _Point, equations: _Equations, x: Reals, s: Reals
    ) -> tuple[Reals, Reals]:
        """The settled state with some states set, of the values before, and its derivatives."""
        system = self._extended.system
        program = TorchProgram(list(steady.set.values()), variables_of(system.states), self._extended.definitions)
        values, by_state, by_unknown = equations.linearised(x, program)
        places = [self._extended.original.states.index(name) for name in steady.set]
        after, s_after = x.copy(), s.copy()
        after[places], s_after[places] = values, by_state @ s
        s_after[np.ix_(places, range(len(point.by.states), s.shape[1]))] += by_unknown
        return after, s_after

    def _periodic(self, point: _Point, equations: _Equations, run: Run) -> tuple[Reals, Reals]:
        """The periodic state of steady dosing, and its derivatives."""
        period, by_period = self._period(point)
        every_state = DifferentiateBy(tuple(range(self._size)), point.by.parameters)
        laws = equations.conservation_laws()
        totals, x, change = laws @ point.state, point.state.copy(), math.inf
        for _ in range(NEWTON_STEPS):
            end, s = run("period", point.member, x, point.first, point.first + period, every_state)
            matrix = np.concatenate([s[:, : self._size] - np.eye(self._size), laws])
            step = _solved(matrix, np.concatenate([x - end, totals - laws @ x])[:, None], np.abs(end))[:, 0]
            sizes = np.maximum(np.abs(x + step), np.abs(end))
            before, change = change, float((np.abs(step) / np.maximum(sizes, 1e-6 * sizes.max(initial=1e-300))).max())
            rate, x = float(np.abs(end - x).max() / period), x + step
            # until a step is but the error of the solver, and no smaller than the one before
            if change <= CONVERGED or (before <= PERIODIC and change >= 0.1 * before) or not math.isfinite(change):
                break
        if not change <= PERIODIC:
            raise SolveError("not_settled", point.first, 0, rate=rate)
        after = replace(point, first=point.first + period)  # inputs may have changed by then
        at_end = _Equations(self._extended, self._rates, after, self._schedule(after)).rates(end)
        by_parameters = s[:, self._size :] + np.outer(at_end, by_period)
        right = np.zeros((len(matrix), point.by.count))
        right[: self._size, len(point.by.states) :] = -by_parameters
        right[self._size :, : len(point.by.states)] = laws[:, list(point.by.states)]
        return x, _solved(matrix, right, np.abs(end))

    def _period(self, point: _Point) -> tuple[float, Reals]:
        """The interval of the steady dose and its derivatives by the parameters among the unknowns."""
        pool, (dose,) = self._extended.pool, [
            dose for dose in self._extended.protocols[point.protocol].doses if dose.steady
        ]  # fmt: skip
        assert dose.every is not None
        place, found = pool.add(dose.every), pool.evaluate(point.values, with_jacobian=True)
        by = np.zeros(len(self._extended.original.parameters))
        if found.jacobians is not None:
            by[list(pool.used)] = found.jacobians[0, place]
        return float(found.values[0, place]), by[list(point.by.parameters)]


@dataclass(frozen=True)
class _Point:
    """One member: its number, protocol, state (n,), values (1, p + c), start, and what to differentiate by."""

    member: int
    protocol: int
    state: Reals
    values: Reals
    first: float
    by: DifferentiateBy


class _Equations:
    """The right-hand sides of the true states at constant held values, and their derivatives."""

    def __init__(self, extended: ExtendedSystem, rates: TorchProgram, point: _Point, schedule: Schedule) -> None:
        self._program, self._point = rates, point
        self._system = extended.system
        self._describe = partial(extended.describe_failure, has_modes=False)
        self._held, self._constants = schedule.held[0], schedule.constants[0]
        self._parameters = point.values[0, : len(self._system.parameters)]
        by, jacobian = point.by, schedule.jacobian[:, list(point.by.parameters)]
        rows = schedule.held_rows[0]
        self._by_held = np.zeros((len(rows), jacobian.shape[1]))
        self._by_held[rows >= 0] = jacobian[rows[rows >= 0]]
        self._unknown = list(by.parameters)

    def describe_failure(self, x: Reals) -> str | None:
        """Which part of an equation has no value at a state (n,); None if all have one."""
        values = np.concatenate([self._parameters, self._constants])
        return self._describe(self._point.first, np.concatenate([x, self._held]), values, 0.0)

    def rates(self, x: Reals) -> Reals:
        """f (n,)."""
        return self._rates(x, self._parameters)

    def _rates(self, x: Reals, parameters: Reals) -> Reals:
        """f (…, n) at states (…, n) and parameters (…, p)."""
        named = dict(zip(self._system.parameters, torch.from_numpy(parameters).unbind(-1), strict=True))
        named |= dict(zip(self._system.constants, torch.from_numpy(self._constants), strict=True))
        held = np.broadcast_to(self._held, (*x.shape[:-1], len(self._held)))
        state = torch.from_numpy(np.concatenate([x, held], axis=-1))
        outputs = self._program.bind(named)(torch.tensor(self._point.first), *state.unbind(-1))
        found: Reals = torch.stack([output.expand(x.shape[:-1]) for output in outputs], dim=-1).numpy()
        return found

    def linearised(self, x: Reals, program: TorchProgram | None = None) -> tuple[Reals, Reals, Reals]:
        """f (k,), ∂f/∂x (k, n), and ∂f/∂p (k, p') by the parameters among the unknowns, through held values too.

        program: of k expressions; by default the right-hand sides.
        """
        used, n = program or self._program, len(x)
        k = used.count
        with torch.enable_grad():  # one row of a batch for each expression: then one pass back does for all
            state = torch.from_numpy(np.tile(np.concatenate([x, self._held]), (k, 1))).requires_grad_()
            parameters = torch.from_numpy(np.tile(self._parameters, (k, 1))).requires_grad_()
            named = dict(zip(self._system.parameters, parameters.unbind(1), strict=True))
            named |= dict(zip(self._system.constants, torch.from_numpy(self._constants), strict=True))
            outputs = used.bind(named)(torch.tensor(self._point.first), *state.unbind(1))
            own = torch.stack([output.expand(k)[i] for i, output in enumerate(outputs)])
        found: tuple[Tensor | None, ...] = (None, None)
        if own.requires_grad:
            found = torch.autograd.grad(own, (state, parameters), torch.ones_like(own), allow_unused=True)
        by_state, by_parameter = (
            np.zeros((k, size)) if gradient is None else gradient.numpy()
            for gradient, size in zip(found, (state.shape[1], parameters.shape[1]), strict=True)
        )
        by_unknown = by_parameter[:, self._unknown] + by_state[:, n:] @ self._by_held
        return own.detach().numpy(), by_state[:, :n], by_unknown

    def conservation_laws(self) -> Reals:
        """L (k, n) with L·f = 0 for whatever states and parameters; what is 0 now stays 0.

        Constants keep their values, on which a law may depend: the volumes of compartments, for one.
        """
        n = len(self._point.state)
        random = np.random.default_rng(0)
        size = max(float(np.abs(self._point.state).max(initial=0.0)), 1.0)
        count = 2 * n + 8
        states = size * random.uniform(0.1, 1.0, (count, n))
        rates = self._rates(states, self._parameters * random.uniform(0.5, 1.5, (count, len(self._parameters))))
        largest = np.abs(rates).max(axis=1, keepdims=True, initial=0.0)
        known = np.isfinite(largest[:, 0]) & (largest[:, 0] > 0)
        if not known.any():
            return np.eye(n)
        matrix = rates[known] / largest[known]
        scale = np.abs(matrix).max(axis=0)
        scale[scale == 0] = 1.0
        _, values, directions = np.linalg.svd(matrix / scale)
        rank = int((values > RELATION * values[0]).sum())
        laws = directions[rank:] / scale
        normalised: Reals = laws / np.abs(laws).max(axis=1, keepdims=True, initial=1e-300)
        return normalised


def _before_start(error: SolveError, point: _Point) -> SolveError:
    """The error of a run towards a start, whose own times mean nothing to the caller."""
    if error.code not in ("not_finite", "step_too_small"):
        return error

    def explain() -> str:
        found = error.explanation or "the solution grows without limit, or an equation lost its value"
        return f"while the steady state before it was sought, {found}"

    return SolveError(error.code, point.first, error.max_steps, explain=explain)


def _settled(point: _Point, equations: _Equations, run: Run) -> tuple[Reals, Reals]:
    """The steady state that integration approaches, and its derivatives (n, m)."""
    laws, x = equations.conservation_laws(), point.state
    sizes: Reals = np.abs(point.state)
    rates = equations.rates(x)
    span, change = _first_span(x, rates), np.where(rates == 0, 0.0, np.inf)
    for _ in range(MOST_SPANS):
        if not np.isfinite(rates).all():
            raise SolveError("not_finite", point.first, 0, explain=partial(equations.describe_failure, x))
        sizes = np.maximum(sizes, np.abs(x))
        if (change <= CLOSE * sizes).all():
            polished = _polished(point, equations, laws, x, sizes)
            if polished is not None:
                return polished
        try:
            reached, _ = run("settling", point.member, x, point.first, point.first + span, DifferentiateBy())
        except SolveError as error:
            if error.code != "max_steps":
                raise
            break
        change, x = np.abs(reached - x), reached
        rates, span = equations.rates(x), span * GROWTH
    raise SolveError("not_settled", point.first, 0, rate=float(np.abs(rates).max(initial=0.0)))


def _first_span(x: Reals, rates: Reals) -> float:
    """About the time in which the state changes by its own size."""
    moving = np.abs(rates) > 0
    if not moving.any():
        return 1.0
    sizes = np.where(x != 0, np.abs(x), np.abs(x).max(initial=0.0) or 1.0)
    return float(np.median(sizes[moving] / np.abs(rates[moving])))


def _polished(
    point: _Point, equations: _Equations, laws: Reals, start: Reals, sizes: Reals
) -> tuple[Reals, Reals] | None:
    """The steady state close to `start` by Newton's method, and its derivatives; None if it is not close."""
    n, by, x = len(start), point.by, start
    totals = laws @ point.state
    scale = np.where(sizes > 0, sizes, sizes.max(initial=0.0) or 1.0)
    for _ in range(NEWTON_STEPS):
        rates, by_state, by_unknown = equations.linearised(x)
        matrix = np.concatenate([by_state, laws])
        step = _solved(matrix, np.concatenate([-rates, totals - laws @ x])[:, None], scale)[:, 0]
        if not (np.abs(x + step - start) <= CLOSE * scale).all():
            return None
        x = x + step
        if (np.abs(step) <= CONVERGED * scale).all():
            break
    scaled = matrix * scale
    largest = np.abs(scaled).max(axis=1, keepdims=True, initial=0.0)
    scaled = scaled / np.where(largest > 0, largest, 1.0)  # slow reactions stand beside fast ones
    if np.linalg.matrix_rank(scaled, tol=RELATION * np.abs(scaled).max()) < n:
        return None  # not the only one near by: what integration approaches has no such derivatives
    eigenvalues = np.linalg.eigvals(by_state)
    is_unstable = (eigenvalues.real > UNSTABLE * np.abs(eigenvalues).max(initial=0.0)).any()
    if is_unstable and equations.rates(start).any():
        return None  # integration passes by slowly, but leaves it
    right = np.zeros((len(matrix), by.count))
    right[:n, len(by.states) :] = -by_unknown
    right[n:, : len(by.states)] = laws[:, list(by.states)]
    return x, _solved(matrix, right, scale)


def _solved(matrix: Reals, right: Reals, scale: Reals) -> Reals:
    """The solution (n, k) of a consistent system of more equations than unknowns, whose sizes are `scale`."""
    own = np.asarray(np.where(scale > 0, scale, scale.max(initial=0.0) or 1.0))
    largest = np.abs(matrix * own).max(axis=1, initial=0.0)
    rows = np.where(largest > 0, largest, 1.0)[:, None]
    if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
        return np.full((matrix.shape[1], right.shape[1]), np.nan)
    found: Reals = np.linalg.lstsq(matrix * own / rows, right / rows, rcond=None)[0] * own[:, None]
    return found
