"""The adjoint behind torch's autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.compiled.adjoint.scheduled import GoesBack

OnTape = Callable[[Reals, Reals], GoesBack]
Otherwise = Callable[[Reals], tuple[Tensor, Tensor]]


class SolveOnTape(torch.autograd.Function):
    """States out; gradients by going back through the steps. For one trajectory, (n,) and (p,), or a batch.

    `solve` is given initial states (B, n) and parameters (B, p). `otherwise` gives the gradients by both from that of
    the states, where going back does not give finite numbers.
    """

    @staticmethod
    def forward(ctx: Any, initial_state: Tensor, parameters: Tensor, solve: OnTape, otherwise: Otherwise) -> Tensor:
        """The states, (T, n) or (B, T, n)."""
        states, values = initial_state.detach().numpy(), parameters.detach().numpy()
        ctx.is_single = states.ndim == 1
        ctx.recording = solve(np.atleast_2d(states), np.atleast_2d(values))
        ctx.otherwise = otherwise
        return torch.from_numpy(ctx.recording.states[0] if ctx.is_single else ctx.recording.states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients by initial states and parameters."""
        return (_guarded_gradients if torch.is_grad_enabled() else _gradients)(ctx, gradient)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    incoming = gradient.detach().numpy()
    found = ctx.recording.gradient(incoming[None] if ctx.is_single else incoming)
    if not all(np.isfinite(each).all() for each in found):
        return *ctx.otherwise(gradient), None, None
    by_state, by_parameters = (torch.from_numpy(each[0] if ctx.is_single else each) for each in found)
    return by_state, by_parameters, None, None


# raises if the gradient is differentiated: there are no second derivatives
_guarded_gradients = torch.autograd.function.once_differentiable(_gradients)
