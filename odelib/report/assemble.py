"""From the best point to the result that a caller reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.autograd.functional import jacobian as jacobian_of

from odelib.engines.base import StopCheck
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.torch_program import TorchProgram
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import Model
from odelib.objective.objective import Evaluation, NotFinite, Objective
from odelib.optimisers.evaluator import Counts, Evaluator
from odelib.problem.data_split import SeriesSlice
from odelib.problem.noise import AnyNoise
from odelib.problem.predictions import Prediction
from odelib.problem.request import FitProblem
from odelib.report.predictions import Predictor, columns, failed_prediction, sparse_columns
from odelib.report.warnings import Cautions
from odelib.result import (
    OUTCOMES,
    Covariance,
    Dense,
    Estimate,
    FitResult,
    LossParts,
    NoiseEstimate,
    Outcome,
    OutcomeCode,
    PredictionResult,
    Profile,
    SolverUsed,
    StageReport,
    Statistics,
    Trajectory,
)
from odelib.uncertainty.covariance import Errors, Interval, Uncertainty
from odelib.uncertainty.profile_likelihood import Profiler

DENSE_POINTS = 401
ENDED_BY_ITSELF: tuple[OutcomeCode, ...] = ("converged", "step_limit", "no_progress")


class Report:
    """Assembles the result at the best point."""

    def __init__(
        self,
        problem: FitProblem,
        objective: Objective,
        best: Evaluation,
        stages: list[StageReport],
        solver: Callable[[], SolverUsed],
    ) -> None:
        self.problem = problem
        self.objective = objective
        self.best = best
        self.stages = stages
        self.solver = solver
        self.layer = objective.layer
        self.unknowns = objective.unknowns
        self.point = self.unknowns.point(best.coordinates)
        self.observed = objective.observed(best.coordinates, best.states)
        self.device = best.states.device
        self.parts = self._loss_parts()
        self.uncertainty: Uncertainty | None = None  # where it was asked for
        self.flat: list[str] | None = None  # unknowns that take part in a flat direction; None where that is not known
        self.errors: Errors | None = None
        self.no_errors: str | None = None  # why, where there are none
        self.profiles: dict[str, Profile] = {}
        self.ends: dict[str, tuple[float | None, float | None]] = {}  # of the intervals that profiles give

    def complete(self, code: OutcomeCode, stop: StopCheck) -> FitResult:
        """With dense trajectories, predictions and profiles. Where `stop` gives a reason these are left short.

        Raises `BetterFound` where a profile shows that the best point is none.
        """
        self.layer.stop = stop
        self._find_errors(code)
        if self.problem.uncertainty == "profile" and self.uncertainty:
            self._find_profiles(self.uncertainty, stop)
        with torch.no_grad():
            dense = [self._dense(part) for part in self.objective.fitted]
            predictor = Predictor(self.problem, self.objective, self.best, self.observed.scales, self.errors)
            predictions = [predictor.predict(asked, stop) for asked in self.problem.predictions]
            held_out = [predictor.hold_out(part, stop) for part in self.objective.held_out]
        return self._result(code, dense, predictions, held_out)

    def partial(self, code: OutcomeCode) -> FitResult:
        """From what has been solved already: the dense trajectory has the data's times, no prediction is made."""
        reason = "the fit was cut off before its predictions were made"
        predictions = [failed_prediction(asked, "not_made", reason) for asked in self.problem.predictions]
        held_out = [
            failed_prediction(Prediction(name=part.name, times=part.times), "not_made", reason)
            for part in self.objective.held_out
        ]
        with torch.no_grad():
            return self._result(code, [None] * len(self.objective.fitted), predictions, held_out)

    def _result(
        self,
        code: OutcomeCode,
        dense: list[Dense | None],
        predictions: list[PredictionResult],
        held_out: list[PredictionResult],
    ) -> FitResult:
        own_derived = self._own_derived()
        trajectories = self._trajectories(dense, own_derived)
        system = self.layer.system
        shared = [name for name in system.parameters if not self.unknowns.is_own(0, name)]
        shared_derived = [name for name in system.derived if not self._derived_is_own(name)]
        derived = self._derived(0, shared_derived)
        lost = [name for name in system.derived if all(name not in found for found in (derived, *own_derived))]
        cautions = Cautions(self.objective, self.best, self.observed, self.stages)
        missed = None if self.problem.uncertainty == "none" else self.no_errors
        first = trajectories[0].initial_state if self.objective.fitted[0].index == 0 else self._initial_state(0)
        return FitResult(
            loss=self.best.loss,
            loss_parts=self.parts,
            observations=self.objective.measurements.observations,
            outcome=Outcome(code=code, message=OUTCOMES[code]),
            parameters=self._estimates(0, {name: self.point.parameters[0][name] for name in shared}),
            initial_state=first,
            derived=derived or None,
            noise=self._noise(),
            stages=self.stages,
            trajectories=trajectories,
            predictions=predictions or None,
            hold_out=held_out or None,
            covariance=self._covariance(),
            profiles=self.profiles or None,
            warnings=cautions.all(code, predictions + held_out, self.flat, missed, self._open_ends(), lost),
            statistics=self._statistics(self.observed.model),
            solver=self.solver(),
        )

    def _open_ends(self) -> list[str]:
        return [name for name, ends in self.ends.items() if None in ends]

    def _loss_parts(self) -> LossParts:
        measurements, scales = self.objective.measurements, self.observed.scales
        added = self.objective.regularisation.at(self.best.coordinates)
        return LossParts(
            data=measurements.loss(self.observed.model, scales)[0],
            penalty=added.penalty,
            prior=added.prior + measurements.prior_loss(scales),
        )

    def _find_errors(self, code: OutcomeCode) -> None:
        """What the data tell of the unknowns: flat directions always, where they cost no more than a gradient did."""
        asked, cheap = self.problem.uncertainty != "none", isinstance(self.layer.engine, CompiledEngine)
        if not self.unknowns.count:
            self.no_errors = "nothing was free to be fitted"
            return
        if not (asked or (cheap and code in ENDED_BY_ITSELF)):
            return
        try:
            blocks = self.objective.blocks(self.best.coordinates)
        except StopRequested as stop:
            if stop.reason != "time_limit":
                raise
            self.no_errors = "the time limit came first"
            return
        except (SolveError, NotFinite) as error:
            self.no_errors = f"the derivatives of the model could not be computed: {error}"
            return
        added = self.objective.regularisation.information(self.best.coordinates)
        found = Uncertainty(self.unknowns, self.best.coordinates, blocks, added, self.objective.measurements)
        self.flat = found.flat
        if not asked:
            return
        self.uncertainty, self.errors = found, Errors(found, self.parts.data)
        if not self.errors.usable:
            self.no_errors = "there are not more observations than free unknowns, so that no scale can be estimated"

    def _find_profiles(self, uncertainty: Uncertainty, stop: StopCheck) -> None:
        if uncertainty.quantile is None:
            return
        freedom = uncertainty.degrees_of_freedom if uncertainty.estimates_scale else None
        profiler = Profiler(Evaluator(self.objective, self.best, Counts(), None, stop, lambda _: None), freedom)
        widths = self._widths(uncertainty)
        try:
            for place, name in enumerate(self.unknowns.names):
                self.profiles[name], *ends = profiler.profile(place, widths[place])
                self.ends[name] = (ends[0], ends[1])
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            self.no_errors = f"the time limit came before the profile of {name!r:.80} and those after it"

    def _widths(self, uncertainty: Uncertainty) -> list[float | None]:
        """How far from the best point the covariance's intervals end, in coordinates; None where it has none."""
        matrix = uncertainty.covariance(self.parts.data)
        if matrix is None:
            return [None] * self.unknowns.count
        widths = (uncertainty.quantile or 0.0) * np.sqrt(np.maximum(np.diag(matrix), 0.0))
        return [
            float(width) if known and width else None for width, known in zip(widths, uncertainty.known, strict=True)
        ]

    def _estimates(self, index: int, values: Mapping[str, float]) -> dict[str, Estimate]:
        estimates = {}
        for name, value in values.items():
            full = self.unknowns.name_of(index, name)
            interval = self.errors.of(full) if self.errors else None
            estimate = _estimate(value, interval, fixed=self.unknowns.is_fixed(full))
            if full in self.ends:
                low, high = self.ends[full]
                estimate = estimate.model_copy(update={"lower_95": low, "upper_95": high})
            estimates[name] = estimate
        return estimates

    def _initial_state(self, index: int) -> dict[str, Estimate]:
        return self._estimates(index, self.point.initial_states[index])

    def _noise(self) -> dict[str, NoiseEstimate] | None:
        if self.problem.noise is None:
            return None
        intervals = self.errors.of_scales(self.observed.scales) if self.errors else {}
        found = {}
        for name in self.objective.measurements.observables:
            estimated = self.objective.measurements.estimated_scales(name)
            values = dict(zip(estimated, self.observed.scales.get(name, np.zeros(0)).tolist(), strict=True))
            errors = dict(zip(estimated, intervals.get(name, [None] * len(estimated)), strict=True))
            scales = {scale: _estimate(value, errors[scale]) for scale, value in values.items()}
            found[name] = NoiseEstimate(**(_given_scales(self.problem.noise[name]) | scales))
        return found

    def _derived_is_own(self, name: str) -> bool:
        """Whether a derived quantity depends on what is an experiment's own: parameters or overridden constants."""
        own = set(self.problem.per_experiment)
        if self.unknowns.series_count > 1:
            own |= {constant for series in self.problem.series for constant in series.constants}
        return bool(self.layer.system.derived[name].names & own)

    def _own_derived(self) -> list[dict[str, Estimate]]:
        own = [name for name in self.layer.system.derived if self._derived_is_own(name)]
        return [self._derived(part.index, own) for part in self.objective.fitted]

    def _derived(self, index: int, names: list[str]) -> dict[str, Estimate]:
        """Derived quantities of a series, their errors by the delta method."""
        system = self.layer.system
        if not names:
            return {}
        program = TorchProgram([system.derived[name] for name in names], [])
        constants = dict(zip(system.constants, self.unknowns.constants[index].tolist(), strict=True))

        def values(parameters: Tensor) -> Tensor:
            named = dict(zip(system.parameters, parameters.unbind(), strict=True))
            return torch.stack(program.bind({**constants, **named}, self.device)())

        parameters = self.unknowns.values(self.best.coordinates)[0][index]
        found = values(parameters).cpu().numpy()
        intervals: list[Interval | None] | None = None
        if self.errors:
            with torch.enable_grad():
                by_parameter = jacobian_of(values, parameters).cpu().numpy()  # type: ignore[no-untyped-call]
            slopes = by_parameter @ self.unknowns.slopes(self.best.coordinates)[0][index]
            intervals = [  # what depends on unknowns at bounds alone has none, as these
                None if interval.standard_error == 0 and slope.any() else interval
                for interval, slope in zip(self.errors.along(found, slopes) or [], slopes, strict=False)
            ] or None
        return {
            name: _estimate(value, intervals[i] if intervals else None)
            for i, (name, value) in enumerate(zip(names, found.tolist(), strict=True))
            if math.isfinite(value)
        }

    def _covariance(self) -> Covariance | None:
        found = self.errors.covariance() if self.errors else None
        return Covariance(names=found[0], matrix=found[1]) if found else None

    def _trajectories(self, dense: list[Dense | None], derived: list[dict[str, Estimate]]) -> list[Trajectory]:
        trajectories, fitted = self.objective.trajectories, self.objective.fitted
        residuals = self.objective.measurements.residuals(self.observed.model, self.observed.scales)
        found = []
        for i, (part, rows) in enumerate(zip(fitted, trajectories.slices, strict=True)):
            own = {n: v for n, v in self.point.parameters[part.index].items() if self.unknowns.is_own(part.index, n)}
            states = columns(self._by_state(self.best.states[rows]))
            values = sparse_columns({name: column[rows] for name, column in self.observed.model.items()})
            found.append(
                Trajectory(
                    name=part.name,
                    initial_state=self._initial_state(part.index),
                    parameters=self._estimates(part.index, own) or None,
                    derived=derived[i] or None,
                    times=part.times,
                    states=states,
                    values=values,
                    residuals=residuals[i],
                    dense=dense[i] or Dense(times=part.times, states=states, values=values),
                )
            )
        return found

    def _dense(self, part: SeriesSlice) -> Dense | None:
        grid = torch.linspace(part.start, part.times[-1], DENSE_POINTS, dtype=torch.float64, device=self.device)
        if part.start == part.times[-1]:
            grid = grid[:1]
        grid[-1] = part.times[-1]
        parameters, start = (values[part.index] for values in self.unknowns.values(self.best.coordinates))
        constants = self.unknowns.constants[part.index]
        try:
            with torch.enable_grad():  # with the sensitivities, as in the fit, so that the solver takes the same steps
                states = self.layer(grid, start.requires_grad_(), parameters.requires_grad_(), constants).detach()
        except SolveError:  # the step limit is met by a hair: the trajectory at the data's times still stands
            return None
        except StopRequested as stop:
            if stop.reason != "time_limit":
                raise
            return None
        model = self.layer.observe(grid, states, parameters.detach(), constants)
        return Dense(times=grid.tolist(), states=columns(self._by_state(states)), values=sparse_columns(model))

    def _by_state(self, states: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.layer.system.states, states.unbind(-1), strict=True))

    def _statistics(self, model: Model) -> Statistics:
        """AIC and BIC; without noise those of a normal likelihood with a scale estimated."""
        measurements = self.objective.measurements
        count, r_squared = measurements.observations, measurements.r_squared(model)
        if measurements.is_likelihood:
            k, base = self.unknowns.count + measurements.scale_count, 2 * self.parts.data
        elif self.parts.data > 0:
            k, base = self.unknowns.count + 1, count * math.log(self.parts.data / count)
        else:
            return Statistics(r_squared=r_squared)
        return Statistics(aic=base + 2 * k, bic=base + k * math.log(count), r_squared=r_squared)


def _given_scales(settings: AnyNoise) -> dict[str, Estimate]:
    given = {scale: getattr(settings, scale, None) for scale in ("sigma", "proportional")}
    return {scale: Estimate(value=value, fixed=True) for scale, value in given.items() if isinstance(value, float)}


def _estimate(value: float, interval: Interval | None, *, fixed: bool = False) -> Estimate:
    if interval is None or fixed:
        return Estimate(value=value, fixed=True if fixed else None)
    return Estimate(
        value=value, standard_error=interval.standard_error, lower_95=interval.lower, upper_95=interval.upper
    )
