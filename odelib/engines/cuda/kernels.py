"""A system's kernels on a GPU, and batches solved by them: one thread a trajectory.

Memory is torch's, on the device of the kernels. Everything but `gpu_program` runs on a CPU as well: tests compile the
same text for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy, SolverOptions, StopCheck
from odelib.engines.compiled import step_control
from odelib.engines.compiled.kernels import CODES, Solved, explicit_tableau, limits_of, methods_of
from odelib.engines.cuda.source import CudaSource, Variant
from odelib.engines.missing_values import describe_failure
from odelib.engines.tableaus.kvaerno5 import KVAERNO5
from odelib.errors import FitError, SolveError, StopRequested
from odelib.problem.solver import AUTO
from odelib.problem.system import System

STIFF = 100  # `Status` in step_control.cuh
MAX_BLOCK_BYTES = 2**32  # of outputs: a larger batch is solved in blocks of members, between which it can be stopped
FREE_FRACTION = 0.5  # of the card's free memory that the outputs of a block may take


class Program(Protocol):
    """A compiled kernel."""

    def __call__(self, arguments: tuple[int | float, ...], count: int) -> None:
        """Run it to its end. arguments: addresses and lengths are integers. count: of threads."""
        ...


Compile = Callable[[str, int], Program]  # from a source and the number of threads in a block


@dataclass(frozen=True)
class DeviceSolution:
    """The solutions of a batch, on the device, the member last.

    states: (T, n, B), sensitivities: (T, n, m, B), both undefined for members that failed. outcome: (3, B), status, the
    number of steps and the methods used (bits). ends: (1 + n, B), the time at which a solve ended, and the state there.
    """

    states: Tensor
    sensitivities: Tensor
    outcome: Tensor
    ends: Tensor

    @property
    def failed(self) -> Tensor:
        """Which members failed, (B,)."""
        return self.outcome[0] != step_control.DONE


class CudaKernels:
    """The kernels of one system. Raises `FitError` for a system that they cannot solve.

    device: where the memory is. compile: makes a program of a source, and is called once for each variant.
    """

    def __init__(self, system: System, device: torch.device, compile: Compile) -> None:  # noqa: A002
        self.system, self._device, self._compile = system, device, compile
        self._source = CudaSource(system)
        self._programs: dict[Variant, Program] = {}

    def solve(
        self, times: Reals, initial_state: Reals, values: Reals, differentiate_by: DifferentiateBy,
        options: SolverOptions, stop: StopCheck,
    ) -> Solved:  # fmt: skip
        """As `compiled.kernels.Kernels.solve`: from and to the CPU's memory, in blocks that fit the card's."""
        count, steps, n, m = len(initial_state), times.shape[1], len(self.system.states), differentiate_by.count
        states, sensitivities = np.empty((count, steps, n)), np.empty((count, steps, n, m))
        failures: dict[int, SolveError] = {}
        used, most_steps, size = 0, 0, self.block_size(steps, m)
        for first in range(0, count, size):
            if reason := stop():
                raise StopRequested(reason)
            members = slice(first, first + size)
            own_times = times if len(times) == 1 else times[members]
            own_times_there, state, value = map(self._on_device, (own_times, initial_state[members], values[members]))
            found = self.solve_on_device(own_times_there, state, value, differentiate_by, options)
            states[members] = found.states.permute(2, 0, 1).cpu().numpy()
            sensitivities[members] = found.sensitivities.permute(3, 0, 1, 2).cpu().numpy()
            used |= int(np.bitwise_or.reduce(found.outcome[2].cpu().numpy(), initial=0))
            most_steps = max(most_steps, int(found.outcome[1].max()))
            for member, error in self.failures(found, own_times, values[members], options).items():
                failures[first + member] = error
        for member in failures:
            states[member], sensitivities[member] = np.nan, 0.0
        return Solved(states, sensitivities, failures, methods_of(used, options), most_steps, frozenset())

    def solve_on_device(
        self, times: Tensor, initial_state: Tensor, values: Tensor, differentiate_by: DifferentiateBy,
        options: SolverOptions,
    ) -> DeviceSolution:  # fmt: skip
        """Solve a batch that is on the device, as one launch, and those that turn out to be stiff as another.

        times: (1, T), shared, or (B, T). initial_state: (B, n). values: (B, p + constants). All contiguous. Raises
        `FitError` if the card has not enough memory.
        """
        count, steps, n, m = len(initial_state), times.shape[1], len(self.system.states), differentiate_by.count
        shapes = ((steps, n, count), (steps, n, m, count), (1 + n, count))
        try:
            states, sensitivities, ends = (torch.empty(s, dtype=torch.float64, device=self._device) for s in shapes)
            outcome = torch.zeros((3, count), dtype=torch.long, device=self._device)
            limits = torch.from_numpy(limits_of(options, n)).to(self._device)
            found = DeviceSolution(states, sensitivities, outcome, ends)
            given = times, initial_state, values, limits
            with_zeros = m > 0 and self._has_zeros(initial_state, values, differentiate_by)
            is_implicit = options.method == KVAERNO5.name
            self._launch(found, given, differentiate_by, options, is_implicit, with_zeros, None)
            stiff = torch.nonzero(outcome[0] == STIFF).flatten()
            if len(stiff):
                self._launch(found, given, differentiate_by, options, True, with_zeros, stiff)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(count) from error
        return found

    def _launch(
        self, found: DeviceSolution, given: tuple[Tensor, ...], differentiate_by: DifferentiateBy,
        options: SolverOptions, with_implicit: bool, with_zeros: bool, members: Tensor | None,
    ) -> None:  # fmt: skip
        times, initial_state, values, limits = given
        variant = Variant(differentiate_by, explicit_tableau(options).name, with_implicit, with_zeros)
        if variant not in self._programs:
            self._programs[variant] = self._compile(self._source.text(variant), variant.threads)
        count = len(initial_state)
        size = count if members is None else len(members)
        arguments = (
            size, count, times.shape[1], len(times), times.data_ptr(), initial_state.data_ptr(), values.data_ptr(),
            0 if members is None else members.data_ptr(), found.states.data_ptr(), found.sensitivities.data_ptr(),
            found.outcome.data_ptr(), found.ends.data_ptr(), limits.data_ptr(), float(options.rtol),
            int(options.atol == AUTO), options.max_steps, int(options.method == KVAERNO5.name),
            int(options.method == AUTO),
        )  # fmt: skip
        self._programs[variant](arguments, size)

    def _has_zeros(self, initial_state: Tensor, values: Tensor, differentiate_by: DifferentiateBy) -> bool:
        """Whether an unknown is 0 in any member."""
        by_state, by_parameter = list(differentiate_by.states), list(differentiate_by.parameters)
        return bool((initial_state[:, by_state] == 0).any() or (values[:, by_parameter] == 0).any())

    def failures(
        self, found: DeviceSolution, times: Reals, values: Reals, options: SolverOptions
    ) -> Mapping[int, SolveError]:
        """The errors of the members that failed. times: (1, T) or (B, T), values: (B, p + constants)."""
        failed = torch.nonzero(found.failed).flatten()
        if not len(failed):
            return {}
        statuses, ends = found.outcome[0, failed].tolist(), found.ends[:, failed].T.tolist()
        errors = {}
        for member, status, (time, *state) in zip(failed.tolist(), statuses, ends, strict=True):
            explain = None
            if status in (step_control.NOT_FINITE, step_control.STEP_TOO_SMALL):
                own, span = values[member].tolist(), times[member % len(times)]
                explain = partial(describe_failure, self.system, time, state, own, float(span[-1] - span[0]))
            errors[member] = SolveError(CODES[status], time, options.max_steps, explain=explain)
        return errors

    def block_size(self, times: int, columns: int) -> int:
        """How many members are solved at once, so that their outputs fit the card's memory."""
        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else MAX_BLOCK_BYTES
        of_member = 8 * len(self.system.states) * (times * (1 + columns) + 2) + 64
        return max(1, int(min(MAX_BLOCK_BYTES, FREE_FRACTION * free) / of_member))

    def _on_device(self, given: Reals) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(given)).to(self._device)


def out_of_memory(count: int) -> FitError:
    """The error where a batch does not fit the card's memory."""
    return FitError(
        "out_of_gpu_memory",
        "The GPU has not enough memory",
        f"the solutions of {count:,} trajectories do not fit the GPU's free memory, which other processes may be "
        "using; solve fewer at once, measure at fewer times, or set solver.device to 'cpu'",
    )
