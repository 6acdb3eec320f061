"""The reference engine: torchdiffeq's adaptive explicit methods, differentiated by backpropagation.

It solves whatever torch can evaluate, on a CPU or a GPU, and compiles nothing. Its steps run in Python, so that a
gradient takes 0.1 to 1.3 s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import dual_level
from torchdiffeq import odeint

from odelib.arrays import Reals
from odelib.engines.automatic_tolerance import TINY, AutomaticTolerance, Linearise, first_step
from odelib.engines.base import DifferentiateBy, Sensitivities, Solution, SolverOptions, SolveSettings, StopCheck
from odelib.engines.compiled.step_control import MAX_WITHOUT_VALUE, WHOLE_STEP
from odelib.engines.discontinuities import Discontinuities, Found
from odelib.engines.dual_program import DualProgram
from odelib.engines.missing_values import describe_failure
from odelib.engines.piecewise import solve_in_pieces
from odelib.engines.scheduled_solve import ScheduledSolver
from odelib.engines.scheduled_trajectory import Explain, Integrate, Integrated
from odelib.engines.symbolic import borders
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.errors import SolveError, StopRequested
from odelib.problem.solver import AUTO, AUTO_ATOL
from odelib.problem.system import System

NO_VALUE = 1e10  # the error of a step, in units of its tolerance, that has a stage without a value
ORDERS = {"dopri5": 5, "dopri8": 8, "bosh3": 3, "fehlberg2": 2, "adaptive_heun": 2}
DIFFERENCE = 1e-6  # of a state's size
Program = Callable[..., list[Tensor]]
Jump = Callable[[Tensor, Tensor, Tensor], Tensor]  # state (…, n), f⁺ − f⁻ (n,) and dτ/dp (p,) → state


class TorchdiffeqEngine:
    """torchdiffeq behind the interface of `odelib.engines.base.Engine`."""

    name: ClassVar[str] = "torchdiffeq"
    has_forward_sensitivities: ClassVar[bool] = False

    def __init__(self, system: System) -> None:
        self._system = system
        self._used: dict[str, None] = {}
        self.most_steps = 0
        self.atol_used: Reals | None = None
        self._discontinuities = Discontinuities(system)
        equations = [self._discontinuities.equations[state] for state in system.states]
        self._program = TorchProgram(equations, variables_of(system.states), self._discontinuities.definitions)
        self._scheduled = ScheduledSolver(system)
        self.grazing_events = self._scheduled.grazing_events
        self.unlocated_jumps = self._scheduled.unlocated_jumps

    @property
    def methods_used(self) -> tuple[str, ...]:
        """See `Engine.methods_used`."""
        return tuple(self._used)

    def first_method(self, options: SolverOptions) -> str:
        """See `Engine.first_method`."""
        return options.method

    def prepare(self) -> None:
        """See `Engine.prepare`. There is nothing to prepare."""

    def solve(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Solution:
        """See `Engine.solve`. Backpropagation differentiates by everything, whatever `differentiate_by` asks for.

        A batch with shared times is solved side by side, every member within the tolerances. If that fails, or if
        members have their own times, each member is solved by itself, so that a failing one leaves the others
        untouched.
        """
        self._used[settings.options.method] = None
        if self._is_scheduled(settings):
            return self._solve_scheduled(initial_state, parameters, settings)
        if initial_state.dim() == 1:
            return Solution(self._one(initial_state, parameters, settings))
        if len(initial_state) == 0:  # the empty sum keeps the graph connected to the parameters
            return Solution(initial_state.unsqueeze(1).expand(-1, settings.times.shape[-1], -1) + parameters.sum())
        if settings.times.dim() == 2 or self._discontinuities.is_moving:
            return self._each(initial_state, parameters, settings)
        try:
            states = self._one(initial_state, parameters, settings)
        except SolveError:
            return self._each(initial_state, parameters, settings)
        return Solution(states.transpose(0, 1))

    def sensitivities(self, initial_state: Reals, parameters: Reals, settings: SolveSettings) -> Sensitivities:
        """See `Engine.sensitivities`. Each member is solved by itself, by forward mode: see `DualProgram`."""
        self._used[settings.options.method] = None
        if self._is_scheduled(settings):
            return self._scheduled_sensitivities(initial_state, parameters, settings)
        states, parameter_values = (torch.from_numpy(v).to(settings.times.device) for v in (initial_state, parameters))
        border, m = len(settings.differentiate_by.states), settings.differentiate_by.count
        if initial_state.ndim == 1:
            rows = self._one_with_sensitivities(states, parameter_values, settings).cpu().numpy()
            return Sensitivities(rows[..., 0], rows[..., 1 : 1 + border], rows[..., 1 + border :])
        count, steps, n = len(states), settings.times.shape[-1], initial_state.shape[-1]
        found, failures = np.zeros((count, steps, n, 1 + m)), {}
        for member in range(count):
            own = _of_member(settings, member, count)
            try:
                found[member] = self._one_with_sensitivities(states[member], parameter_values[member], own).cpu()
            except SolveError as error:
                failures[member] = error
                found[member, ..., 0] = math.nan
        return Sensitivities(found[..., 0], found[..., 1 : 1 + border], found[..., 1 + border :], failures)

    def _is_scheduled(self, settings: SolveSettings) -> bool:
        return settings.protocols is not None or bool(self._system.events) or self._scheduled.has_modes

    def _solve_scheduled(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Solution:
        """As `solve`; differentiated by forward mode, as a state's jumps are no torch operations."""
        wanted = settings.differentiate_by
        wanted = DifferentiateBy(
            wanted.states if initial_state.requires_grad else (), wanted.parameters if parameters.requires_grad else ()
        )
        found = self._scheduled_sensitivities(
            initial_state.detach().cpu().numpy(),
            parameters.detach().cpu().numpy(),
            replace(settings, differentiate_by=wanted),
        )
        states = torch.from_numpy(found.states).to(initial_state)
        for unknowns, indices, by in (
            (initial_state, wanted.states, found.by_initial_state),
            (parameters, wanted.parameters, found.by_parameters),
        ):
            if indices:  # adds 0, whose derivative is that of the states
                change = (unknowns - unknowns.detach())[..., list(indices)]
                states = states + torch.einsum("...tnu,...u->...tn", torch.from_numpy(by).to(states), change)
        return Solution(states, found.failures, found.happened)

    def _scheduled_sensitivities(
        self, initial_state: Reals, parameters: Reals, settings: SolveSettings
    ) -> Sensitivities:
        """As `sensitivities`, under a schedule and with events; each member by itself."""
        is_single = initial_state.ndim == 1
        states, values = np.atleast_2d(initial_state), np.atleast_2d(parameters)
        solved = self._scheduled.solve(states, values, settings, self._integrator)
        if is_single and solved.failures:
            raise solved.failures[0]
        border = 1 + len(settings.differentiate_by.states)
        rows = solved.rows[0] if is_single else solved.rows
        return Sensitivities(rows[..., 0], rows[..., 1:border], rows[..., border:], solved.failures, solved.happened)

    def _integrator(self, settings: SolveSettings, sizes: Tensor) -> Integrate:
        """Integrates a member piece by piece. sizes: (m,), of the unknowns: see `_one_with_sensitivities`."""
        options, count = settings.options, len(self._system.states)
        none = sizes.new_zeros(0)
        right_hand_side: _RightHandSide | None = None
        automatic: AutomaticTolerance | None = None

        def integrate(program: Program, rows: Tensor, times: Tensor, explain: Explain) -> Integrated:
            nonlocal right_hand_side, automatic
            if options.atol != AUTO:
                atol = _given_tolerance(options.atol, rows, sizes)
            else:
                if automatic is None:
                    linearise = _linearise_by_differences(program, rows)
                    automatic = AutomaticTolerance(
                        rows, settings.times, options.rtol, _of_extended(options.max_atol, rows.shape[-1]), linearise,
                        sizes,
                    )  # fmt: skip
                atol = automatic.absolute
            taken = 0 if right_hand_side is None else right_hand_side.steps
            duration = float(times[-1] - times[0])
            right_hand_side = _RightHandSide(program, options.max_steps, settings.stop, duration, explain, automatic)
            right_hand_side.steps, right_hand_side.keeps_steps = taken, True
            try:
                found = _odeint(right_hand_side, rows, times, none, options, atol, count)
            except AssertionError:  # torchdiffeq's way to report that it cannot go on
                return right_hand_side.ended_by(right_hand_side.failure(options.max_steps))
            except SolveError as error:
                return right_hand_side.ended_by(error)
            finally:
                self.most_steps = max(self.most_steps, right_hand_side.steps)
                self.atol_used = automatic.of_states()[:, :count] if automatic else None
            return Integrated(found, [*right_hand_side.accepted, (float(times[-1]), found[-1])])

        return integrate

    def _each(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Solution:
        rows, failures = [], {}
        for member, (state, parameter) in enumerate(zip(initial_state, parameters, strict=True)):
            own = _of_member(settings, member, len(initial_state))
            try:
                rows.append(self._one(state, parameter, own))
            except SolveError as error:
                failures[member] = error
                rows.append(torch.full_like(state, math.nan).expand(len(own.times), -1))
        return Solution(torch.stack(rows), failures)

    def _one(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Tensor:
        """(T, n), or (T, B, n) for a batch side by side."""
        tolerances = self._tolerances(settings.options, initial_state)
        program = self._program.bind(self._values(parameters, settings), initial_state.device, tolerances)

        def jump(state: Tensor, change: Tensor, by_parameters: Tensor) -> Tensor:
            """The state as it is, its derivative moved by −(f⁺ − f⁻)·dτ/dp."""
            return state - change * (by_parameters @ (parameters - parameters.detach()))

        return self._integrate(program, initial_state, parameters, settings, None, jump)

    def _one_with_sensitivities(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Tensor:
        """(T, n, 1 + m): each state and its sensitivities, under one error control."""
        by = settings.differentiate_by
        if by.count == 0:
            return self._one(initial_state, parameters, settings).unsqueeze(-1)
        start = torch.cat([initial_state.unsqueeze(-1), initial_state.new_zeros(len(initial_state), by.count)], -1)
        for column, state in enumerate(by.states):
            start[state, 1 + column] = 1.0
        directions = torch.eye(by.count, dtype=start.dtype, device=start.device)[len(by.states) :]
        names = [self._system.parameters[index] for index in by.parameters]
        sizes = torch.cat([initial_state[list(by.states)], parameters[list(by.parameters)]]).abs()
        with torch.no_grad(), dual_level():
            tolerances = self._tolerances(settings.options, initial_state)
            values, by_name = self._values(parameters, settings), dict(zip(names, directions, strict=True))
            program = DualProgram(self._program, values, by_name, start.device, tolerances)

            def jump(rows: Tensor, change: Tensor, by_parameters: Tensor) -> Tensor:
                moved = rows.clone()
                moved[1 + len(by.states) :] -= by_parameters[list(by.parameters)].unsqueeze(-1) * change
                return moved

            rows = self._integrate(program, start.T, parameters, settings, sizes, jump)
        return rows.transpose(1, 2)

    def _tolerances(self, options: SolverOptions, start: Tensor) -> dict[str, float]:
        """See `borders.tolerances`. start: (…, n).

        Automatic ones are those of its largest sizes, because a program is bound once; a state that begins at 0 has no
        size yet and takes that of the largest state.
        """
        sizes = start.detach().abs().reshape(-1, start.shape[-1]).amax(0)
        sizes = torch.where(sizes > 0, sizes, sizes.amax())
        atol = (AUTO_ATOL * options.rtol * sizes).tolist() if options.atol == AUTO else [options.atol] * len(sizes)
        return borders.tolerances(options.rtol, dict(zip(self._system.states, atol, strict=True)))

    def _values(self, parameters: Tensor, settings: SolveSettings) -> dict[str, Tensor]:
        """Constants and parameters by name."""
        constants = settings.constants.to(parameters.device)
        values = dict(zip(self._system.constants, constants.unbind(-1), strict=True))
        values |= dict.fromkeys(self._discontinuities.shifts, constants.new_zeros(()))
        return values | dict(zip(self._system.parameters, parameters.unbind(-1), strict=True))

    def _integrate(
        self, program: Program, start: Tensor, parameters: Tensor, settings: SolveSettings, unknowns: Tensor | None,
        jump: Jump,
    ) -> Tensor:  # fmt: skip
        """The solution (T, …, n) of y' = program(t, *states) from `start` (…, n); equal times give equal rows.

        unknowns: the sizes of those that the rows of `start` after the first are derivatives by; None if there are no
        such rows. jump: how the derivatives in a state change at a discontinuity that parameters move.
        """
        times, index = torch.unique_consecutive(settings.times, return_inverse=True)
        if len(times) == 1:
            return start.unsqueeze(0).expand(len(index), *start.shape)
        options = settings.options
        automatic = None
        if options.atol == AUTO:
            linearise = self._linearise(parameters, settings)
            automatic = AutomaticTolerance(start, times, options.rtol, options.max_atol, linearise, unknowns)
            atol = automatic.absolute
        else:
            atol = _given_tolerance(options.atol, start, unknowns)
        explain = partial(self._explain, parameters.detach(), settings)
        duration = float(times[-1] - times[0])
        right_hand_side = _RightHandSide(program, options.max_steps, settings.stop, duration, explain, automatic)
        found = self._find(times, parameters, settings.constants)
        discontinuities = torch.from_numpy(np.unique(found.times)).to(times.device)

        def solve(start: Tensor, times: Tensor) -> Tensor:
            within = discontinuities[(discontinuities > times[0]) & (discontinuities < times[-1])]
            try:
                solution = _odeint(right_hand_side, start, times, within, options, atol)
                if not bool(solution.isfinite().all()):  # of huge states the interpolant overflows
                    raise SolveError("not_finite", float(times[-1]), options.max_steps)
                return solution
            except AssertionError as error:  # torchdiffeq's way to report that it cannot go on
                raise right_hand_side.failure(options.max_steps) from error
            finally:
                self.most_steps = max(self.most_steps, right_hand_side.steps)
                self.atol_used = automatic.of_states() if automatic else None

        if not self._discontinuities.is_moving:
            return solve(start, times).index_select(0, index)

        def pass_discontinuities(state: Tensor, places: Sequence[int], side: float) -> Tensor:
            return self._jumped(state, found, places, side, self._values(parameters.detach(), settings), jump)

        return solve_in_pieces(start, times, found.times[0], solve, pass_discontinuities).index_select(0, index)

    def _explain(self, parameters: Tensor, settings: SolveSettings, time: float, state: Tensor) -> str | None:
        """See `describe_failure`. state: (…, n); that of a batch is not explained, its members are solved again."""
        if parameters.dim() == 2:
            return None
        values = torch.cat([parameters.cpu(), settings.constants.cpu()]).tolist()
        duration = float(settings.times[-1] - settings.times[0])
        rows = state.detach().reshape(-1, state.shape[-1])
        return describe_failure(self._system, time, rows[0].tolist(), values, duration)

    def _linearise(self, parameters: Tensor, settings: SolveSettings) -> Linearise:
        """The rates (B, n) and their Jacobian by the states (B, n, n), at a time and states (B, n)."""
        program = self._program.bind(self._values(parameters.detach(), settings), parameters.device)

        def linearise(time: float, states: Reals) -> tuple[Reals, Reals]:
            with torch.enable_grad():
                at = torch.tensor(states, device=parameters.device, requires_grad=True)
                rates = program(at.new_tensor(time), *at.unbind(-1))
                rows = [
                    torch.autograd.grad(rate.sum(), at, retain_graph=True, allow_unused=True)[0]
                    if rate.requires_grad
                    else None
                    for rate in rates
                ]
            found = torch.stack([torch.zeros_like(at) if row is None else row for row in rows], -2)
            of_rates = torch.stack([rate.expand(at.shape[:-1]) for rate in rates], -1)
            return of_rates.detach().cpu().numpy(), found.detach().cpu().numpy()

        return linearise

    def _find(self, times: Tensor, parameters: Tensor, constants: Tensor) -> Found:
        """The discontinuities of all members."""
        count = len(parameters) if parameters.dim() == 2 else 1
        values = torch.cat([v.detach().cpu().expand(count, v.shape[-1]) for v in (parameters, constants)], -1)
        return self._discontinuities.find(values.numpy(), float(times[0]), float(times[-1]), with_jacobian=True)

    def _jumped(
        self, state: Tensor, found: Found, places: Sequence[int], side: float, values: Mapping[str, Tensor], jump: Jump
    ) -> Tensor:
        """The state (…, n) after the jumps at discontinuities that coincide; see `sensitivity_jumps.jump`."""
        at = torch.tensor(found.times[0, places[0]], dtype=state.dtype, device=state.device)
        rows = state.detach() if state.dim() == 1 else state.detach()[0]
        names = self._discontinuities.shifts

        def rates(sides: Mapping[str, float]) -> Tensor:
            shifts = {name: rows.new_tensor(shift) for name, shift in sides.items()}
            outputs = self._program.bind({**values, **shifts}, rows.device)(at, *rows.unbind(-1))
            return torch.stack([output.expand(()) for output in outputs])

        orders = [list(places)] if len(places) == 1 else [list(places), list(reversed(places))]
        for order in orders:
            sides = {names[found.shifts[0, place]]: -side for place in order}
            before = rates(sides)
            for place in order:
                sides[names[found.shifts[0, place]]] = side
                after = rates(sides)
                by_parameters = torch.from_numpy(found.jacobian[0, place]).to(state)
                state = jump(state, (after - before) / len(orders), by_parameters)
                before = after
        return state


def _of_member(settings: SolveSettings, member: int, count: int) -> SolveSettings:
    """The settings of one member of a batch of `count`."""
    times, constants = settings.times.expand(count, -1), settings.constants.expand(count, -1)
    return replace(settings, times=times[member], constants=constants[member])


def _of_extended(max_atol: float | tuple[float, ...], size: int) -> float | tuple[float, ...]:
    """The limits of tolerances for an extended system; held values have no error."""
    return max_atol if isinstance(max_atol, float) else (*max_atol, *[math.inf] * (size - len(max_atol)))


def _linearise_by_differences(program: Program, rows: Tensor) -> Linearise:
    """The rates (1, n) and Jacobian (1, n, n) of the first of `rows` (1 + m, n), good enough for tolerances."""

    def linearise(time: float, states: Reals) -> tuple[Reals, Reals]:
        at = rows.new_tensor(time)
        size = float(np.abs(states).max(initial=0.0)) or 1.0

        def rates(state: Reals) -> Reals:
            moved = torch.zeros_like(rows)
            moved[0] = torch.from_numpy(state)
            found: Reals = (
                torch.stack([each.expand(len(rows))[0] for each in program(at, *moved.unbind(-1))]).cpu().numpy()
            )
            return found

        (state,) = states
        here, columns = rates(state), []
        for place, value in enumerate(state):
            step = DIFFERENCE * (abs(value) or size)
            moved = state.copy()
            moved[place] += step
            columns.append((rates(moved) - here) / step)
        return here[None], np.stack(columns, axis=1)[None]

    return linearise


def _given_tolerance(atol: float, start: Tensor, unknowns: Tensor | None) -> Tensor:
    """Column j has the absolute tolerance atol/|p_j|, as in the compiled engine: see `compiled.tolerances`."""
    if unknowns is None:
        return start.new_tensor(atol)
    return torch.cat([unknowns.new_full((1,), atol), atol / torch.where(unknowns > 0, unknowns, 1.0)]).unsqueeze(-1)


def _odeint(
    right_hand_side: _RightHandSide, start: Tensor, times: Tensor, discontinuities: Tensor, options: SolverOptions,
    atol: Tensor, count: int | None = None,
) -> Tensor:  # fmt: skip
    """count: how many of the states have an error; those after them are held."""

    def norm(change: Tensor, size: Tensor) -> float:
        return float(_largest_norm((change / (atol + options.rtol * size + TINY))[..., :count]))

    with torch.no_grad():
        step = first_step(
            right_hand_side, times[0], start.detach(), float(times[-1] - times[0]), ORDERS[options.method], norm
        )
    solver_options: dict[str, Any] = {"norm": lambda error: _largest_norm(error[..., :count]), "first_step": step}
    if len(discontinuities):
        solver_options["jump_t"] = discontinuities
    if options.method == "dopri8":
        # torchdiffeq interpolates between steps by a polynomial of degree 4, far below the method's order: its steps
        # must end at the output times.
        solver_options["step_t"] = times[1:][~torch.isin(times[1:], discontinuities)]
    else:  # torchdiffeq would step beyond the last time, where a discontinuity may be, and interpolate
        solver_options["step_t"] = times[-1:]
    states: Tensor = odeint(
        right_hand_side, start, times, rtol=options.rtol, atol=atol, method=options.method, options=solver_options
    )
    return states


def _largest_norm(error: Tensor) -> Tensor:
    """The root mean square over the states, the largest over a batch or columns: one mean would hide a large error.

    One that is not finite, because a stage has no value, is a large number: torchdiffeq then tries a shorter step.
    """
    largest = error.pow(2).mean(-1).sqrt().amax()
    return torch.where(largest.isfinite(), largest, NO_VALUE)


class _RightHandSide:
    """dy/dt for torchdiffeq; counts `steps`, and checks for a stop in both directions of a gradient."""

    def __init__(
        self,
        program: Program,
        max_steps: int,
        stop: StopCheck,
        duration: float,
        explain: Callable[[float, Tensor], str | None],
        automatic: AutomaticTolerance | None,
    ) -> None:
        self._program, self._explain, self._duration, self._automatic = program, explain, duration, automatic
        self._max_steps = max_steps
        self._check = _check_of(stop)
        self.steps = 0
        self._without_value = 0
        self.keeps_steps = False  # that are accepted
        self.accepted: list[tuple[float, Tensor]] = []
        self._time = math.nan
        self._state: Tensor | None = None
        self._derivative: Tensor | None = None

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self._check(None)
        if y.requires_grad:
            y.register_hook(self._check)  # type: ignore[no-untyped-call]
        shape = y.shape[:-1]
        derivatives = self._program(t, *y.unbind(-1))
        self._derivative = torch.stack([d if d.shape == shape else d.expand(shape) for d in derivatives], -1)
        if self._automatic:  # the last rate of a step is that at its end
            self._automatic.allow_for_rest(self._derivative)
        return self._derivative

    def callback_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
        """Called by torchdiffeq before every step that it tries."""
        self._time, self._state = t0.item(), y0
        self.steps += 1
        if self.steps > self._max_steps:
            raise SolveError("max_steps", self._time, self._max_steps)
        step = dt.item()
        if not self._time + step > self._time:
            raise self.failure(self._max_steps)
        if self._automatic:
            self._automatic.update(self._time, y0, step)

    def callback_accept_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
        """Called by torchdiffeq after a step that it accepts, with the time and the state at its start."""
        if self.keeps_steps:
            self.accepted.append((t0.item(), y0))
        if dt.item() > WHOLE_STEP * self._duration:
            self._without_value = 0

    def callback_reject_step(self, _t0: Tensor, _y0: Tensor, _dt: Tensor) -> None:
        """Called by torchdiffeq after a step that it rejects; see `step_control.MAX_WITHOUT_VALUE`."""
        if self._derivative is not None and not bool(self._derivative.isfinite().all()):
            self._without_value += 1
            if self._without_value > MAX_WITHOUT_VALUE:
                raise self.failure(self._max_steps)

    def ended_by(self, error: SolveError) -> Integrated:
        """What has been solved before an error, if steps are kept."""
        if self._state is None:
            raise error
        return Integrated(self._state[None], [*self.accepted, (self._time, self._state)], error)

    def failure(self, max_steps: int) -> SolveError:
        """Why the solver cannot go on from its last step."""
        finite = all(bool(v.isfinite().all()) for v in (self._state, self._derivative) if v is not None)
        explain = None if self._state is None else partial(self._explain, self._time, self._state.detach())
        return SolveError("step_too_small" if finite else "not_finite", self._time, max_steps, explain=explain)


def _check_of(stop: StopCheck) -> Callable[[Tensor | None], None]:
    """A function that raises when `stop` gives a reason, also as a hook on a gradient.

    A hook must not refer to the right-hand side: that holds the state, and so the graph that holds the hook, a cycle
    that Python's garbage collector cannot see.
    """

    def check(_gradient: Tensor | None) -> None:
        if reason := stop():
            raise StopRequested(reason)

    return check
