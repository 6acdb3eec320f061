"""torchdiffeq's dopri5, with gradients from backpropagation through the steps and from the adjoint equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from bench.peers.equations import right_hand_side
from bench.systems import Problem, Reals


class _RightHandSide(nn.Module):
    """A module, as the adjoint method asks for one: it looks for the parameters there."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.q = nn.Parameter(torch.tensor(problem.parameters))
        self._f = right_hand_side(problem.system, torch)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(self._f(t, y.unbind(), self.q.unbind()))


def gradients(problem: Problem, rtol: float, atol: float) -> dict[str, Callable[[], tuple[float, Reals]]]:
    """Both ways; none for a stiff problem, which torchdiffeq's adaptive methods cannot solve."""
    if problem.stiff:
        return {}
    ways = {"torchdiffeq backprop": odeint, "torchdiffeq adjoint": odeint_adjoint}
    return {name: _gradient(problem, rtol, atol, solver) for name, solver in ways.items()}


def _gradient(problem: Problem, rtol: float, atol: float, solver: Any) -> Callable[[], tuple[float, Reals]]:
    f = _RightHandSide(problem)
    times, data = torch.tensor(problem.times), torch.tensor(problem.data)
    state = torch.tensor(problem.initial_state, requires_grad=True)

    def gradient() -> tuple[float, Reals]:
        state.grad = f.q.grad = None
        states = solver(f, state, times, rtol=rtol, atol=atol, method="dopri5")
        loss = (states - data).square().sum()
        loss.backward()
        assert state.grad is not None
        assert f.q.grad is not None
        return loss.item(), np.concatenate([f.q.grad.numpy(), state.grad.numpy()])

    return gradient
