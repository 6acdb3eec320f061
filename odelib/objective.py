"""Residuals and loss of a problem, in torch, differentiable in the unknowns' coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.errors import OdelibError, SolveError
from odelib.layer import ODELayer
from odelib.problem.request import FitProblem, Measurements, Series
from odelib.unknowns import Unknowns, Vector


class NotFinite(OdelibError):
    """Loss or gradient is not a finite number at a point; the message says what and where."""


TrialFailure = SolveError | NotFinite  # what makes a trial step fail, and the fit go on from another


@dataclass(frozen=True)
class Evaluation:
    """Loss and gradient at a point.

    coordinates, gradient: (free unknowns,), the gradient with respect to the coordinates. states: (T, n) at
    the series' times.
    """

    coordinates: Vector
    loss: float
    gradient: Vector
    states: Tensor


class Scored:
    """Measurements of several observables at the same times, with their sigmas: residuals and loss of a model.

    The loss is the sum of (residual/sigma)², sigma being 1 where none is given.
    """

    def __init__(
        self, times: list[float], values: Measurements, sigma: Mapping[str, list[float]], device: torch.device
    ) -> None:
        self._times = times
        self._columns: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        for name, column in values.items():
            measured = [i for i, value in enumerate(column) if value is not None]
            observed = [value for value in column if value is not None]
            scale = [sigma[name][i] for i in measured] if name in sigma else [1.0] * len(measured)
            self._columns[name] = (
                torch.tensor(measured, dtype=torch.long, device=device),
                torch.tensor(observed, dtype=torch.float64, device=device),
                torch.tensor(scale, dtype=torch.float64, device=device),
            )

    @property
    def observations(self) -> int:
        """How many values there are."""
        return sum(len(index) for index, _, _ in self._columns.values())

    def residuals(self, model: Mapping[str, Tensor], *, scaled: bool = True) -> dict[str, Tensor]:
        """Data minus model where there are data, divided by sigma if `scaled`."""
        return {
            name: (observed - model[name].index_select(0, index)) / (sigma if scaled else 1.0)
            for name, (index, observed, sigma) in self._columns.items()
        }

    def loss(self, model: Mapping[str, Tensor]) -> Tensor:
        """The sum of squared residuals."""
        return torch.stack([r.square().sum() for r in self.residuals(model).values()]).sum()

    def sparse(self, columns: Mapping[str, Tensor]) -> dict[str, list[float | None]]:
        """Values where there are data → one entry per time, None where nothing was measured."""
        result = {}
        for name, (index, _, _) in self._columns.items():
            entries: list[float | None] = [None] * len(self._times)
            for place, value in zip(index.tolist(), columns[name].tolist(), strict=True):
                entries[place] = value
            result[name] = entries
        return result

    def r_squared(self, model: Mapping[str, Tensor]) -> dict[str, float]:
        """1 − RSS/TSS of the unscaled residuals; left out where all measurements are equal."""
        result = {}
        for name, residual in self.residuals(model, scaled=False).items():
            observed = self._columns[name][1]
            total = (observed - observed.mean()).square().sum().item() if len(observed) else 0.0
            if total > 0:
                result[name] = 1 - residual.square().sum().item() / total
        return result

    def solver_error(self, rtol: float, atol: float) -> float:
        """The loss that a solver's error of atol + rtol·|y| in each value would make of a perfect fit."""
        return sum(
            (((atol + rtol * observed.abs()) / sigma) ** 2).sum().item()
            for _, observed, sigma in self._columns.values()
        )

    def first_not_finite(self, model: Mapping[str, Tensor]) -> str | None:
        """Where the model's values first are no numbers, in words."""
        for name, (index, _, _) in self._columns.items():
            bad = (~model[name].index_select(0, index).isfinite()).nonzero()
            if len(bad):
                return f"the observable {name!r} is not a finite number at t = {self._times[int(index[bad[0, 0]])]:.6g}"
        return None


def sigma_columns(series: Series) -> dict[str, list[float]]:
    """The series' sigmas, one per time."""
    return {
        name: list(sigma) if isinstance(sigma, list) else [sigma] * len(series.times)
        for name, sigma in series.sigma.items()
    }


class Objective:
    """The loss of a problem as a function of the unknowns' coordinates."""

    def __init__(self, problem: FitProblem, unknowns: Unknowns, layer: ODELayer, device: torch.device) -> None:
        series = problem.data
        self.unknowns = unknowns
        self.layer = layer
        self.scored = Scored(series.times, series.values, sigma_columns(series), device)
        self._times = torch.tensor([series.start, *series.times], dtype=torch.float64, device=device)
        self._device = device

    def evaluate(self, coordinates: Vector) -> Evaluation:
        """Loss, gradient and states at a point. Raises `SolveError` or `NotFinite`."""
        point = torch.tensor(coordinates, device=self._device, requires_grad=self.unknowns.count > 0)
        parameters, initial_state = self.unknowns.values(point)
        states = self.states(parameters, initial_state)
        model = self.layer.observe(self._times[1:], states, parameters)
        loss = self.scored.loss(model)
        if not loss.isfinite():
            raise NotFinite(self.scored.first_not_finite(model) or "the loss is too large for a number")
        gradient = self._gradient(loss, point)
        return Evaluation(coordinates.copy(), loss.item(), gradient, states.detach())

    def states(self, parameters: Tensor, initial_state: Tensor) -> Tensor:
        """The states at the series' times, (T, n)."""
        if not bool(initial_state.isfinite().all()):
            raise NotFinite("an initial state is not a finite number")
        return self.layer.solve(self._times, initial_state, parameters).states[1:]

    def model(self, states: Tensor, parameters: Tensor) -> dict[str, Tensor]:
        """All the observables at the series' times."""
        return self.layer.observe(self._times[1:], states, parameters)

    def residual_vector(self, coordinates: Vector) -> Vector:
        """The scaled residuals in one vector, without derivatives. Raises as `evaluate`."""
        with torch.no_grad():
            parameters, initial_state = self.unknowns.values(torch.tensor(coordinates, device=self._device))
            states = self.states(parameters, initial_state)
            columns = self.scored.residuals(self.model(states, parameters))
            vector: Vector = torch.cat(list(columns.values())).cpu().numpy()
        if not np.isfinite(vector).all():
            raise NotFinite("an observable is not a finite number")
        return vector

    def _gradient(self, loss: Tensor, point: Tensor) -> Vector:
        if not point.requires_grad:
            return np.zeros(0)
        if not loss.requires_grad:  # no unknown takes part in what was measured
            return np.zeros(len(point))
        (gradient,) = torch.autograd.grad(loss, point, allow_unused=True)
        vector: Vector = np.zeros(len(point)) if gradient is None else gradient.cpu().numpy()
        if not np.isfinite(vector).all():
            bad = [name for name, entry in zip(self.unknowns.names, vector, strict=True) if not np.isfinite(entry)]
            raise NotFinite(
                f"the loss's derivative with respect to {', '.join(bad)} is not a finite number; an equation may "
                "have a root or a power with an infinite slope there"
            )
        return vector
