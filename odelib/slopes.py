"""How the observables along a trajectory change with the unknowns: forward sensitivities and the chain rule."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from odelib.layer import ODELayer

Values = Callable[[Tensor], tuple[Tensor, Tensor]]  # coordinates → parameters (p,), initial state (n,)


def observable_slopes(layer: ODELayer, values: Values, point: Tensor, times: Tensor) -> dict[str, Tensor]:
    """The derivatives of every observable at `times` by the coordinates of `point`, each (T, coordinates).

    The initial state that `values` gives holds at the first time. One solve, whatever the number of times.
    Raises `SolveError`.
    """
    parameters, initial_state = values(point)
    found = layer.sensitivities(times, initial_state, parameters)
    by_parameter, by_state = (slope.cpu() for slope in jacobian(values, point))  # type: ignore[no-untyped-call]
    along = torch.from_numpy(found.by_initial_state) @ by_state[list(layer.carried.states)]
    along = along + torch.from_numpy(found.by_parameters) @ by_parameter[list(layer.carried.parameters)]
    states = torch.from_numpy(found.states).requires_grad_()
    everywhere = parameters.detach().cpu().expand(len(states), -1).clone().requires_grad_()
    model = layer.observe(times.cpu(), states, everywhere)  # each time with parameters of its own
    slopes = {}
    for name, column in model.items():
        by_states, by_parameters = _at_each_time(column, states, everywhere)
        slopes[name] = torch.einsum("tn,tnm->tm", by_states, along) + by_parameters @ by_parameter
    return slopes


def _at_each_time(column: Tensor, states: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The derivatives of an observable at each time by the states (T, n) and parameters (T, p) at that time."""
    if not column.requires_grad:
        return torch.zeros_like(states), torch.zeros_like(parameters)
    # observables share their common parts: the graph must outlive the first of them
    found = torch.autograd.grad(column.sum(), [states, parameters], allow_unused=True, retain_graph=True)
    by_states, by_parameters = (
        torch.zeros_like(of) if slope is None else slope for slope, of in zip(found, (states, parameters), strict=True)
    )
    return by_states, by_parameters
