"""A differential equation as a torch module, after K. Hannay's "Differential equations as a neural network layer"."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from odelib.engines.base import (
    DifferentiateBy,
    Engine,
    Sensitivities,
    Solution,
    SolverOptions,
    SolveSettings,
    StopCheck,
    never,
)
from odelib.engines.registry import choose, choose_device, choose_for_sensitivities
from odelib.engines.schedules.extended_system import ExtendedSystem
from odelib.engines.schedules.schedule import Protocols
from odelib.engines.symbolic import borders
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.problem.catalogue import resolve_system
from odelib.problem.limits import Limits
from odelib.problem.solver import ABILITIES, AUTO, AUTO_ATOL, AbsoluteTolerance
from odelib.problem.system import System, SystemDefinition


@dataclass(frozen=True)
class ProtocolSettings:
    """What was done in the members of a solve: the fields of `SolveSettings` with these names."""

    protocols: Protocols | None = None
    before: Tensor | None = None
    is_start: bool = True
    skips_earlier: bool = False
    recorded_events: int = 0


# the attribute that holds the value of an argument which a call leaves out
_ATTRIBUTES = {"parameters": "parameter_vector", "initial_state": "initial_state_vector", "constants": "_constants"}


class ODELayer(nn.Module):
    """Solves an ODE system as a torch module: times, initial state and parameters in, trajectory out.

    Args:
        system: a catalogue name, a definition (as in a request), or a `System`.
        engine: `"compiled"` or `"torchdiffeq"`; `"auto"` chooses.
        method: an integration method that the engine has; `"auto"` chooses.
        rtol: relative tolerance on the states.
        atol: absolute tolerance on the states, in their units; `"auto"`: for each state 1e-2·rtol of its largest size
            so far.
        max_steps: steps per trajectory, after which the solve fails.
        device: `"cpu"` or `"cuda"` moves the inputs there, `"auto"` leaves them where they are.
        constants: values that replace the system's, by name.
        parameters: values by name, for calls that pass none.
        initial_state: values by name, for calls that pass none.
        trainable: hold parameters and initial state as `nn.Parameter`s: `parameter_vector` and `initial_state_vector`.

    Inputs of another type are converted to float64. Raises `ValueError` for an engine, method or name that does not
    exist, `ProblemError` for an invalid definition, and `FitError` if there is no GPU for `"cuda"`.

    >>> import torch
    >>> decay = {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}
    >>> layer = ODELayer(decay, parameters={"k": 1.0}, initial_state={"x": 2.0}, trainable=True)
    >>> x = layer(torch.tensor([0.0, 1.0]))[:, 0]
    >>> x[-1].backward()
    >>> round(x[-1].item(), 4), round(layer.parameter_vector.grad.item(), 4)  # x = 2·exp(-k·t), ∂x/∂k = -t·x
    (0.7358, -0.7358)
    """

    def __init__(
        self,
        system: str | Mapping[str, Any] | SystemDefinition | System,
        *,
        engine: str = "auto",
        method: str = "auto",
        rtol: float = 1e-6,
        atol: AbsoluteTolerance = AUTO,
        max_steps: int = 100_000,
        device: str = "auto",
        constants: Mapping[str, float] | None = None,
        parameters: Mapping[str, float] | None = None,
        initial_state: Mapping[str, float] | None = None,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.system = _system(system)
        if self.system.networks:
            raise ValueError("a layer has no weights for networks; fit the system, or write the network in torch")
        chosen, method = choose(engine, method, device)
        self.engine = chosen(self.system)
        self.options = SolverOptions(method, rtol, atol, max_steps)
        self.device = None if device == "auto" else choose_device(device)
        self.constants = dict(self.system.constants) | _known("constants", constants or {}, self.system.constants)
        self.stop: StopCheck = never
        self.needs_protocols = False
        self._constants = torch.tensor(list(self.constants.values()), dtype=torch.float64, device=self.device)
        self._checked: tuple[Tensor, int] | None = None
        self._sensitivity_engine: Engine | None = None
        self._extended: ExtendedSystem | None = None
        self.differentiate_by = DifferentiateBy(
            tuple(range(len(self.system.states))), tuple(range(len(self.system.parameters)))
        )
        self._observables = TorchProgram(
            list(self.system.observables.values()), variables_of(self.system.states), self.system.definitions
        )
        self._hold("parameter_vector", "parameters", parameters, self.system.parameters, trainable)
        self._hold("initial_state_vector", "initial_state", initial_state, self.system.states, trainable)

    def forward(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
    ) -> Tensor:
        """Return the states at `times`, (T, n) or (B, T, n), in the order of `system.states`.

        They are differentiable with respect to initial state and parameters. Inputs without a batch are shared by all
        members.

        Args:
            times: (T,), or (B, T) for members with their own times; non-decreasing. The initial state holds at the
                first. A member with fewer times repeats its last one.
            initial_state: (n,) or (B, n), in the order of `system.states`; by default the layer's.
            parameters: (p,) or (B, p), in the order of `system.parameters`; by default the layer's.
            constants: (c,) or (B, c), in the order of `system.constants`; by default the layer's.

        Raises `SolveError` if a single trajectory cannot be solved; in a batch the states of such a member are NaN.
        Raises `ValueError` for shapes that do not match.

        >>> import torch
        >>> layer = ODELayer({"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}})
        >>> states = layer(torch.tensor([0.0, 1.0]), torch.tensor([2.0]), torch.tensor([[0.0], [1.0]]))
        >>> [[round(x, 4) for x in member] for member in states[..., 0].tolist()]
        [[2.0, 2.0], [2.0, 0.7358]]
        """
        return self.solve(times, initial_state, parameters, constants).states

    def solve(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
        done: ProtocolSettings | None = None,
    ) -> Solution:
        """Like `forward`, but also return the errors of the batch members that failed. done: what was done in them."""
        state, parameter, settings = self._solve_settings(times, initial_state, parameters, constants, done)
        return self.engine.solve(state, parameter, settings)

    def sensitivities(
        self,
        times: Tensor,
        initial_state: Tensor | None = None,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
        done: ProtocolSettings | None = None,
    ) -> Sensitivities:
        """Return the states and their derivatives by initial values and parameters, as numpy arrays.

        They come from forward sensitivities, dS/dt = J·S + ∂f/∂p, not from autograd. `differentiate_by` selects the
        columns; by default all initial values and all parameters. Takes the arguments of `solve` and raises the errors
        of `forward`. Computed by `sensitivity_engine`, with this layer's tolerances, and its method if that engine has
        it.

        >>> import torch
        >>> layer = ODELayer({"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}})
        >>> found = layer.sensitivities(torch.tensor([0.0, 1.0]), torch.tensor([2.0]), torch.tensor([1.0]))
        >>> found.states.shape, found.by_initial_state.shape, found.by_parameters.shape
        ((2, 1), (2, 1, 1), (2, 1, 1))
        >>> round(float(found.by_parameters[-1, 0, 0]), 4)  # x = 2·exp(-k·t), ∂x/∂k = -t·x
        -0.7358
        """
        state, parameter, settings = self._solve_settings(times, initial_state, parameters, constants, done)
        engine, options = self.sensitivity_engine, self.options
        ability = ABILITIES[engine.name]
        if options.method not in (ability.default_method, *ability.methods):
            settings = replace(settings, options=replace(options, method=ability.default_method))
        return engine.sensitivities(state.detach().cpu().numpy(), parameter.detach().cpu().numpy(), settings)

    @property
    def sensitivity_engine(self) -> Engine:
        """The engine that computes sensitivities; chosen on first use, which may compile the system."""
        if self._sensitivity_engine is None:
            self._sensitivity_engine = choose_for_sensitivities(
                self.engine, self.system, needs_protocols=self.needs_protocols or bool(self.system.events)
            )
        return self._sensitivity_engine

    def observe(
        self,
        times: Tensor,
        states: Tensor,
        parameters: Tensor | None = None,
        constants: Tensor | None = None,
        seen: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return the observables by name, (T,) or (B, T), from states (T, n) or (B, T, n).

        times: (T,) or (B, T). parameters: (p,) or (B, p); constants: (c,) or (B, c). With the states (T, n) of one
        trajectory, parameters (T, p) and constants (T, c) are values at each time. seen: inputs, and constants that
        change, by name, of the same shape as an observable: see `seen`.

        >>> import torch
        >>> definition = {"states": ["x"], "equations": {"x": "1"}, "observables": {"area": "x**2"}}
        >>> ODELayer(definition).observe(torch.tensor([0.0, 1.0]), torch.tensor([[2.0], [3.0]]), torch.zeros(0))["area"]
        tensor([4., 9.])
        """
        parameter = self._input("parameters", parameters, self.system.parameters)
        constant = self._input("constants", constants, self.system.constants)
        if states.dim() == 3:  # one value for all times
            parameter, constant = parameter.unsqueeze(-2), constant.unsqueeze(-2)
        values = dict(zip(self.system.constants, constant.to(states.device).unbind(-1), strict=True))
        if not self._observables.names.isdisjoint(self.system.parameters):  # a network may have thousands of weights
            values |= zip(self.system.parameters, parameter.unbind(-1), strict=True)
        values |= seen or {}
        observables = self._observables.bind(values, states.device, self.border_tolerances(states))
        outputs = observables(times.to(states), *states.unbind(-1))
        shape = states.shape[:-1]
        return {name: value.expand(shape) for name, value in zip(self.system.observables, outputs, strict=True)}

    def border_tolerances(self, states: Tensor) -> dict[str, float]:
        """The solver's errors in states (…, n), by which arguments may be beyond borders: see `TorchProgram.bind`."""
        if self.options.atol == AUTO:
            sizes = states.detach().abs().reshape(-1, states.shape[-1]).nan_to_num().amax(0)
            atol = (AUTO_ATOL * self.options.rtol * sizes).tolist()
        else:
            atol = [self.options.atol] * states.shape[-1]
        return borders.tolerances(self.options.rtol, dict(zip(self.system.states, atol, strict=True)))

    def seen(
        self, names: Collection[str], times: Tensor, parameters: Tensor, constants: Tensor, done: ProtocolSettings
    ) -> dict[str, Tensor]:
        """The inputs and the constants that change, as measurements see them, by name, (B, T) each.

        Empty if none of `names` is one of them. times: (B, T). parameters: (B, p); the values are differentiable by
        these. constants: (B, c).
        """
        if done.protocols is None:
            return {}
        protocols = done.protocols.all
        changing = {name for protocol in protocols for change in protocol.changes for name in change.constants}
        if not changing.union(self.system.inputs).intersection(names):
            return {}
        if self._extended is None or self._extended.protocols is not protocols:
            self._extended = ExtendedSystem(self.system, protocols)
        return self._extended.observed_values(
            done.protocols.members, times, done.before, parameters, constants, skips_earlier=done.skips_earlier
        )

    def seen_in_one(
        self,
        names: Collection[str] | None,
        times: Tensor,
        parameters: Tensor,
        constants: Tensor,
        done: ProtocolSettings,
    ) -> dict[str, Tensor]:
        """As `seen` for one trajectory: times (T,), parameters (p,), constants (c,). names: None for all names."""
        wanted = [*self.system.inputs, *self.system.parameters, *self.system.constants] if names is None else names
        found = self.seen(wanted, times.unsqueeze(0), parameters.unsqueeze(0), constants.unsqueeze(0), done)
        return {name: column[0] for name, column in found.items()}

    def _solve_settings(
        self,
        times: Tensor,
        initial_state: Tensor | None,
        parameters: Tensor | None,
        constants: Tensor | None,
        done: ProtocolSettings | None = None,
    ) -> tuple[Tensor, Tensor, SolveSettings]:
        """Initial state and parameters, both with the batch if there is one, and the settings."""
        state = self._input("initial_state", initial_state, self.system.states)
        parameter = self._input("parameters", parameters, self.system.parameters)
        constant = self._input("constants", constants, self.system.constants).detach()
        times = self._times(times.to(state))
        if not state.dim() == parameter.dim() == times.dim() == constant.dim() == 1:
            size = _batch_size(initial_state=state, parameters=parameter, times=times, constants=constant)
            state, parameter = state.expand(size, -1), parameter.expand(size, -1)
        settings = SolveSettings(times, constant, self.options, self.stop, self.differentiate_by)
        if done is None:
            return state, parameter, settings
        before = done.before[0] if done.before is not None and state.dim() == 1 else done.before
        return state, parameter, replace(settings, **{**vars(done), "before": before})

    def _times(self, times: Tensor) -> Tensor:
        """Check the times. The last ones are not checked again: a fit passes the same ones thousands of times."""
        if self._checked is None or self._checked[0] is not times or self._checked[1] != times._version:
            if times.dim() not in (1, 2) or times.shape[-1] == 0:
                raise ValueError(f"times has shape {tuple(times.shape)}; expected (T,) or (B, T) with T ≥ 1")
            if not bool(times.isfinite().all()) or bool((times[..., 1:] < times[..., :-1]).any()):
                raise ValueError("times must be finite and must not decrease")
            self._checked = (times, times._version)
        return times

    def extra_repr(self) -> str:
        """What torch prints for the layer."""
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
            raise ValueError(
                f"{argument} lacks {', '.join(missing)}; give a value for every name, or leave {argument} out"
            )
        vector = torch.tensor([float(given[n]) for n in names], dtype=torch.float64, device=self.device)
        if trainable:
            setattr(self, attribute, nn.Parameter(vector))
        else:
            self.register_buffer(attribute, vector)

    def _input(self, argument: str, given: Tensor | None, names: Collection[str]) -> Tensor:
        value: Tensor | None = getattr(self, _ATTRIBUTES[argument]) if given is None else given
        if value is None:
            raise ValueError(f"{argument} is missing; pass it to the call, or by name to the layer")
        if value.dim() not in (1, 2) or value.shape[-1] != len(names):
            raise ValueError(
                f"{argument} has shape {tuple(value.shape)}; expected ({len(names)},) or (B, {len(names)}), "
                f"in the order {', '.join(names)}"
            )
        if value.dtype == torch.float64 and self.device in (None, value.device):  # faster than `to`
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
        raise ValueError(
            f"{argument} has unknown names: {', '.join(unknown)}; known names: {', '.join(names) or 'none'}"
        )
    return dict(given)


def _batch_size(**inputs: Tensor) -> int:
    """The batch size of the inputs that have a batch."""
    sizes = {name: len(value) for name, value in inputs.items() if value.dim() == 2}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"the inputs have different batch sizes: {listed}")
    return next(iter(sizes.values()))
