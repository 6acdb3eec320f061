"""The loss of a problem as a function of the unknowns' coordinates: value, gradient and Gauss–Newton matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import Engine, Happened, SolverOptions, StopCheck, never
from odelib.engines.layer import ODELayer
from odelib.engines.missing_values import describe_observable
from odelib.errors import OdelibError, SolveError
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.fisher_information import FLAT_TOLERANCE
from odelib.likelihood.measurements import InformationBlock, Measurements, Model, Scales
from odelib.likelihood.resolution import tolerance_limits
from odelib.objective.model_columns import ModelColumns
from odelib.objective.regularisation import Regularisation
from odelib.objective.series_protocols import SeriesProtocols
from odelib.objective.switches import Switches
from odelib.objective.trajectories import Linearised, Trajectories
from odelib.objective.unknowns import Unknowns
from odelib.problem.noise import AnyNoise
from odelib.problem.resolved import ResolvedProblem

ZERO_SIZE = 0.25  # of the data's spread: by how much the size of a guess of 0 changes the model


class NotFinite(OdelibError):
    """The loss or a derivative is not a finite number at a point; the message says which, and why if that is known."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and gradient at a point.

    coordinates: (count,). gradient: by the coordinates, (count,). states: (N, n), at the rows of `Trajectories`. steps:
    the solver's, of the trajectory that took most; 0 if unknown.
    """

    coordinates: Reals
    loss: float
    gradient: Reals
    states: Tensor
    steps: int = 0


@dataclass(frozen=True)
class ModelOutput:
    """The observables at the fitted times, (N,) each, and the estimated noise scales that fit them best.

    model: the observables, and the sigmas that are expressions.
    """

    model: Model
    scales: Scales
    observables: Mapping[str, Tensor]


@dataclass(frozen=True)
class GaussNewton:
    """The Gauss–Newton matrix H = JᵀJ at a point, as its factor J.

    jacobian: J, (k, count): the Jacobian of the scaled residuals, with rows for priors and penalty. Under a likelihood
    H is the expected information. smooth_jacobian: the rows of J for terms of the loss without kinks. absolute_terms:
    the terms with kinks, whose information is not their curvature.
    """

    jacobian: Reals
    smooth_jacobian: Reals
    absolute_terms: AbsoluteTerms


class Objective:
    """The loss of a problem: that of the measurements, the penalty, and −log of the priors.

    Estimated noise scales are no coordinates: they are concentrated out, so that at each point they are those with the
    least loss, and the gradient is the one at constant scales (envelope theorem).
    """

    def __init__(self, problem: ResolvedProblem, device: torch.device, stop: StopCheck = never) -> None:
        request, solver = problem.request, problem.request.solver
        self._problem, self._device = problem, device
        self._max_steps = solver.max_steps
        self.unknowns = unknowns = Unknowns(problem, device)
        self.layer = layer = ODELayer(
            problem.solved_system,
            engine=problem.engine,
            method=problem.method,
            rtol=solver.rtol,
            atol=solver.atol,
            max_steps=solver.max_steps,
        )
        limits = tolerance_limits(problem.fitted, request.noise, problem.system.states)
        if limits:
            of_states = tuple(limits.get(state, math.inf) for state in problem.system.states)
            layer.options = replace(layer.options, max_atol=of_states)
        layer.stop, layer.differentiate_by = stop, unknowns.differentiate_by
        layer.needs_protocols = problem.has_protocols
        self.fitted, self.held_out = problem.fitted, problem.held_out
        self.switches = Switches(problem, unknowns)
        self.columns = ModelColumns(layer, problem.sigma_expressions)
        self.protocols = SeriesProtocols(problem, device)
        self.trajectories = Trajectories(self.fitted, unknowns, layer, self.columns, self.protocols, device)
        self.measurements = Measurements(
            self.fitted,
            request.noise,
            rtol=solver.rtol,
            atol=solver.atol,
            estimated_sigmas=problem.noise_parameters.keys(),
            limits=limits,
        )
        self.regularisation = Regularisation(problem, unknowns)
        self._device, self._noise, self._atol, self._rtol = device, request.noise, solver.atol, solver.rtol

    @cached_property
    def _held_out(self) -> tuple[Trajectories, Measurements]:
        """The trajectories of the held-out data, and their loss."""
        of_slices = self.held_out, self.unknowns, self.layer, self.columns, self.protocols, self._device
        return Trajectories(*of_slices), Measurements(self.held_out, self._noise, rtol=self._rtol, atol=self._atol)

    def held_out_loss(self, at: Evaluation) -> float:
        """The loss of the held-out data at a point, by the noise scales there; infinite where it has no value."""
        trajectories, measurements = self._held_out
        try:
            with torch.no_grad():
                parameters, initial_states = self.unknowns.values(at.coordinates)
                states = trajectories.states(parameters, initial_states)
                model = trajectories.observe(states, parameters)
        except SolveError:
            return math.inf
        loss, _ = measurements.loss(model, self.model_output(at.coordinates, at.states).scales)
        return loss if math.isfinite(loss) else math.inf

    @contextmanager
    def weight_decay(self, at_least: float) -> Iterator[None]:
        """Inside, the l2 of the weights of networks is at least so large."""
        own = self.unknowns.weight_decay
        self.unknowns.weight_decay = np.where(self.unknowns.is_weight, np.maximum(own, at_least), own)
        try:
            yield
        finally:
            self.unknowns.weight_decay = own

    def noise_of(self, observable: str) -> AnyNoise | None:
        """The settings of an observable's noise, None where the loss is a sum of squares."""
        noise = self._problem.request.noise
        return noise[observable] if noise is not None else None

    def window(self, fraction: float) -> Objective:
        """The objective of the first part of all series: this fraction of the times of each, at least one."""
        fitted = [each.select(range(max(1, round(fraction * len(each.times))))) for each in self.fitted]
        window = Objective(replace(self._problem, fitted=fitted), self._device, self.layer.stop)
        window.unknowns.set_sizes(self.unknowns.guess_sizes)
        return window

    @property
    def latest_work(self) -> int:
        """`work_of` the most steps of a trajectory since a point was last evaluated."""
        return self.work_of(self._most_steps)

    def work_of(self, steps: int) -> int:
        """How many numbers the solver computes, about, where all series take so many steps: states and derivatives.

        The same on every machine, however busy it is.
        """
        return len(self.fitted) * steps * len(self.layer.system.states) * (1 + self.layer.differentiate_by.count)

    @contextmanager
    def step_limit(self, limit: int) -> Iterator[None]:
        """Inside, a trajectory may take no more than so many steps, nor more than the request's `max_steps`."""
        self.layer.options = replace(self.layer.options, max_steps=min(limit, self._max_steps))
        try:
            yield
        finally:
            self.layer.options = replace(self.layer.options, max_steps=self._max_steps)

    def size_zero_guesses(self, points: Sequence[Reals]) -> None:
        """Find sizes for unknowns whose guess of 0 has no bounds: what changes the model by a quarter of its data.

        At the first of the points, (count,), that can be evaluated; the change is relative to the data's spread.
        """
        if not self.unknowns.needs_size.any():
            return
        for coordinates in points:
            try:
                _, model, jacobians = self.trajectories.linearise(coordinates)
                scales = self.measurements.concentrated_scales(model)
                blocks = self._information(model, jacobians, scales)
            except (SolveError, NotFinite):
                continue
            responses = np.linalg.norm(np.concatenate([block.jacobian for block in blocks]), axis=0)
            spread = math.sqrt(2 * self.measurements.loss_of_spread(model, scales))
            with np.errstate(all="ignore"):
                sizes = ZERO_SIZE * spread / responses
            self.unknowns.set_sizes(np.where(sizes > 0, sizes, np.nan))
            return

    def evaluate(self, coordinates: Reals) -> Evaluation:
        """Loss, gradient and states at a point, (count,). Raises `SolveError` or `NotFinite`."""
        self._reset_steps()
        inputs = parameters, initial_states = [each.requires_grad_() for each in self.unknowns.values(coordinates)]
        states = self.trajectories.states(parameters, initial_states)
        model = self.trajectories.observe(states, parameters)
        loss, by_model = self._data_loss(model, self.measurements.concentrated_scales(model), states, coordinates)
        gradient = self.unknowns.gradient(coordinates, *_backpropagate(model, by_model, inputs))
        if not np.isfinite(gradient).all():
            # An observable may be infinite where nothing is measured, or its slope where no unknown changes the states.
            # Backpropagation adds up times and unknowns before it meets the zeros; forward sensitivities do not.
            return self.linearise(coordinates)[0]
        return self._evaluation(coordinates, loss, gradient, states.detach())

    def linearise(self, coordinates: Reals) -> tuple[Evaluation, GaussNewton]:
        """`evaluate` and `gauss_newton` at once, by forward sensitivities. Raises as `evaluate`."""
        self._reset_steps()
        return self._evaluate_linearised(coordinates, self.trajectories.linearise(coordinates))

    def linearise_all(self, points: Sequence[Reals]) -> list[tuple[Evaluation, GaussNewton] | SolveError | NotFinite]:
        """`linearise` at several points, solved as one batch; the error where that fails."""
        self._reset_steps()
        found: list[tuple[Evaluation, GaussNewton] | SolveError | NotFinite] = []
        for coordinates, linearised in zip(points, self.trajectories.linearise_all(points), strict=True):
            if isinstance(linearised, SolveError):
                found.append(linearised)
                continue
            try:
                found.append(self._evaluate_linearised(coordinates, linearised))
            except NotFinite as error:
                found.append(error)
        return found

    def _evaluate_linearised(self, coordinates: Reals, linearised: Linearised) -> tuple[Evaluation, GaussNewton]:
        states, model, jacobians = linearised
        scales = self.measurements.concentrated_scales(model)
        loss, by_model = self._data_loss(model, scales, states, coordinates)
        gradient = np.zeros(self.unknowns.count)
        for name, derivatives in by_model.items():
            gradient += derivatives @ jacobians[name]
        evaluation = self._evaluation(coordinates, loss, gradient, states)
        return evaluation, self._gauss_newton(coordinates, model, jacobians, scales)

    def gauss_newton(self, coordinates: Reals) -> GaussNewton:
        """The Gauss–Newton matrix at a point, the estimated scales concentrated out. Raises as `evaluate`."""
        _, model, jacobians = self.trajectories.linearise(coordinates)
        return self._gauss_newton(coordinates, model, jacobians, self.measurements.concentrated_scales(model))

    def information_blocks(self, coordinates: Reals) -> list[InformationBlock]:
        """The expected information of the measurements about coordinates and scales. Raises as `evaluate`."""
        _, model, jacobians = self.trajectories.linearise(coordinates)
        return self._information(model, jacobians, self.measurements.concentrated_scales(model))

    def model_output(self, coordinates: Reals, states: Tensor) -> ModelOutput:
        """Observables and scales at a point whose states, (N, n), are known."""
        model = self.trajectories.observe(states, self.unknowns.values(coordinates)[0])
        observables = {name: model[name] for name in self.layer.system.observables}
        return ModelOutput(model, self.measurements.concentrated_scales(model), observables)

    def states(self, coordinates: Reals, options: SolverOptions) -> Tensor:
        """The states at a point, (N, n), solved with other options. Raises as `evaluate`."""
        own = self.layer.options
        self.layer.options = options
        try:
            return self.trajectories.states(*self.unknowns.values(coordinates))
        finally:
            self.layer.options = own

    def happened(self, coordinates: Reals) -> Sequence[Sequence[Happened]]:
        """The events of each fitted series, whose times are derived by what the layer is; comparisons among them.

        Raises as `evaluate`.
        """
        if not self.switches.depend_on_states:
            return ()
        with torch.enable_grad():
            return self.trajectories.happened(
                *(values.requires_grad_() for values in self.unknowns.values(coordinates))
            )

    def explain(self, states: Tensor, coordinates: Reals) -> Callable[[str, int], str | None]:
        """A function of an observable's name and a row of the states, (N, n): which part has no value, or None."""

        def explain(name: str, row: int) -> str | None:
            system, trajectories = self.layer.system, self.trajectories
            if name not in system.observables:  # a sigma
                return None
            values = trajectories.values_of_row(row, self.unknowns.values(coordinates)[0])
            return describe_observable(system, name, float(trajectories.times[row]), states[row].tolist(), values)

        return explain

    def _data_loss(
        self, model: Model, scales: Scales, states: Tensor, coordinates: Reals
    ) -> tuple[float, Mapping[str, Reals]]:
        """The loss of the measurements and the priors of their scales; its derivatives by the observables, (N,)."""
        loss, by_model = self.measurements.loss(model, scales)
        loss += self.measurements.prior_loss(scales)
        if not math.isfinite(loss):
            invalid = self.measurements.describe_invalid(model, self.explain(states.detach(), coordinates))
            raise NotFinite(invalid or "the loss is too large to be computed")
        return loss, by_model

    def _evaluation(self, coordinates: Reals, data_loss: float, data_gradient: Reals, states: Tensor) -> Evaluation:
        """Add the penalty and the priors of the unknowns."""
        loss, gradient = data_loss, data_gradient
        if not self.regularisation.is_empty:
            added = self.regularisation.evaluate(coordinates)
            loss = loss + (added.penalty + added.prior)
            gradient = gradient + added.gradient
        if not math.isfinite(loss):
            raise NotFinite("the penalty or the density of a prior is not finite")
        if not np.isfinite(gradient).all():
            raise NotFinite(self._describe(gradient))
        return Evaluation(coordinates.copy(), loss, gradient, states, self._most_steps)

    @property
    def _engines(self) -> tuple[Engine, Engine]:
        return self.layer.engine, self.layer.sensitivity_engine

    @property
    def _most_steps(self) -> int:
        return max(engine.most_steps for engine in self._engines)

    def _reset_steps(self) -> None:
        for engine in self._engines:
            engine.most_steps = 0

    def _describe(self, gradient: Reals) -> str:
        names = [name for name, entry in zip(self.unknowns.names, gradient, strict=True) if not np.isfinite(entry)]
        return (
            f"the derivative of the loss with respect to {', '.join(names)} is not finite; an equation may contain a "
            "root or a power whose derivative is infinite there, or the solution may grow too large"
        )

    def _gauss_newton(
        self, coordinates: Reals, model: Model, jacobians: Mapping[str, Reals], scales: Scales
    ) -> GaussNewton:
        blocks = self._information(model, jacobians, scales)
        of_blocks = [eliminate_scales(block) for block in blocks]
        smooth = [
            rows if block.is_smooth else rows[block.measurements :]
            for rows, block in zip(of_blocks, blocks, strict=True)
        ]
        of_regularisation = np.diag(np.sqrt(self.regularisation.information(coordinates)))
        absolute_terms = [
            self.measurements.absolute_terms(model, jacobians, scales),
            self.regularisation.absolute_terms(coordinates),
        ]
        return GaussNewton(
            jacobian=np.concatenate([*of_blocks, of_regularisation]),
            smooth_jacobian=np.concatenate([*smooth, of_regularisation]),
            absolute_terms=AbsoluteTerms.joined(absolute_terms),
        )

    def _information(self, model: Model, jacobians: Mapping[str, Reals], scales: Scales) -> list[InformationBlock]:
        blocks = self.measurements.information(model, jacobians, scales)
        with np.errstate(over="ignore"):
            if not all(np.isfinite(np.square(block.jacobian).sum()) for block in blocks):
                raise NotFinite("the derivatives of an observable are not finite, or too large to be squared")
        return blocks


def _backpropagate(model: Model, by_model: Mapping[str, Reals], inputs: Sequence[Tensor]) -> list[Reals]:
    """The derivatives of a loss by `inputs`, from those by the observables, (N,) each."""
    depending = [name for name in by_model if model[name].requires_grad]
    if not depending:
        return [np.zeros(each.shape) for each in inputs]
    outputs = [model[name] for name in depending]
    by_outputs = [torch.from_numpy(by_model[name]).to(model[name].device) for name in depending]
    found = torch.autograd.grad(outputs, inputs, by_outputs, allow_unused=True)
    return [np.zeros(each.shape) if by is None else by.cpu().numpy() for by, each in zip(found, inputs, strict=True)]


def eliminate_scales(block: InformationBlock) -> Reals:
    """The Jacobian of a block by the unknowns, (k, unknowns), if the scales are estimated along with these.

    With S the Jacobian by the scales, that is (I − Q·Qᵀ)·J, where Q is an orthonormal basis of the columns of S. Its
    square is the Schur complement JᵀJ − JᵀS·(SᵀS)⁻¹·SᵀJ, whose inverse is the unknowns' part of the joint covariance;
    the projection loses half as many digits and needs no inverse of SᵀS, which is singular if two scales do the same.
    """
    if not np.any(block.scale_jacobian):
        return block.jacobian
    basis, lengths, _ = np.linalg.svd(block.scale_jacobian, full_matrices=False)
    basis = basis[:, lengths > FLAT_TOLERANCE * lengths[0]]
    return np.array(block.jacobian - basis @ (basis.T @ block.jacobian))
