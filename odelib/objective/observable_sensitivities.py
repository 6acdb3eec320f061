"""How observables along trajectories change with the unknowns: the chain rule after forward sensitivities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.engines.layer import ODELayer

Rows = slice | Booleans


def observable_sensitivities(
    layer: ODELayer,
    times: Tensor,
    states: Tensor,
    parameters: Tensor,
    constants: Tensor,
    by_coordinates: Reals,
    by_parameter: Sequence[tuple[Rows, Reals]],
) -> tuple[dict[str, Tensor], dict[str, Reals]]:
    """The observables, (N,) each, and their derivatives by the unknowns' coordinates, (N, count) each.

    times: (N,); states: (N, n), with their derivatives by_coordinates (N, n, count); parameters and constants: of all
    rows, or (N, p) and (N, c); by_parameter: for some rows the derivatives (p, count) of their parameters.
    """
    states = states.detach().requires_grad_()
    everywhere = parameters.detach().expand(len(states), -1).clone().requires_grad_()
    model = layer.observe(times, states, everywhere, constants)
    slopes = {}
    for name, column in model.items():
        by_states, by_parameters = _at_each_row(column, states, everywhere)
        slopes[name] = np.einsum("rn,rnc->rc", by_states, by_coordinates)
        for rows, slope in by_parameter:
            slopes[name][rows] += by_parameters[rows] @ slope
    return {name: column.detach() for name, column in model.items()}, slopes


def _at_each_row(column: Tensor, states: Tensor, parameters: Tensor) -> tuple[Reals, Reals]:
    """The derivatives of an observable in each row by the states (N, n) and parameters (N, p) in that row."""
    if not column.requires_grad:
        return np.zeros(states.shape), np.zeros(parameters.shape)
    # observables share their common parts: the graph must outlive the first of them
    found = torch.autograd.grad(column.sum(), [states, parameters], allow_unused=True, retain_graph=True)
    by_states, by_parameters = (
        np.zeros(of.shape) if slope is None else slope.cpu().numpy()
        for slope, of in zip(found, (states, parameters), strict=True)
    )
    return by_states, by_parameters
