"""Predictions from the best point: solved accurately, scored against given values, with 95 % bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.base import StopCheck
from odelib.engines.layer import ODELayer, ProtocolSettings
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import Measurements
from odelib.objective.model_columns import ModelColumns
from odelib.objective.observable_sensitivities import Seen, observable_sensitivities
from odelib.problem.data_split import SeriesSlice
from odelib.problem.predictions import Prediction
from odelib.report.best_point import BestPoint
from odelib.report.trajectories import lists, lists_with_null
from odelib.result import PredictionError, PredictionResult
from odelib.uncertainty.covariance import StandardErrors

RESOLVED = 1e-12  # of an observable's size; what is smaller may be an error of the solver
# under tight tolerances a method of order 2 or 3 would need too many steps
TIGHT_METHODS = dict.fromkeys(("bosh3", "fehlberg2", "adaptive_heun"), "dopri5")
Columns = dict[str, list[float | None]]


@dataclass(frozen=True)
class _InitialValueProblem:
    """One trajectory to solve.

    times: (T,), initial_state: (n,), parameters: (p,), constants: (c,). done: what was done in it. columns: what is
    observed of it.
    """

    layer: ODELayer
    columns: ModelColumns
    times: Tensor
    initial_state: Tensor
    parameters: Tensor
    constants: Tensor
    done: ProtocolSettings

    def states(self) -> Tensor:
        """The states at the times, (T, n). Raises `SolveError` and `StopRequested`."""
        return self.layer.solve(self.times, self.initial_state, self.parameters, self.constants, self.done).states

    def observe(self, states: Tensor) -> dict[str, Tensor]:
        """The columns at all times, (T,) each, from the states (T, n)."""
        return self.columns(self.times, states, self.parameters, self.constants, self._seen(self.parameters))

    def _seen(self, parameters: Tensor) -> dict[str, Tensor]:
        found = self.columns.seen(self.times[None], parameters[None], self.constants[None], self.done)
        return {name: column[0] for name, column in found.items()}

    def observable_derivatives(self, of_parameters: Reals, of_initial_state: Reals) -> dict[str, Reals]:
        """The derivatives of each observable with respect to the free unknowns, (T, free unknowns).

        of_parameters: (p, free unknowns) and of_initial_state: (n, free unknowns), the derivatives of these. Raises
        as `states`.
        """
        layer, by = self.layer, self.layer.differentiate_by
        found = layer.sensitivities(self.times, self.initial_state, self.parameters, self.constants, self.done)
        of_states = found.by_initial_state @ of_initial_state[list(by.states)]
        of_states = of_states + found.by_parameters @ of_parameters[list(by.parameters)]
        states = torch.from_numpy(found.states).to(self.times.device)
        with torch.enable_grad():
            own = self.parameters.detach()[None].requires_grad_()
            seen = Seen.of(self._seen(own[0]), own)
            _, derivatives = observable_sensitivities(
                self.columns,
                self.times,
                states,
                self.parameters,
                self.constants,
                of_states,
                [(slice(None), of_parameters)],
                seen,
            )
        return derivatives


@dataclass(frozen=True)
class Predictor:
    """Makes predictions at the best point.

    errors: the standard errors, for bands; None for predictions without. stop: if it reports the time limit, the
    predictions that are left are not made; for any other reason they raise `StopRequested`.
    """

    best: BestPoint
    errors: StandardErrors | None
    stop: StopCheck

    def predict(self, number: int, requested: Prediction) -> PredictionResult:
        """Make a requested prediction, or report why it could not be made. number: among those requested."""
        names = [series.name for series in self.best.problem.series]
        index = names.index(requested.experiment) if requested.experiment in names else 0
        data = SeriesSlice.whole(self.best.problem.series[index], index)
        # between the times of the data their sigma is interpolated linearly
        sigma = {name: np.interp(requested.times, data.times, column).tolist() for name, column in data.sigma.items()}
        return self._predict(requested, index, self.best.objective.protocols.prediction(number), sigma)

    def predict_held_out(self, held_out: SeriesSlice) -> PredictionResult:
        """Predict held-out data and score the prediction."""
        requested = Prediction(name=held_out.name, times=held_out.times, values=held_out.values)
        return self._predict(requested, held_out.index, held_out.index, held_out.sigma)

    def _predict(
        self, requested: Prediction, index: int, member: int, sigma: Mapping[str, list[float]]
    ) -> PredictionResult:
        """Predict from the parameters and the initial state of a series, unless the prediction has its own.

        member: of `SeriesProtocols`, what is done in it. sigma: of each observable whose data have one, at the
        requested times.
        """
        best, layer = self.best, self._layer
        parameters = best.values.parameters[index] | requested.parameters
        start = best.values.initial_states[index] | (requested.initial_state or {})
        # a fitted initial state holds at the start of the data, a given one at the first requested time
        before = [] if requested.initial_state is not None else [best.problem.series[index].start]
        times = [*before, *requested.times]
        protocols = best.objective.protocols
        ivp = _InitialValueProblem(
            layer=layer,
            columns=self._columns,
            times=torch.tensor(times, dtype=torch.float64, device=self._device),
            initial_state=self._vector(start, layer.system.states),
            parameters=best.unknowns.with_derived(index, self._vector(parameters, best.unknowns.system.parameters)),
            constants=best.unknowns.constants[index],
            done=protocols.settings([member], len(times), starts=bool(before), skips_earlier=not before),
        )
        try:
            states = ivp.states()
        except SolveError as error:
            return failed_prediction(requested, error.code, str(error))
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return failed_prediction(
                requested, request.reason, "the time limit was reached before this prediction was computed"
            )
        columns = {name: column[len(before) :] for name, column in ivp.observe(states).items()}
        model = {name: columns[name] for name in layer.system.observables}
        loss, rmse = self._score(requested, sigma, columns)
        lower, upper = self._band(requested, index, ivp, model)
        if before and protocols.has_steady_states[member]:
            start = dict(zip(layer.system.states, states[0].tolist(), strict=True))
        states = states[len(before) :]
        return PredictionResult(
            name=requested.name,
            times=requested.times,
            initial_state=start,
            parameters=parameters,
            states=lists(dict(zip(layer.system.states, states.unbind(-1), strict=True))),
            values=lists_with_null(model),
            loss=loss,
            rmse=rmse,
            lower_95=lower,
            upper_95=upper,
        )

    @cached_property
    def _columns(self) -> ModelColumns:
        return ModelColumns(self._layer, self.best.problem.sigma_expressions)

    @cached_property
    def _layer(self) -> ODELayer:
        """A layer like that of the fit, with tighter tolerances."""
        fitted = self.best.layer
        options = fitted.options.tightened()
        method = TIGHT_METHODS.get(options.method, options.method)
        layer = ODELayer(fitted.system, engine=fitted.engine.name, method=method)
        layer.options = replace(options, method=layer.options.method)
        layer.stop = self.stop
        layer.differentiate_by = fitted.differentiate_by
        layer.needs_protocols = fitted.needs_protocols
        return layer

    def _score(
        self, requested: Prediction, sigma: Mapping[str, list[float]], model: Mapping[str, Tensor]
    ) -> tuple[float | None, dict[str, float] | None]:
        """The loss of the given values, computed as the fit's, and the RMSE of the unscaled residuals.

        model: the observables, and the sigmas that are expressions. The loss is None if the fit has
        no noise scale for one of the observables.
        """
        values = {name: column for name, column in (requested.values or {}).items() if set(column) != {None}}
        if not values:
            return None, None
        given = SeriesSlice(0, requested.name, requested.times[0], requested.times, values, sigma)
        solver, scales = self.best.problem.solver, self.best.output.scales
        scored = Measurements([given], self.best.problem.noise, rtol=solver.rtol, atol=solver.atol)
        residuals = scored.unscaled_residuals(model)
        rmse = {name: math.sqrt(np.mean(np.square(r))) for name, r in residuals.items() if np.isfinite(r).all()}
        if not all(scored.has_known_scale(name) or name in scales for name in values):
            return None, rmse
        loss, _ = scored.loss(model, scales)
        return (loss if math.isfinite(loss) else None), rmse

    def _band(
        self, requested: Prediction, index: int, ivp: _InitialValueProblem, model: Mapping[str, Tensor]
    ) -> tuple[Columns | None, Columns | None]:
        """Lower and upper end of the 95 % band of each observable, by the delta method; None without errors.

        Values that the prediction gives count as exact. There is no band if a value is only a guess, as the own
        unknowns of a held-out experiment are. model: the observables at the requested times, which are the last of the
        times solved for.
        """
        if not self.errors or self._uses_guess(requested, index):
            return None, None
        unknowns, system = self.best.unknowns, ivp.layer.system
        of_parameters, of_initial_state = (each[index] for each in unknowns.jacobians(self.best.coordinates))
        given = [i for i, name in enumerate(system.parameters) if name in requested.parameters]
        if given:
            of_parameters[given] = 0.0
            of_parameters = self._with_derived(index, ivp.parameters, of_parameters)
        of_initial_state[[i for i, name in enumerate(system.states) if name in (requested.initial_state or {})]] = 0.0
        try:
            derivatives = ivp.observable_derivatives(of_parameters, of_initial_state)
        except SolveError:  # the states could be solved for, their derivatives could not
            return None, None
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return None, None
        lower, upper = {}, {}
        for name, column in model.items():
            band = self._band_of(name, column.cpu().numpy(), derivatives[name][-len(requested.times) :])
            if band is not None:
                lower[name], upper[name] = band
        return lower or None, upper or None

    def _with_derived(self, index: int, parameters: Tensor, jacobian: Reals) -> Reals:
        """The Jacobian of the parameters (p, free unknowns) with the rows of derived ones made from the others."""
        count = len(self.best.unknowns.system.parameters)
        if count == len(parameters):
            return jacobian
        with torch.enable_grad():
            by_own: Tensor = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
                lambda own: self.best.unknowns.with_derived(index, own), parameters[:count].detach()
            )
        return by_own.cpu().numpy() @ jacobian[:count]

    def _uses_guess(self, requested: Prediction, index: int) -> bool:
        """Whether a prediction uses a parameter or an initial value that is neither fitted nor given nor fixed."""
        system, unknowns = self.best.layer.system, self.best.unknowns
        given = {*requested.parameters, *(requested.initial_state or {})}
        names = (name for name in (*system.parameters, *system.states) if name not in given)
        return any(unknowns.is_guessed(unknowns.qualified_name(index, name)) for name in names)

    def _band_of(
        self, name: str, values: Reals, jacobian: Reals
    ) -> tuple[list[float | None], list[float | None]] | None:
        """Lower and upper end of the band of an observable, (T,), None at times at which it has no value or no slope.

        values: y at the times, (T,). jacobian: by the free unknowns, (T, free unknowns). None in all if the observable
        is not determined, or its band is beyond all numbers.
        """
        kept = np.isfinite(values) & np.isfinite(jacobian).all(axis=1)
        if not kept.any():
            return None
        band = self._finite_band(name, values[kept], jacobian[kept])
        if band is None:
            return None
        ends: list[list[float | None]] = [[None] * len(values), [None] * len(values)]
        for end, column in zip(ends, band, strict=True):
            for place, value in zip(np.flatnonzero(kept).tolist(), column.tolist(), strict=True):
                end[place] = value
        return ends[0], ends[1]

    def _finite_band(self, name: str, values: Reals, jacobian: Reals) -> tuple[Reals, Reals] | None:
        """Lower and upper end of the band where the observable is finite; None if it is not determined, or too wide.

        The ends are y ± q·e with the standard error e and the quantile q. If the observable cannot be negative, and
        depends on unknowns on a log scale or has a band that reaches 0, they are y·exp(±q·e/y): the delta method for
        log y. There the distribution of y is skewed, and a symmetric band beyond the data misses more than 5 %.
        """
        intervals = self.errors.of_functions(values, jacobian) if self.errors else None
        if intervals is None:
            return None
        lower, upper = (np.array(ends) for ends in zip(*((i.lower, i.upper) for i in intervals), strict=True))
        fitted = self.best.output.model[name].cpu().numpy()
        fitted = fitted[np.isfinite(fitted)]
        size = max(np.abs(fitted).max(initial=0.0), np.abs(values).max())
        is_positive = min(fitted.min(initial=0.0), values.min()) >= -self.best.problem.solver.rtol * size
        uses_log_scale = bool(jacobian[:, self.best.unknowns.log].any())
        if is_positive and (uses_log_scale or lower.min() <= 0):
            resolved = values > RESOLVED * size
            with np.errstate(over="ignore"):
                factor = np.exp((upper - values)[resolved] / values[resolved])
                lower[resolved], upper[resolved] = values[resolved] / factor, values[resolved] * factor
        return (lower, upper) if np.isfinite(upper).all() else None

    @property
    def _device(self) -> torch.device:
        return self.best.evaluation.states.device

    def _vector(self, values: Mapping[str, float], names: tuple[str, ...]) -> Tensor:
        return torch.tensor([values[name] for name in names], dtype=torch.float64, device=self._device)


def failed_prediction(requested: Prediction, code: str, detail: str) -> PredictionResult:
    """Return a prediction that could not be made, with the reason."""
    return PredictionResult(name=requested.name, times=requested.times, error=PredictionError(code=code, detail=detail))


def unmade_predictions(best: BestPoint) -> tuple[list[PredictionResult], list[PredictionResult]]:
    """The predictions and the held-out data of a fit that ended before they could be predicted."""
    held_out = [Prediction(name=series.name, times=series.times) for series in best.objective.held_out]
    detail = "the fit ended before this prediction was computed"
    predictions = [failed_prediction(requested, "not_made", detail) for requested in best.problem.predictions]
    return predictions, [failed_prediction(requested, "not_made", detail) for requested in held_out]
