"""torchdiffeq's dopri5 for the cases of `bench.neural`: backpropagation through the steps, and the adjoint equation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from bench.systems import Reals


class _Spiral(nn.Module):
    """A·x plus a network of x; weights as `odelib.problem.weights` orders them."""

    def __init__(self, case: Any) -> None:
        super().__init__()
        network = case.system.perceptrons[0]
        self._scale = torch.tensor(network.scale)
        texts = [case.system.definitions[name].text for name in network.inputs]
        offsets, scales = zip(*(_scaling(text) for text in texts), strict=True)
        self._into = torch.tensor(offsets), torch.tensor(scales)
        self._matrix = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)
        self.layers, first = nn.ParameterList(), 0
        for before, units in pairwise(network.widths):
            size = before * units
            weights = torch.tensor(case.parameters[first : first + size]).reshape(units, before)
            self.layers.append(nn.Parameter(weights))
            self.layers.append(nn.Parameter(torch.tensor(case.parameters[first + size : first + size + units])))
            first += size + units

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        h = (x - self._into[0]) / self._into[1]
        pairs = list(zip(self.layers[::2], self.layers[1::2], strict=True))
        for weight, bias in pairs[:-1]:
            h = torch.tanh(torch.addmv(bias, weight, h))
        return self._matrix @ x + self._scale * torch.addmv(pairs[-1][1], pairs[-1][0], h)


class _Species(nn.Module):
    def __init__(self, case: Any) -> None:
        super().__init__()
        n = len(case.state)
        self.r = nn.Parameter(torch.tensor(case.parameters[:n]))
        self.a = nn.Parameter(torch.tensor(case.parameters[n:]).reshape(n, n))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return x * torch.addmv(self.r, self.a, x)


def _scaling(text: str) -> tuple[float, float]:
    """Offset and scale of `((x) - (offset))/(scale)`."""
    inner, scale = text.rsplit("/", 1)
    return float(inner.rsplit(" - ", 1)[1].strip("()")), float(scale.strip("()"))


def gradients(case: Any, times: Reals, rtol: float, atol: float) -> dict[str, Callable[[], Reals]]:
    """Both ways, by initial values, then by parameters."""
    f = _Spiral(case) if case.hidden else _Species(case)
    data, given = torch.tensor(case.data), torch.tensor(times)

    def way(solver: Any) -> Callable[[], Reals]:
        def gradient() -> Reals:
            state = torch.tensor(case.state, requires_grad=True)
            f.zero_grad()
            loss = (solver(f, state, given, rtol=rtol, atol=atol, method="dopri5") - data).square().mean()
            loss.backward()
            return np.concatenate([each.grad.numpy().ravel() for each in (state, *f.parameters())])

        return gradient

    return {"torchdiffeq backprop": way(odeint), "torchdiffeq adjoint": way(odeint_adjoint)}
