"""The columns that measurements are compared with: the observables, and the sigmas that are expressions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from odelib.engines.layer import ODELayer, ProtocolSettings
from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.likelihood.measurements import sigma_of
from odelib.problem.expressions.definitions import underlying
from odelib.problem.expressions.parser import Expression


class ModelColumns:
    """Computes the columns of a system from its states.

    sigma_expressions: of the noise, by observable. They may use the observables' values.
    """

    def __init__(self, layer: ODELayer, sigma_expressions: Mapping[str, Expression]) -> None:
        self._layer, system = layer, layer.system
        self._sigmas = [sigma_of(name) for name in sigma_expressions]
        self._observables = [name for name in system.observables if name not in system.states]
        variables = [*variables_of(system.states), *self._observables]
        self._program = TorchProgram(list(sigma_expressions.values()), variables, system.definitions)
        names = (expression.names for expression in (*system.observables.values(), *sigma_expressions.values()))
        self._names = underlying(frozenset[str]().union(*names), system.definitions)

    def seen(self, times: Tensor, parameters: Tensor, constants: Tensor, done: ProtocolSettings) -> dict[str, Tensor]:
        """The inputs and changing constants that columns need, (B, T) each: see `ODELayer.seen`."""
        return self._layer.seen(self._names, times, parameters, constants, done)

    def __call__(
        self,
        times: Tensor,
        states: Tensor,
        parameters: Tensor,
        constants: Tensor,
        seen: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The observables by name, and the sigmas by `sigma_of` their observable, (N,) each.

        times: (N,). states: (N, n). parameters, constants: (p,) and (c,), or (N, p) and (N, c). seen: (N,) each.
        """
        columns = self._layer.observe(times, states, parameters, constants, seen)
        if not self._sigmas:
            return columns
        values = dict(zip(self._layer.system.constants, constants.unbind(-1), strict=True))
        values |= zip(self._layer.system.parameters, parameters.unbind(-1), strict=True)
        values |= seen or {}
        observables = [columns[name] for name in self._observables]
        program = self._program.bind(values, states.device, self._layer.border_tolerances(states))
        sigmas = program(times.to(states), *states.unbind(-1), *observables)
        return columns | {name: sigma.expand(len(states)) for name, sigma in zip(self._sigmas, sigmas, strict=True)}
