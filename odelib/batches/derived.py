"""Quantities that are derived from the parameters, of all series of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from odelib.arrays import Reals
from odelib.engines.torch_program import TorchProgram
from odelib.problem.system import System


class DerivedQuantities:
    """The derived quantities of a system, d in number.

    constants: the values of its constants, in its order.
    """

    def __init__(self, system: System, constants: Sequence[float]) -> None:
        self.names = list(system.derived)
        self._parameters = list(system.parameters)
        self._constants = dict(zip(system.constants, constants, strict=True))
        self._program = TorchProgram(list(system.derived.values()), [])

    def at(self, parameters: Reals) -> tuple[Reals, Reals]:
        """Return their values, (B, d), at parameters (B, p), and their derivatives by these, (B, d, p)."""
        count = len(parameters)
        values = np.zeros((count, len(self.names)))
        derivatives = np.zeros((count, len(self.names), len(self._parameters)))
        with torch.enable_grad():
            tensor = torch.from_numpy(parameters.copy()).requires_grad_()
            named = dict(zip(self._parameters, tensor.unbind(dim=1), strict=True))
            quantities = list(self._program.bind({**self._constants, **named})())
            for place, quantity in enumerate(quantities):
                values[:, place] = quantity.detach().numpy()  # a number where no parameter occurs
                if quantity.requires_grad:  # the sum over members: each depends on its own parameters alone
                    (found,) = torch.autograd.grad(quantity.sum(), tensor, retain_graph=True)
                    derivatives[:, place] = found.numpy()
        return values, derivatives
