"""The inputs and the changed constants that a measurement sees."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Booleans, Reals
from odelib.engines.schedules.entries import Point, Rows, Window
from odelib.engines.schedules.timeline import Timeline
from odelib.engines.torch_program import TorchProgram
from odelib.problem.expressions.parser import TIME, Expression
from odelib.problem.system import System


def observed_values(
    system: System, timeline: Timeline, values: Reals, jacobian: Reals | None, times: Tensor, before: Tensor | None,
    parameters: Tensor, constants: Tensor, *, skips_earlier: bool,
) -> dict[str, Tensor]:  # fmt: skip
    """Each input and each changed constant in one member at times (T,), (T,) each, differentiable by the parameters.

    values: (N,), jacobian: (N, u), those of the pool. parameters: (p,), constants: (c,).
    """
    own = times.detach().cpu().numpy()
    if len(own) == 0:
        return dict.fromkeys((*timeline.inputs, *timeline.changed), times)
    window = Window(float(own.min()), float(own.max()), is_start=False, skips_earlier=skips_earlier)
    point = Point(values, jacobian, window, Rows(0))
    sees_before = np.zeros(len(own), dtype=bool) if before is None else before.cpu().numpy()
    observed = _Observed(timeline, point, own, sees_before, times, parameters)
    found = {name: observed.constant(name) for name in timeline.changed}
    named = dict(zip(system.parameters, parameters, strict=True))
    named |= dict(zip(system.constants, constants, strict=True)) | found
    return found | {name: observed.input(name, named, system) for name in timeline.inputs}


class _Observed:
    def __init__(
        self, timeline: Timeline, point: Point, times: Reals, before: Booleans, like: Tensor, parameters: Tensor
    ) -> None:
        self._timeline, self._point, self._times, self._before = timeline, point, times, before
        self._like, self._change = like, (parameters - parameters.detach())[list(timeline.used_parameters)]

    def _since(self, begin: float) -> Booleans:
        """Which measurements see what has been so since a time."""
        tolerance = self._point.window.tolerance(begin)
        found: Booleans = np.where(self._before, self._times > begin + tolerance, self._times >= begin - tolerance)
        return found

    def _tensor(self, columns: Reals) -> Tensor:
        """Values and derivatives (T, 1 + u) as a tensor (T,)."""
        values = self._like.new_tensor(columns[:, 0])
        return values if columns.shape[1] == 1 else values + self._like.new_tensor(columns[:, 1:]) @ self._change

    def _at(self, place: int) -> Reals:
        """A value of the pool and its derivatives, (1, 1 + u)."""
        value, point = self._point.values[place].reshape(1, 1), self._point
        return value if point.jacobian is None else np.concatenate([value, point.jacobian[[place]]], 1)

    def constant(self, name: str) -> Tensor:
        start = self._timeline.first_values[name]
        found = self._tensor(np.repeat(self._at(start), len(self._times), 0))
        changes = [(float(self._point.values[at]), place) for at, place in self._timeline.changed[name]]
        for begin, place in sorted(changes):
            since = torch.from_numpy(self._since(begin)).to(found.device)
            found = torch.where(since, self._tensor(self._at(place)), found)
        return found

    def input(self, name: str, named: dict[str, Tensor], system: System) -> Tensor:
        found = torch.zeros_like(self._like)
        for given, begin, _ in self._timeline.inputs[name].spans(self._point):
            if isinstance(expression := given.expression, Expression):
                program = TorchProgram([expression], [TIME], system.definitions)
                values = program.bind(named, self._like.device)(self._like)[0].expand(len(self._times))
            else:
                values = self._tensor(given.at_times(self._point, self._times))
            if given.at is None:
                found = values
            else:
                found = torch.where(torch.from_numpy(self._since(begin)).to(found.device), values, found)
        return found
