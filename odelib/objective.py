"""Residuals and loss of a problem, in torch, differentiable in the unknowns' coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.errors import OdelibError, SolveError
from odelib.layer import ODELayer
from odelib.problem.request import FitProblem, Measurements, Series
from odelib.slopes import observable_slopes
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
        self._names = list(values)
        places, observed, scales, sizes = [], [], [], []
        for row, (name, column) in enumerate(values.items()):
            measured = [i for i, value in enumerate(column) if value is not None]
            places += [row * len(times) + i for i in measured]
            observed += [value for value in column if value is not None]
            scales += [sigma[name][i] for i in measured] if name in sigma else [1.0] * len(measured)
            sizes.append(len(measured))
        # all measurements in one vector: few operations of torch, however many observables there are
        self._places = torch.tensor(places, dtype=torch.long, device=device)
        self._observed = torch.tensor(observed, dtype=torch.float64, device=device)
        self._sigma = torch.tensor(scales, dtype=torch.float64, device=device)
        self._sizes = sizes

    @property
    def observations(self) -> int:
        """How many values there are."""
        return len(self._observed)

    @property
    def squares(self) -> float:
        """The sum of the squared measurements, each divided by its sigma."""
        return (self._observed / self._sigma).square().sum().item()

    def residual_vector(self, model: Mapping[str, Tensor], *, scaled: bool = True) -> Tensor:
        """Data minus model where there are data, divided by sigma if `scaled`; one observable after the other."""
        residuals = self._observed - self._measured(model)
        return residuals / self._sigma if scaled else residuals

    def residuals(self, model: Mapping[str, Tensor], *, scaled: bool = True) -> dict[str, Tensor]:
        """The residual vector, by observable."""
        return self._split(self.residual_vector(model, scaled=scaled))

    def jacobian(self, slopes: Mapping[str, Tensor]) -> Tensor:
        """The derivatives of the residual vector from those of the observables, each (T, unknowns)."""
        rows = torch.cat([slopes[name] for name in self._names])
        return -rows.index_select(0, self._places.cpu()) / self._sigma.cpu().unsqueeze(1)

    def loss(self, model: Mapping[str, Tensor]) -> Tensor:
        """The sum of squared residuals."""
        return self.residual_vector(model).square().sum()

    def sparse(self, model: Mapping[str, Tensor]) -> dict[str, list[float | None]]:
        """The scaled residuals with one entry per time, None where nothing was measured."""
        entries: list[float | None] = [None] * (len(self._names) * len(self._times))
        for place, value in zip(self._places.tolist(), self.residual_vector(model).tolist(), strict=True):
            entries[place] = value
        count = len(self._times)
        return {name: entries[i * count : (i + 1) * count] for i, name in enumerate(self._names)}

    def r_squared(self, model: Mapping[str, Tensor]) -> dict[str, float]:
        """1 − RSS/TSS of the unscaled residuals; left out where all measurements are equal."""
        result = {}
        observed = self._split(self._observed)
        for name, residual in self.residuals(model, scaled=False).items():
            values = observed[name]
            total = (values - values.mean()).square().sum().item() if len(values) else 0.0
            if total > 0:
                result[name] = 1 - residual.square().sum().item() / total
        return result

    def solver_error(self, rtol: float, atol: float) -> float:
        """The loss that a solver's error of atol + rtol·|y| in each value would make of a perfect fit."""
        return ((atol + rtol * self._observed.abs()) / self._sigma).square().sum().item()

    def first_not_finite(self, model: Mapping[str, Tensor]) -> str | None:
        """Where the model's values first are no numbers, in words."""
        bad = self._places[~self._measured(model).isfinite()]
        if not len(bad):
            return None
        row, i = divmod(int(bad[0]), len(self._times))
        return f"the observable {self._names[row]!r} is not a finite number at t = {self._times[i]:.6g}"

    def _measured(self, model: Mapping[str, Tensor]) -> Tensor:
        columns = torch.stack([model[name] for name in self._names])
        return columns.reshape(-1).index_select(0, self._places)

    def _split(self, vector: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._names, torch.split(vector, self._sizes), strict=True))


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
        self._data_times = self._times[1:]
        self._device = device

    def evaluate(self, coordinates: Vector) -> Evaluation:
        """Loss, gradient and states at a point. Raises `SolveError` or `NotFinite`."""
        point = torch.tensor(coordinates, device=self._device, requires_grad=self.unknowns.count > 0)
        parameters, initial_state = self.unknowns.values(point)
        states = self.states(parameters, initial_state)
        model = self.layer.observe(self._data_times, states, parameters)
        loss = self.scored.loss(model)
        value = loss.item()
        if not math.isfinite(value):
            raise NotFinite(self.scored.first_not_finite(model) or "the loss is too large for a number")
        gradient = self._gradient(loss, point)
        return Evaluation(coordinates.copy(), value, gradient, states.detach())

    def states(self, parameters: Tensor, initial_state: Tensor) -> Tensor:
        """The states at the series' times, (T, n)."""
        return self.layer.solve(self._times, initial_state, parameters).states[1:]

    def model(self, states: Tensor, parameters: Tensor) -> dict[str, Tensor]:
        """All the observables at the series' times."""
        return self.layer.observe(self._data_times, states, parameters)

    def jacobian(self, coordinates: Vector) -> Vector:
        """The derivatives of the scaled residuals, (observations, free unknowns), by the unknowns' coordinates.

        By forward sensitivities: one solve, whatever the number of observations. Raises as `evaluate`.
        """
        point = torch.tensor(coordinates, device=self._device)
        slopes = observable_slopes(self.layer, self.unknowns.values, point, self._times)
        vector: Vector = self.scored.jacobian({name: slope[1:] for name, slope in slopes.items()}).numpy()
        if not np.isfinite(vector).all():
            raise NotFinite("the derivatives of an observable are not finite numbers")
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
                "have a root or a power with an infinite slope there, or grow beyond all numbers"
            )
        return vector
