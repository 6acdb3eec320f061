"""The loss of a problem as a function of the unknowns' coordinates, differentiable in torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.errors import OdelibError
from odelib.information import FLAT
from odelib.layer import ODELayer
from odelib.measurements import Block, Measurements, Model, Scales
from odelib.parts import split
from odelib.problem.request import FitProblem
from odelib.regularisation import Regularisation
from odelib.solves import Solves
from odelib.tents import Tents
from odelib.unknowns import Unknowns, Vector


class NotFinite(OdelibError):
    """Loss or gradient is not a finite number at a point; the message says what and where."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and gradient at a point.

    coordinates, gradient: (free unknowns,), the gradient with respect to the coordinates. states: (N, n) at
    the times of all fitted series, one series after the other.
    """

    coordinates: Vector
    loss: float
    gradient: Vector
    states: Tensor


@dataclass(frozen=True)
class Observed:
    """The model's observables at the fitted series' times, (N,) each, and the scales of the noise beside them."""

    model: Model
    scales: Scales


@dataclass(frozen=True)
class Curvature:
    """How the loss bends around a point.

    rows: their squares sum up to the Gauss–Newton matrix, (k, count), which for noise with tips is the expected
    information. smooth: of these the ones by which the loss itself bends. tents: its parts that have tips instead.
    """

    rows: Vector
    smooth: Vector
    tents: Tents


class Objective:
    """The loss of a problem: that of the measurements, the penalty, and −log of the priors."""

    def __init__(self, problem: FitProblem, unknowns: Unknowns, layer: ODELayer, device: torch.device) -> None:
        self.unknowns = unknowns
        self.layer = layer
        self.fitted, self.held_out = split(problem)
        self.solves = Solves(self.fitted, unknowns, layer, device)
        solver = problem.solver
        self.measurements = Measurements(self.fitted, problem.noise, rtol=solver.rtol, atol=solver.atol, device=device)
        self.regularisation = Regularisation(problem, unknowns)
        self.has_regularisation = problem.penalty is not None or any(e.prior for e in unknowns.entries.values())
        self._device = device

    def evaluate(self, coordinates: Vector) -> Evaluation:
        """Loss, gradient and states at a point. Raises `SolveError` or `NotFinite`."""
        point = torch.tensor(coordinates, device=self._device, requires_grad=self.unknowns.count > 0)
        parameters, initial_states = self.unknowns.values(point)
        states = self.solves.states(parameters, initial_states)
        model = self.solves.observe(states, parameters)
        scales = self.measurements.scales(model)
        data = self.measurements.loss(model, scales)
        value = self._finite_data(data, model, scales)
        return self._with_added(coordinates, value, self._gradient(data, point), states.detach())

    def _finite_data(self, data: Tensor, model: Model, scales: Scales) -> float:
        value = data.item() + self.measurements.prior_loss(scales)
        if not math.isfinite(value):
            raise NotFinite(self.measurements.first_not_finite(model) or "the loss is too large for a number")
        return value

    def _with_added(self, coordinates: Vector, value: float, gradient: Vector, states: Tensor) -> Evaluation:
        """The evaluation, penalty and priors added to loss and gradient of the measurements."""
        if self.has_regularisation:
            added = self.regularisation.at(coordinates)
            value += added.penalty + added.prior
            gradient = gradient + added.gradient
        if not math.isfinite(value) or not np.isfinite(gradient).all():
            raise NotFinite(self._not_finite(value, gradient))
        return Evaluation(coordinates.copy(), value, gradient, states)

    def observed(self, coordinates: Vector, states: Tensor) -> Observed:
        """The observables and scales of a point whose states are known."""
        with torch.no_grad():
            parameters, _ = self.unknowns.values(torch.tensor(coordinates, device=self._device))
            model = self.solves.observe(states, parameters)
            return Observed(model, self.measurements.scales(model))

    def blocks(self, coordinates: Vector) -> list[Block]:
        """The expected information of the measurements about coordinates and scales.

        By forward sensitivities: one solve a series, whatever the number of observations. Raises as `evaluate`.
        """
        _, model, slopes = self.solves.slopes(coordinates)
        return self._finite(self.measurements.blocks(model, slopes, self.measurements.scales(model)))

    def curvature(self, coordinates: Vector) -> Curvature:
        """How the loss bends around a point; estimated scales go with it, as in `evaluate`. Raises as that."""
        _, model, slopes = self.solves.slopes(coordinates)
        return self._curvature(coordinates, model, slopes, self.measurements.scales(model))

    def linearise(self, coordinates: Vector) -> tuple[Evaluation, Curvature]:
        """`evaluate` and `curvature` by one solve a series, by forward sensitivities alone."""
        states, model, slopes = self.solves.slopes(coordinates)
        model = {name: column.clone().requires_grad_() for name, column in model.items()}
        scales = self.measurements.scales(model)
        data = self.measurements.loss(model, scales)
        value = self._finite_data(data, model, scales)
        by_model = torch.autograd.grad(data, list(model.values()), allow_unused=True)
        gradient = np.zeros(self.unknowns.count)
        for slope, along in zip(by_model, slopes.values(), strict=True):
            gradient += 0.0 if slope is None else slope.cpu().numpy() @ along
        model = {name: column.detach() for name, column in model.items()}
        evaluation = self._with_added(coordinates, value, gradient, states)
        return evaluation, self._curvature(coordinates, model, slopes, scales)

    def _curvature(self, coordinates: Vector, model: Model, slopes: Mapping[str, Vector], scales: Scales) -> Curvature:
        blocks = self._finite(self.measurements.blocks(model, slopes, scales))
        added = np.diag(np.sqrt(self.regularisation.information(coordinates)))
        rows = [without_scales(block) for block in blocks]
        return Curvature(
            rows=np.concatenate([*rows, added]),
            smooth=np.concatenate([*(r for r, b in zip(rows, blocks, strict=True) if b.is_smooth), added]),
            tents=Tents.joined(
                [self.measurements.tents(model, slopes, scales), self.regularisation.tents(coordinates)]
            ),
        )

    @staticmethod
    def _finite(blocks: list[Block]) -> list[Block]:
        with np.errstate(over="ignore"):  # their squares are what counts
            if not all(np.isfinite(np.square(block.along).sum()) for block in blocks):
                raise NotFinite("the derivatives of an observable are not finite numbers, or too large to be squared")
        return blocks

    def _gradient(self, loss: Tensor, point: Tensor) -> Vector:
        if not point.requires_grad:
            return np.zeros(0)
        if not loss.requires_grad:  # no unknown takes part in what was measured
            return np.zeros(len(point))
        (gradient,) = torch.autograd.grad(loss, point, allow_unused=True)
        vector: Vector = np.zeros(len(point)) if gradient is None else gradient.cpu().numpy()
        return vector

    def _not_finite(self, value: float, gradient: Vector) -> str:
        if not math.isfinite(value):
            return "the priors or the penalty are not finite there"
        bad = [name for name, entry in zip(self.unknowns.names, gradient, strict=True) if not np.isfinite(entry)]
        return (
            f"the loss's derivative with respect to {', '.join(bad)} is not a finite number; an equation may "
            "have a root or a power with an infinite slope there, or grow beyond all numbers"
        )


def without_scales(block: Block) -> Vector:
    """The rows by the unknowns alone, the scales going with them: what the scales' own rows cannot explain of them."""
    if not np.any(block.scales):
        return block.along
    columns, lengths, _ = np.linalg.svd(block.scales, full_matrices=False)
    columns = columns[:, lengths > FLAT * lengths[0]]  # scales that are one and the same, or hardly count, take nothing
    return np.array(block.along - columns @ (columns.T @ block.along))
