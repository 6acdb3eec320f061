"""The compiled engine: machine code generated from the equations, and forward sensitivities behind torch's autograd."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.engines.base import DifferentiateBy, Happened, Sensitivities, Solution, SolverOptions, SolveSettings
from odelib.engines.compiled.adjoint.autograd import SolveOnTape
from odelib.engines.compiled.adjoint.choice import is_cheaper
from odelib.engines.compiled.adjoint.kernels import AdjointKernels, adjoint_of
from odelib.engines.compiled.adjoint.scheduled import GoesBack
from odelib.engines.compiled.kernels import Kernels, Solved, explicit_tableau, kernels_of
from odelib.engines.compiled.lane_kernels import MIN_MEMBERS, lane_kernels_of
from odelib.engines.compiled.scheduled import Given, ScheduledKernels
from odelib.engines.cuda.program import gpu_kernels_of
from odelib.engines.cuda.source import not_on_gpu
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.errors import SolveError
from odelib.problem.system import System


class CompiledEngine:
    """Kernels compiled by Numba behind the interface of `odelib.engines.base.Engine`."""

    name: ClassVar[str] = "compiled"
    has_forward_sensitivities: ClassVar[bool] = True

    def __init__(self, system: System) -> None:
        self._system = system
        self._kernels: Kernels | None = None
        self._scheduled = ScheduledKernels(system)
        self._used: dict[str, None] = {}
        self.most_steps = 0
        self.atol_used: Reals | None = None
        self.grazing_events: set[str] = set()
        self.unlocated_jumps = self._scheduled.unlocated_jumps

    @property
    def methods_used(self) -> tuple[str, ...]:
        """See `Engine.methods_used`."""
        return tuple(self._used)

    def first_method(self, options: SolverOptions) -> str:
        """See `Engine.first_method`."""
        return KVAERNO5.name if options.method == KVAERNO5.name else explicit_tableau(options).name

    def prepare(self) -> None:
        """See `Engine.prepare`. Compiles the system's kernels, or loads them from the cache.

        What is done in experiments makes another system, whose kernels are compiled in the first solve with it.
        """
        if self._scheduled.has_modes and not self._system.inputs:
            self._scheduled.prepare()
        elif self._kernels is None and not self._system.inputs:
            self._kernels = kernels_of(self._system)

    def solve(self, initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> Solution:
        """See `Engine.solve`. The members of a batch are solved side by side, on as many threads as torch has."""
        wanted = _wanted(initial_state, parameters, settings)
        if self._takes_adjoint(wanted, settings):
            return self._solve_on_tape(initial_state, parameters, wanted, settings)
        failures: dict[int, SolveError] = {}
        happened: dict[int, tuple[Happened, ...]] = {}

        def solve(states: Reals, values: Reals, differentiate_by: DifferentiateBy) -> Solved:
            solved = self._solved(states, values, differentiate_by, settings)
            failures.update(solved.failures)
            happened.update(solved.happened)
            return solved

        states: Tensor = _Solve.apply(  # type: ignore[no-untyped-call]
            initial_state.cpu(), parameters.cpu(), solve, settings.differentiate_by
        ).to(initial_state.device)
        if failures and states.dim() == 2:
            raise failures[0]
        return Solution(states, failures, happened)

    @cached_property
    def _adjoint(self) -> AdjointKernels:
        return adjoint_of(self._system)

    def _takes_adjoint(self, wanted: DifferentiateBy, settings: SolveSettings) -> bool:
        """Whether a gradient comes by going back through the steps: see `adjoint.scheduled.is_able`."""
        if not is_cheaper(wanted.count) or settings.times.device.type == "cuda":
            return False
        return self._is_plain(settings) or self._scheduled.has_adjoint(settings)

    def _solve_on_tape(
        self, initial_state: Tensor, parameters: Tensor, wanted: DifferentiateBy, settings: SolveSettings
    ) -> Solution:
        failures: dict[int, SolveError] = {}

        def solve(states: Reals, values: Reals) -> GoesBack:
            given = _given(states, values, settings)
            recording: GoesBack
            if self._is_plain(settings):
                recording = self._adjoint.solve(*given, settings.options, settings.stop)
            else:
                recording = self._scheduled.solve_on_tape(Given(*given), settings)
            self._note(recording)
            failures.update(recording.failures)
            return recording

        def by_sensitivities(gradient: Tensor) -> tuple[Tensor, Tensor]:
            states, values = initial_state.detach().numpy(), parameters.detach().numpy()
            solved = self._solved(states, values, wanted, settings)
            return _product(solved.sensitivities, gradient, wanted, initial_state.shape, parameters.shape)

        states: Tensor = SolveOnTape.apply(  # type: ignore[no-untyped-call]
            initial_state, parameters, solve, by_sensitivities
        )
        if failures and states.dim() == 2:
            raise failures[0]
        return Solution(states, failures)

    def sensitivities(self, initial_state: Reals, parameters: Reals, settings: SolveSettings) -> Sensitivities:
        """See `Engine.sensitivities`."""
        differentiate_by = settings.differentiate_by
        solved = self._solved(initial_state, parameters, differentiate_by, settings)
        border, states, sensitivities = len(differentiate_by.states), solved.states, solved.sensitivities
        if initial_state.ndim == 2:
            return Sensitivities(
                states, sensitivities[..., :border], sensitivities[..., border:], solved.failures, solved.happened
            )
        if solved.failures:
            raise solved.failures[0]
        return Sensitivities(
            states[0], sensitivities[0, ..., :border], sensitivities[0, ..., border:], {}, solved.happened
        )

    def _solved(
        self, states: Reals, parameters: Reals, differentiate_by: DifferentiateBy, settings: SolveSettings
    ) -> Solved:
        """Solve all members; a single trajectory, (n,) and (p,), is a batch of one."""
        times, states, parameters = _given(states, parameters, settings)
        if settings.times.device.type == "cuda":
            if settings.protocols is not None:
                raise not_on_gpu("doses, changes, inputs or steady states")
            if self._scheduled.has_modes:  # the sensitivities would lack their jumps
                raise not_on_gpu("comparisons of states at which a rate jumps")
            gpu = gpu_kernels_of(self._system)
            solved = gpu.solve(times, states, parameters, differentiate_by, settings.options, settings.stop)
        elif self._is_plain(settings):
            solved = self._solved_plainly(times, states, parameters, differentiate_by, settings)
        else:
            solved = self._scheduled.solve(Given(times, states, parameters), differentiate_by, settings)
            self.grazing_events |= solved.grazing
        self._note(solved)
        return solved

    def _note(self, solved: Solved | GoesBack) -> None:
        self.most_steps = max(self.most_steps, solved.most_steps)
        self.atol_used = solved.atol
        for method in solved.methods:
            self._used[method] = None

    def _is_plain(self, settings: SolveSettings) -> bool:
        """Whether nothing happens but what is known from the equations and time."""
        return settings.protocols is None and not self._system.events and not self._scheduled.has_modes

    def _solved_plainly(
        self, times: Reals, states: Reals, values: Reals, differentiate_by: DifferentiateBy, settings: SolveSettings
    ) -> Solved:
        """Solve members in which nothing happens, a large batch in lanes."""
        self.prepare()
        kernels, options, stop = self._kernels, settings.options, settings.stop
        assert kernels is not None

        def solve_others(left: Booleans) -> Solved:
            own = times if len(times) == 1 else times[left]
            return kernels.solve(own, states[left], values[left], differentiate_by, options, stop)

        if len(states) >= MIN_MEMBERS and not self._system.perceptrons:
            lanes = lane_kernels_of(self._system)
            if lanes.are_able(len(states), differentiate_by, options):
                return lanes.solve(times, states, values, differentiate_by, options, stop, solve_others)
        return kernels.solve(times, states, values, differentiate_by, options, stop)


def _wanted(initial_state: Tensor, parameters: Tensor, settings: SolveSettings) -> DifferentiateBy:
    """The unknowns whose derivatives torch will ask for."""
    by, differentiates = settings.differentiate_by, torch.is_grad_enabled()
    return DifferentiateBy(
        by.states if differentiates and initial_state.requires_grad else (),
        by.parameters if differentiates and parameters.requires_grad else (),
    )


def _given(states: Reals, parameters: Reals, settings: SolveSettings) -> tuple[Reals, Reals, Reals]:
    """Times (1, T) or (B, T), states (B, n), parameters and constants (B, p + c). One trajectory is a batch of one."""
    if states.ndim == 1:
        states, parameters = states[None], parameters[None]
    times = settings.times.detach().cpu().numpy()
    if settings.constants.shape[-1]:
        constants = settings.constants.cpu().numpy()
        parameters = np.concatenate([parameters, np.broadcast_to(constants, (len(states), constants.shape[-1]))], 1)
    times = np.ascontiguousarray(times if times.ndim == 2 else times[None])
    states, parameters = np.ascontiguousarray(states), np.ascontiguousarray(parameters)
    return times, states, parameters


class _Solve(torch.autograd.Function):
    """States out; gradients from the sensitivities computed with them. For one trajectory or a batch.

    `solve` computes both from initial states, parameters and `differentiate_by`.
    """

    @staticmethod
    def forward(
        ctx: Any, initial_state: Tensor, parameters: Tensor, solve: Any, differentiate_by: DifferentiateBy
    ) -> Tensor:
        by_state, by_parameter = ctx.needs_input_grad[:2]
        wanted = differentiate_by
        if not (by_state and by_parameter):
            wanted = DifferentiateBy(
                differentiate_by.states if by_state else (), differentiate_by.parameters if by_parameter else ()
            )
        solved: Solved = solve(initial_state.numpy(), parameters.numpy(), wanted)
        ctx.wanted, ctx.sensitivities = wanted, solved.sensitivities
        ctx.shapes = initial_state.shape, parameters.shape
        return torch.from_numpy(solved.states if initial_state.dim() == 2 else solved.states[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        # the guard takes longer than the gradient, and is needed only if the gradient is differentiated again
        return (_guarded_gradients if torch.is_grad_enabled() else _gradients)(ctx, gradient)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    """The incoming gradient times the sensitivities: dL/dp = Σ over times and states of dL/dy·∂y/∂p."""
    return *_product(ctx.sensitivities, gradient, ctx.wanted, *ctx.shapes), None, None


def _product(
    sensitivities: Reals, gradient: Tensor, wanted: DifferentiateBy, of_states: torch.Size, of_parameters: torch.Size
) -> tuple[Tensor, Tensor]:
    """The gradients by initial states and parameters, of these shapes, from that by the states."""
    count, times, size, columns = sensitivities.shape
    sensitivities = sensitivities.reshape(count, times * size, columns)
    incoming = gradient.detach().numpy().reshape(count, times * size)
    # for a single trajectory `@` would take a tenth of the time that a small system takes to solve
    product = incoming[0].dot(sensitivities[0])[None] if count == 1 else (incoming[:, None] @ sensitivities)[:, 0]
    border = len(wanted.states)
    by_state = _scattered(product[:, :border], wanted.states, of_states)
    return by_state, _scattered(product[:, border:], wanted.parameters, of_parameters)


# raises if the gradient is differentiated: there are no second derivatives
_guarded_gradients = torch.autograd.function.once_differentiable(_gradients)


def _scattered(derivatives: Reals, indices: tuple[int, ...], shape: torch.Size) -> Tensor:
    """The derivatives by all from those by `differentiate_by`; 0 elsewhere."""
    if indices == tuple(range(shape[-1])):
        return torch.from_numpy(derivatives.reshape(shape))
    whole = np.zeros((len(derivatives), shape[-1]))
    whole[:, list(indices)] = derivatives
    return torch.from_numpy(whole.reshape(shape))
