"""How observables change with the unknowns: the chain rule after forward sensitivities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.objective.chain_rule import chain

Rows = slice | Booleans
Observe = Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]  # of times, states, parameters, constants


def observable_sensitivities(
    observe: Observe,
    times: Tensor,
    states: Tensor,
    parameters: Tensor,
    constants: Tensor,
    state_jacobian: Reals,
    parameter_jacobians: Sequence[tuple[Rows, Reals]],
) -> tuple[dict[str, Tensor], dict[str, Reals]]:
    """What is observed, h(t, y, p), (N,) each, and the Jacobians ∂h/∂y·dy/dx + ∂h/∂p·dp/dx, (N, count) each.

    times: (N,). states: (N, n). state_jacobian: dy/dx by the unknowns x, (N, n, count). parameters, constants: (p,) and
    (c,), or (N, p) and (N, c). parameter_jacobians: dp/dx, (p, count), with the rows of N that it is for.
    """
    states = states.detach().requires_grad_()
    parameters = parameters.detach().expand(len(states), -1).clone().requires_grad_()
    observables = observe(times, states, parameters, constants)
    jacobians = {}
    for name, column in observables.items():
        by_states, by_parameters = _partial_derivatives(column, states, parameters)
        jacobians[name] = chain(by_states[:, None], state_jacobian)[:, 0]
        for rows, parameter_jacobian in parameter_jacobians:
            jacobians[name][rows] += chain(by_parameters[rows], parameter_jacobian)
    return {name: column.detach() for name, column in observables.items()}, jacobians


def _partial_derivatives(column: Tensor, states: Tensor, parameters: Tensor) -> tuple[Reals, Reals]:
    """The derivatives of each row of an observable by the states, (N, n), and parameters, (N, p), of that row.

    A row depends on no other row, so one backward pass of the sum gives the derivatives of all.
    """
    if not column.requires_grad:
        return np.zeros(states.shape), np.zeros(parameters.shape)
    inputs = states, parameters
    # observables have common subexpressions, so the graph is still needed for the next one
    found = torch.autograd.grad(column.sum(), inputs, allow_unused=True, retain_graph=True)
    by_states, by_parameters = (
        np.zeros(of.shape) if derivative is None else derivative.cpu().numpy()
        for derivative, of in zip(found, inputs, strict=True)
    )
    return by_states, by_parameters
