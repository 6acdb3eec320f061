"""A program and its derivatives in several directions, by torch's forward mode: dual numbers y + ε·S.

One run computes f and all columns of J·S + ∂f/∂p, whatever their number: every operation takes a vector with one entry
per column. Backpropagation would take one run per state instead, and J itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd.forward_ad import make_dual, unpack_dual

from odelib.engines.torch_program import TorchProgram


class DualProgram:
    """A bound program for states with sensitivities. Made and called within one `torch.autograd.forward_ad.dual_level`.

    values: of the names that are not variables. directions: by name the derivatives (m,) of those values that depend on
    what the m columns differentiate by. tolerances: see `TorchProgram.bind`.
    """

    def __init__(
        self,
        program: TorchProgram,
        values: Mapping[str, Tensor],
        directions: Mapping[str, Tensor],
        device: torch.device,
        tolerances: Mapping[str, float],
    ) -> None:
        duals = {name: _dual(values[name], direction) for name, direction in directions.items()}
        self._program = program.bind({**values, **duals}, device, tolerances)

    def __call__(self, t: Tensor, *rows: Tensor) -> list[Tensor]:
        """Per state (1 + m,): its value and its sensitivities in; its rate and their rates out."""
        outputs = self._program(t, *(_dual(row[0], row[1:]) for row in rows))
        return [_rate(output, row) for output, row in zip(outputs, rows, strict=True)]


def _dual(value: Tensor, direction: Tensor) -> Tensor:
    # torch takes no primal whose entries share memory
    dual: Tensor = make_dual(value.expand_as(direction).clone(), direction)  # type: ignore[no-untyped-call]
    return dual


def _rate(output: Tensor, row: Tensor) -> Tensor:
    value, direction = unpack_dual(output)  # type: ignore[no-untyped-call]
    rate = torch.zeros_like(row)
    rate[0] = value if value.dim() == 0 else value[0]
    if direction is not None:  # else the expression depends on no state and no such value
        rate[1:] = direction
    return rate
