"""How observables change with the unknowns: the chain rule after forward sensitivities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.objective.chain_rule import chain

Rows = slice | Booleans
# of times, states, parameters, constants, and inputs and constants that change
Observe = Callable[[Tensor, Tensor, Tensor, Tensor, Mapping[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Seen:
    """Inputs and changing constants, (N,) each, and the Jacobians of those that depend on parameters, (N, p)."""

    values: Mapping[str, Tensor]
    jacobians: Mapping[str, Reals]

    @classmethod
    def of(cls, values: Mapping[str, Tensor], parameters: Tensor) -> Seen:
        """From values that are differentiable by parameters (series, p); each depends on those of one series.

        The gradient of Σ v·u by the parameters is linear in v, so its derivatives by v are those of u: one backward
        pass for each parameter, however many rows there are.
        """
        jacobians = {}
        for name, column in values.items():
            if not column.requires_grad:
                continue
            weights = torch.zeros_like(column).requires_grad_()
            (gradient,) = torch.autograd.grad(column, parameters, weights, create_graph=True, retain_graph=True)
            jacobian = np.zeros((len(column), parameters.shape[-1]))
            for index, total in enumerate(gradient.sum(0)):
                if total.requires_grad:
                    (by,) = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
                    if by is not None:
                        jacobian[:, index] = by.cpu().numpy()
            jacobians[name] = jacobian
        return cls({name: column.detach() for name, column in values.items()}, jacobians)

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """One after the other; all have the same names."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values},
            {name: np.concatenate([part.jacobians[name] for part in parts]) for name in parts[0].jacobians},
        )


NOTHING_SEEN = Seen({}, {})


def observable_sensitivities(
    observe: Observe,
    times: Tensor,
    states: Tensor,
    parameters: Tensor,
    constants: Tensor,
    state_jacobian: Reals,
    parameter_jacobians: Sequence[tuple[Rows, Reals]],
    seen: Seen = NOTHING_SEEN,
) -> tuple[dict[str, Tensor], dict[str, Reals]]:
    """What is observed, h(t, y, p, u), (N,) each, and the Jacobians ∂h/∂y·dy/dx + (∂h/∂p + ∂h/∂u·du/dp)·dp/dx.

    times: (N,). states: (N, n). state_jacobian: dy/dx by the unknowns x, (N, n, count). parameters, constants: (p,) and
    (c,), or (N, p) and (N, c). parameter_jacobians: dp/dx, (p, count), with the rows of N that it is for. The Jacobians
    are (N, count) each.
    """
    states = states.detach().requires_grad_()
    parameters = parameters.detach().expand(len(states), -1).clone().requires_grad_()
    columns = {name: column.clone().requires_grad_(name in seen.jacobians) for name, column in seen.values.items()}
    observables = observe(times, states, parameters, constants, columns)
    moving = [columns[name] for name in seen.jacobians]
    jacobians = {}
    for name, column in observables.items():
        by_states, by_parameters, *by_seen = _partial_derivatives(column, states, parameters, *moving)
        for derivative, jacobian in zip(by_seen, seen.jacobians.values(), strict=True):
            by_parameters = by_parameters + chain(derivative[:, None, None], jacobian[:, None])[:, 0]
        jacobians[name] = chain(by_states[:, None], state_jacobian)[:, 0]
        for rows, parameter_jacobian in parameter_jacobians:
            jacobians[name][rows] += chain(by_parameters[rows], parameter_jacobian)
    return {name: column.detach() for name, column in observables.items()}, jacobians


def _partial_derivatives(column: Tensor, *inputs: Tensor) -> list[Reals]:
    """The derivatives of each row of an observable by its row of each input, of the input's shape.

    A row depends on no other row, so one backward pass of the sum gives the derivatives of all.
    """
    if not column.requires_grad:
        return [np.zeros(each.shape) for each in inputs]
    # observables have common subexpressions, so the graph is still needed for the next one
    found = torch.autograd.grad(column.sum(), inputs, allow_unused=True, retain_graph=True)
    return [
        np.zeros(of.shape) if derivative is None else derivative.cpu().numpy()
        for derivative, of in zip(found, inputs, strict=True)
    ]
