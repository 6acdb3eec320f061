"""The loss of a problem as a function of the unknowns' coordinates, differentiable in torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import StopCheck, never
from odelib.engines.layer import ODELayer
from odelib.errors import OdelibError
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.fisher_information import FLAT_TOLERANCE
from odelib.likelihood.measurements import InformationBlock, Measurements, Model, Scales
from odelib.objective.regularisation import Regularisation
from odelib.objective.trajectories import Trajectories
from odelib.objective.unknowns import Unknowns
from odelib.problem.resolved import ResolvedProblem


class NotFinite(OdelibError):
    """Loss or gradient is not a finite number at a point; the message says what and where."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and gradient at a point.

    coordinates, gradient: (free unknowns,), the gradient with respect to the coordinates. states: (N, n) at
    the times of all fitted series, one series after the other.
    """

    coordinates: Reals
    loss: float
    gradient: Reals
    states: Tensor


@dataclass(frozen=True)
class ModelOutput:
    """The model's observables at the fitted series' times, (N,) each, and the scales of the noise beside them."""

    model: Model
    scales: Scales


@dataclass(frozen=True)
class GaussNewton:
    """How the loss bends around a point.

    rows: their squares sum up to the Gauss–Newton matrix, (k, count), which for noise with tips is the expected
    information. smooth: of these the ones by which the loss itself bends. absolute_terms: its parts that have kinks
    instead.
    """

    jacobian: Reals
    smooth_jacobian: Reals
    absolute_terms: AbsoluteTerms


class Objective:
    """The loss of a problem: that of the measurements, the penalty, and −log of the priors."""

    def __init__(self, problem: ResolvedProblem, device: torch.device, stop: StopCheck = never) -> None:
        request, solver = problem.request, problem.request.solver
        self.unknowns = unknowns = Unknowns(problem, device)
        self.layer = layer = ODELayer(
            problem.system,
            engine=problem.engine,
            method=problem.method,
            rtol=solver.rtol,
            atol=solver.atol,
            max_steps=solver.max_steps,
        )
        layer.stop, layer.differentiate_by = stop, unknowns.differentiate_by
        self.fitted, self.held_out = problem.fitted, problem.held_out
        self.trajectories = Trajectories(self.fitted, unknowns, layer, device)
        self.measurements = Measurements(self.fitted, request.noise, rtol=solver.rtol, atol=solver.atol)
        self.regularisation = Regularisation(problem, unknowns)
        self.has_regularisation = request.penalty is not None or any(e.prior for e in unknowns.entries.values())

    def evaluate(self, coordinates: Reals) -> Evaluation:
        """Loss, gradient and states at a point. Raises `SolveError` or `NotFinite`."""
        values = parameters, initial_states = [each.requires_grad_() for each in self.unknowns.values(coordinates)]
        states = self.trajectories.states(parameters, initial_states)
        model = self.trajectories.observe(states, parameters)
        scales = self.measurements.concentrated_scales(model)
        value, slopes = self._data(model, scales)
        gradient = self.unknowns.gradient(coordinates, *_backwards(model, slopes, values))
        return self._with_added(coordinates, value, gradient, states.detach())

    def _data(self, model: Model, scales: Scales) -> tuple[float, Mapping[str, Reals]]:
        """The loss of the measurements with the priors of their scales, and its derivatives by the observables."""
        loss, slopes = self.measurements.loss(model, scales)
        value = loss + self.measurements.prior_loss(scales)
        if not math.isfinite(value):
            raise NotFinite(self.measurements.describe_invalid(model) or "the loss is too large for a number")
        return value, slopes

    def _with_added(self, coordinates: Reals, value: float, gradient: Reals, states: Tensor) -> Evaluation:
        """The evaluation, penalty and priors added to loss and gradient of the measurements."""
        if self.has_regularisation:
            added = self.regularisation.evaluate(coordinates)
            value += added.penalty + added.prior
            gradient = gradient + added.gradient
        if not math.isfinite(value) or not np.isfinite(gradient).all():
            raise NotFinite(self._not_finite(value, gradient))
        return Evaluation(coordinates.copy(), value, gradient, states)

    def model_output(self, coordinates: Reals, states: Tensor) -> ModelOutput:
        """The observables and scales of a point whose states are known."""
        model = self.trajectories.observe(states, self.unknowns.values(coordinates)[0])
        return ModelOutput(model, self.measurements.concentrated_scales(model))

    def information_blocks(self, coordinates: Reals) -> list[InformationBlock]:
        """The expected information of the measurements about coordinates and scales.

        By forward sensitivities: one solve a series, whatever the number of observations. Raises as `evaluate`.
        """
        _, model, slopes = self.trajectories.linearise(coordinates)
        return self._finite(self.measurements.information(model, slopes, self.measurements.concentrated_scales(model)))

    def gauss_newton(self, coordinates: Reals) -> GaussNewton:
        """How the loss bends around a point; estimated scales go with it, as in `evaluate`. Raises as that."""
        _, model, slopes = self.trajectories.linearise(coordinates)
        return self._gauss_newton(coordinates, model, slopes, self.measurements.concentrated_scales(model))

    def linearise(self, coordinates: Reals) -> tuple[Evaluation, GaussNewton]:
        """`evaluate` and `curvature` by one solve a series, by forward sensitivities alone."""
        states, model, slopes = self.trajectories.linearise(coordinates)
        scales = self.measurements.concentrated_scales(model)
        value, by_model = self._data(model, scales)
        gradient = np.zeros(self.unknowns.count)
        for name, slope in by_model.items():
            gradient += slope @ slopes[name]
        evaluation = self._with_added(coordinates, value, gradient, states)
        return evaluation, self._gauss_newton(coordinates, model, slopes, scales)

    def _gauss_newton(
        self, coordinates: Reals, model: Model, slopes: Mapping[str, Reals], scales: Scales
    ) -> GaussNewton:
        blocks = self._finite(self.measurements.information(model, slopes, scales))
        added = np.diag(np.sqrt(self.regularisation.information(coordinates)))
        rows = [eliminate_scales(block) for block in blocks]
        return GaussNewton(
            jacobian=np.concatenate([*rows, added]),
            smooth_jacobian=np.concatenate([*(r for r, b in zip(rows, blocks, strict=True) if b.is_smooth), added]),
            absolute_terms=AbsoluteTerms.joined(
                [
                    self.measurements.absolute_terms(model, slopes, scales),
                    self.regularisation.absolute_terms(coordinates),
                ]
            ),
        )

    @staticmethod
    def _finite(blocks: list[InformationBlock]) -> list[InformationBlock]:
        with np.errstate(over="ignore"):  # their squares are what counts
            if not all(np.isfinite(np.square(block.jacobian).sum()) for block in blocks):
                raise NotFinite("the derivatives of an observable are not finite numbers, or too large to be squared")
        return blocks

    def _not_finite(self, value: float, gradient: Reals) -> str:
        if not math.isfinite(value):
            return "the priors or the penalty are not finite there"
        bad = [name for name, entry in zip(self.unknowns.names, gradient, strict=True) if not np.isfinite(entry)]
        return (
            f"the loss's derivative with respect to {', '.join(bad)} is not a finite number; an equation may "
            "have a root or a power with an infinite slope there, or grow beyond all numbers"
        )


def _backwards(model: Model, slopes: Mapping[str, Reals], values: Sequence[Tensor]) -> list[Reals]:
    """The derivatives of a loss by `values`, from those by the observables, (N,) each; 0 where it does not depend."""
    depending = [name for name in slopes if model[name].requires_grad]
    if not depending:
        return [np.zeros(each.shape) for each in values]
    along = [torch.from_numpy(slopes[name]).to(model[name].device) for name in depending]
    found = torch.autograd.grad([model[name] for name in depending], values, along, allow_unused=True)
    return [np.zeros(each.shape) if by is None else by.cpu().numpy() for by, each in zip(found, values, strict=True)]


def eliminate_scales(block: InformationBlock) -> Reals:
    """The rows by the unknowns alone, the scales going with them: what the scales' own rows cannot explain of them."""
    if not np.any(block.scale_jacobian):
        return block.jacobian
    columns, lengths, _ = np.linalg.svd(block.scale_jacobian, full_matrices=False)
    # scales that are one and the same, or hardly count, take nothing
    columns = columns[:, lengths > FLAT_TOLERANCE * lengths[0]]
    return np.array(block.jacobian - columns @ (columns.T @ block.jacobian))
