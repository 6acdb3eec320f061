"""The differential equation as a neural network layer (after K. Hannay's article of that name)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from odelib.engines.base import (
    Carried,
    Conditions,
    Sensitivities,
    Solution,
    SolverOptions,
    StopCheck,
    never,
)
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.registry import choose, choose_device
from odelib.problem.checks import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.solvers import ABILITIES
from odelib.problem.system import System, SystemDefinition
from odelib.program import Program, variables_of


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
        self._last_grid: tuple[Tensor, int, Tensor, Tensor] | None = None
        self.carried = Carried(tuple(range(len(self.system.states))), tuple(range(len(self.system.parameters))))
        self._observables = Program(list(self.system.observables.values()), variables_of(self.system.states))
        self._hold("parameter_vector", "parameters", parameters, self.system.parameters, trainable)
        self._hold("initial_state_vector", "initial_state", initial_state, self.system.states, trainable)

    def forward(self, times: Tensor, initial_state: Tensor | None = None, parameters: Tensor | None = None) -> Tensor:
        """The states at `times`, in the order of `system.states`.

        times: (T,), non-decreasing; the initial state holds at the first. initial_state: (n,) or (B, n),
        parameters: (p,) or (B, p), in the order of `system.states` and `system.parameters`; one of them may
        be shared by a batch. Returns (T, n) or (B, T, n), differentiable with respect to both; the rows of a
        batch's member that cannot be solved are NaN. Raises `SolveError` where a single trajectory cannot be
        solved, `ValueError` for shapes that do not fit.
        """
        return self.solve(times, initial_state, parameters).states

    def solve(self, times: Tensor, initial_state: Tensor | None = None, parameters: Tensor | None = None) -> Solution:
        """As `forward`, with the reasons why members of a batch failed."""
        state = self._input("initial_state", initial_state, self.system.states)
        parameter = self._input("parameters", parameters, self.system.parameters)
        state, parameter = _same_batch(state, parameter)
        grid, index = self._grid(times.to(state))
        conditions = Conditions(grid, self.constants, self.options, self.stop, self.carried)
        solution = self.engine.solve(state, parameter, conditions)
        return Solution(solution.states.index_select(-2, index), solution.failures)

    def sensitivities(
        self, times: Tensor, initial_state: Tensor | None = None, parameters: Tensor | None = None
    ) -> Sensitivities:
        """The states of one trajectory and their derivatives, as numpy arrays, without torch's autograd.

        times: (T,), initial_state: (n,), parameters: (p,); derivatives with respect to what is `carried`, by
        default all initial values and all parameters. Always by the compiled engine's forward sensitivities, with
        this layer's tolerances, and with its method where that engine has it. Raises as `forward`.
        """
        state = self._input("initial_state", initial_state, self.system.states).detach().cpu()
        parameter = self._input("parameters", parameters, self.system.parameters).detach().cpu()
        if state.dim() != 1 or parameter.dim() != 1:
            raise ValueError("sensitivities are of one trajectory: initial_state (n,) and parameters (p,) are wanted")
        grid, index = _grid(times.to(state))
        engine = self.engine if isinstance(self.engine, CompiledEngine) else CompiledEngine(self.system)
        options = self.options
        if options.method not in (CompiledEngine.default_method, *ABILITIES[CompiledEngine.name].methods):
            options = replace(options, method=CompiledEngine.default_method)
        conditions = Conditions(grid, self.constants, options, self.stop, self.carried)
        found = engine.sensitivities(state.numpy(), parameter.numpy(), conditions)
        at = index.numpy()
        return Sensitivities(found.states[at], found.by_initial_state[at], found.by_parameters[at])

    def observe(self, times: Tensor, states: Tensor, parameters: Tensor | None = None) -> dict[str, Tensor]:
        """The observables along a trajectory: states (T, n) or (B, T, n) in, (T,) or (B, T) by name out."""
        parameter = self._input("parameters", parameters, self.system.parameters)
        if states.dim() == 3:
            parameter = parameter.unsqueeze(-2)  # one value for all times
        values = dict(zip(self.system.parameters, parameter.unbind(-1), strict=True))
        columns = states.unbind(-1)
        shape = states.shape[:-1]
        outputs = self._observables.bind({**self.constants, **values}, states.device)(times.to(states), *columns)
        return {name: value.expand(shape) for name, value in zip(self.system.observables, outputs, strict=True)}

    def _grid(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """`_grid` of the last times is kept: a fit asks for the same ones thousands of times."""
        if self._last_grid is None or self._last_grid[0] is not times or self._last_grid[1] != times._version:
            self._last_grid = (times, times._version, *_grid(times))
        return self._last_grid[2:]

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

    def _input(self, argument: str, given: Tensor | None, names: Sequence[str]) -> Tensor:
        attribute = "parameter_vector" if argument == "parameters" else "initial_state_vector"
        value: Tensor | None = getattr(self, attribute) if given is None else given
        if value is None:
            raise ValueError(f"{argument} must be given to the call, or by name to the layer")
        if value.dim() not in (1, 2) or value.shape[-1] != len(names):
            raise ValueError(
                f"{argument} has the shape {tuple(value.shape)}; ({len(names)},) or (B, {len(names)}) is wanted, "
                f"in the order {', '.join(names)}"
            )
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


def _same_batch(state: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    if state.dim() == parameter.dim() == 1:
        return state, parameter
    sizes = {len(value) for value in (state, parameter) if value.dim() == 2}
    if len(sizes) > 1:
        raise ValueError(f"initial_state and parameters have batches of different sizes: {sorted(sizes)}")
    size = sizes.pop()
    return state.expand(size, -1), parameter.expand(size, -1)


def _grid(times: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct times, and for each time asked its place among them."""
    if times.dim() != 1 or len(times) == 0:
        raise ValueError(f"times has the shape {tuple(times.shape)}; (T,) with T ≥ 1 is wanted")
    if not bool(times.isfinite().all()) or bool((times[1:] < times[:-1]).any()):
        raise ValueError("times must be finite and must not decrease")
    grid, index = torch.unique_consecutive(times, return_inverse=True)
    return grid, index
