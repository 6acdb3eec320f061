"""The differential equation as a neural network layer (after K. Hannay's article of that name)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from odelib.engines.base import (
    DifferentiateBy,
    Sensitivities,
    Solution,
    SolverOptions,
    SolveSettings,
    StopCheck,
    never,
)
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.registry import choose, choose_device
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.problem.catalogue import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.solver import ABILITIES
from odelib.problem.system import System, SystemDefinition

# what the layer holds for an argument that a call leaves out
_ATTRIBUTES = {"parameters": "parameter_vector", "initial_state": "initial_state_vector", "constants": "_constants"}


class ODELayer(nn.Module):
    """An ODE solve as a torch module: parameters, initial state and times in, trajectory out.

    Args:
        system: a catalogue name, a definition (as in a request), or a `System`.
        engine, method: which solver; `"auto"` chooses. rtol, atol: its tolerances on the states.
        max_steps: of the solver, per trajectory; beyond them the solve fails.
        device: `"auto"` stays where the inputs are, `"cpu"` or `"cuda"` moves them.
        constants: override the system's constants.
        parameters, initial_state: by name; held by the layer, for calls with `times` alone.
        trainable: hold them as `nn.Parameter`s (`parameter_vector`, `initial_state_vector`).

    All tensors are float64; others are converted. Raises `ValueError` for an engine, method or name that does
    not exist, `ProblemError` for a definition with mistakes, `FitError` for a GPU that is not there.
    """

    def __init__(
        self,
        system: str | Mapping[str, Any] | SystemDefinition | System,
        *,
        engine: str = "auto",
        method: str = "auto",
        rtol: float = 1e-6,
        atol: float = 1e-8,
        max_steps: int = 100_000,
        device: str = "auto",
        constants: Mapping[str, float] | None = None,
        parameters: Mapping[str, float] | None = None,
        initial_state: Mapping[str, float] | None = None,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.system = _system(system)
        chosen, method = choose(engine, method, device)
        self.engine = chosen(self.system)
        self.options = SolverOptions(method, rtol, atol, max_steps)
        self.device = None if device == "auto" else choose_device(device)
        self.constants = dict(self.system.constants) | _known("constants", constants or {}, self.system.constants)
        self.stop: StopCheck = never
        self._constants = torch.tensor(list(self.constants.values()), dtype=torch.float64, device=self.device)
        self._checked: tuple[Tensor, int] | None = None
        self.differentiate_by = DifferentiateBy(
            tuple(range(len(self.system.states))), tuple(range(len(self.system.parameters)))
        )
        self._observables = TorchProgram(list(self.system.observables.values()), variables_of(self.system.states))
        self._hold("parameter_vector", "parameters", parameters, self.system.parameters, trainable)
        self._hold("initial_state_vector", "initial_state", initial_state, self.system.states, trainable)

    def forward(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
    ) -> Tensor:
        """The states at `times`, in the order of `system.states`.

        times: (T,), or (B, T) for members of a batch with times of their own, each row non-decreasing; the initial
        state holds at a row's first. A member with fewer times repeats its last. initial_state: (n,) or (B, n),
        parameters: (p,) or (B, p), constants: (c,) or (B, c), in place of the layer's; in the order of
        `system.states`, `system.parameters` and `system.constants`. What has no batch is shared by all members.
        Returns (T, n) or (B, T, n), differentiable with respect to initial state and parameters; the rows of a
        batch's member that cannot be solved are NaN. Raises `SolveError` where a single trajectory cannot be
        solved, `ValueError` for shapes that do not fit.
        """
        return self.solve(times, initial_state, parameters, constants).states

    def solve(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
    ) -> Solution:
        """As `forward`, with the reasons why members of a batch failed."""
        state, parameter, conditions = self._solve_settings(times, initial_state, parameters, constants)
        return self.engine.solve(state, parameter, conditions)

    def sensitivities(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
    ) -> Sensitivities:
        """The states and their derivatives, as numpy arrays, without torch's autograd.

        Takes what `forward` takes, a batch included; derivatives with respect to `differentiate_by`, by default all
        initial values and all parameters. Always by the compiled engine's forward sensitivities, with this layer's
        tolerances, and with its method where that engine has it. Raises as `forward`.
        """
        state, parameter, conditions = self._solve_settings(times, initial_state, parameters, constants)
        engine = self.engine if isinstance(self.engine, CompiledEngine) else CompiledEngine(self.system)
        options = self.options
        if options.method not in (CompiledEngine.default_method, *ABILITIES[CompiledEngine.name].methods):
            conditions = replace(conditions, options=replace(options, method=CompiledEngine.default_method))
        return engine.sensitivities(state.detach().cpu().numpy(), parameter.detach().cpu().numpy(), conditions)

    def observe(
        self, times: Tensor, states: Tensor, parameters: Tensor | None = None, constants: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The observables along trajectories: states (T, n) or (B, T, n) in, (T,) or (B, T) by name out.

        times: (T,) or (B, T); parameters: (p,) or (B, p), constants: (c,) or (B, c). Beside states (T, n) of one
        trajectory, parameters (T, p) and constants (T, c) are values at each time.
        """
        parameter = self._input("parameters", parameters, self.system.parameters)
        constant = self._input("constants", constants, self.system.constants)
        if states.dim() == 3:  # one value for all times
            parameter, constant = parameter.unsqueeze(-2), constant.unsqueeze(-2)
        values = dict(zip(self.system.constants, constant.to(states.device).unbind(-1), strict=True))
        values |= zip(self.system.parameters, parameter.unbind(-1), strict=True)
        outputs = self._observables.bind(values, states.device)(times.to(states), *states.unbind(-1))
        shape = states.shape[:-1]
        return {name: value.expand(shape) for name, value in zip(self.system.observables, outputs, strict=True)}

    def _solve_settings(
        self, times: Tensor, initial_state: Tensor | None, parameters: Tensor | None, constants: Tensor | None
    ) -> tuple[Tensor, Tensor, SolveSettings]:
        """Initial state and parameters, both with the batch where there is one, and the rest."""
        state = self._input("initial_state", initial_state, self.system.states)
        parameter = self._input("parameters", parameters, self.system.parameters)
        constant = self._input("constants", constants, self.system.constants).detach()
        times = self._times(times.to(state))
        if not state.dim() == parameter.dim() == times.dim() == constant.dim() == 1:
            size = _batch_size(initial_state=state, parameters=parameter, times=times, constants=constant)
            state, parameter = state.expand(size, -1), parameter.expand(size, -1)
        return state, parameter, SolveSettings(times, constant, self.options, self.stop, self.differentiate_by)

    def _times(self, times: Tensor) -> Tensor:
        """The times, if they are in order; the last ones are not looked at again: a fit asks thousands of times."""
        if self._checked is None or self._checked[0] is not times or self._checked[1] != times._version:
            if times.dim() not in (1, 2) or times.shape[-1] == 0:
                raise ValueError(f"times has the shape {tuple(times.shape)}; (T,) or (B, T) with T ≥ 1 is wanted")
            if not bool(times.isfinite().all()) or bool((times[..., 1:] < times[..., :-1]).any()):
                raise ValueError("times must be finite and must not decrease")
            self._checked = (times, times._version)
        return times

    def extra_repr(self) -> str:
        """What torch prints of the layer."""
        return f"{self.system.name!r}, engine={self.engine.name!r}, method={self.options.method!r}"

    def _hold(
        self,
        attribute: str,
        argument: str,
        given: Mapping[str, float] | None,
        names: Sequence[str],
        trainable: bool,
    ) -> None:
        if given is None:
            setattr(self, attribute, None)
            return
        _known(argument, given, names)
        if missing := [name for name in names if name not in given]:
            raise ValueError(f"{argument} lacks {', '.join(missing)}; the layer holds all of them or none")
        vector = torch.tensor([float(given[n]) for n in names], dtype=torch.float64, device=self.device)
        if trainable:
            setattr(self, attribute, nn.Parameter(vector))
        else:
            self.register_buffer(attribute, vector)

    def _input(self, argument: str, given: Tensor | None, names: Collection[str]) -> Tensor:
        value: Tensor | None = getattr(self, _ATTRIBUTES[argument]) if given is None else given
        if value is None:
            raise ValueError(f"{argument} must be given to the call, or by name to the layer")
        if value.dim() not in (1, 2) or value.shape[-1] != len(names):
            raise ValueError(
                f"{argument} has the shape {tuple(value.shape)}; ({len(names)},) or (B, {len(names)}) is wanted, "
                f"in the order {', '.join(names)}"
            )
        if value.dtype == torch.float64 and self.device in (None, value.device):  # `to` takes longer to find that out
            return value
        return value.to(dtype=torch.float64, device=self.device)


def _system(system: str | Mapping[str, Any] | SystemDefinition | System) -> System:
    if isinstance(system, System):
        return system
    if isinstance(system, Mapping):
        system = SystemDefinition.model_validate(system)
    return resolve_system(system, Limits())


def _known(argument: str, given: Mapping[str, float], names: Any) -> dict[str, float]:
    if unknown := [name for name in given if name not in names]:
        raise ValueError(f"{argument} has unknown names {', '.join(unknown)}; known are {', '.join(names) or 'none'}")
    return dict(given)


def _batch_size(**inputs: Tensor) -> int:
    """How many members those inputs have that are not shared by all."""
    sizes = {name: len(value) for name, value in inputs.items() if value.dim() == 2}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} of {size}" for name, size in sizes.items())
        raise ValueError(f"the batches have different sizes: {told}")
    return next(iter(sizes.values()))
