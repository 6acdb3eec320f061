"""Trajectories under other conditions, from the fitted values: computed tightly, scored, with their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import StopCheck
from odelib.engines.layer import ODELayer
from odelib.errors import SolveError, StopRequested
from odelib.likelihood.measurements import Measurements, Scales
from odelib.objective.objective import Evaluation, Objective
from odelib.objective.observable_sensitivities import observable_sensitivities
from odelib.problem.data_split import SeriesSlice, whole
from odelib.problem.predictions import Prediction
from odelib.problem.request import FitProblem
from odelib.result import PredictionError, PredictionResult
from odelib.uncertainty.covariance import Errors

RTOL, ATOL = 1e-10, 1e-12  # at most, whatever the fit used
# With these a method of order 2 or 3 would use up any number of steps.
TIGHT_METHODS = dict.fromkeys(("bosh3", "fehlberg2", "adaptive_heun"), "dopri5")
Band = dict[str, list[float]]


class Predictor:
    """Makes the predictions of a fit at its best point.

    scales: the fitted ones of the noise; errors: those of the fit, where they were asked for.
    """

    def __init__(
        self,
        problem: FitProblem,
        objective: Objective,
        best: Evaluation,
        scales: Scales,
        errors: Errors | None,
    ) -> None:
        self.problem = problem
        self.layer, self.unknowns = objective.layer, objective.unknowns
        self.best = best
        self.scales = scales
        self.point = self.unknowns.point(best.coordinates)
        self.errors = errors
        self.device = best.states.device

    def predict(self, asked: Prediction, stop: StopCheck) -> PredictionResult:
        """The trajectory asked for, or why there is none. Where `stop` gives a reason there is none."""
        index = self._index(asked.experiment)
        data = whole(self.problem.series[index], index)
        # a sigma of each data time is read between these times along a straight line
        sigma = {name: np.interp(asked.times, data.times, column).tolist() for name, column in data.sigma.items()}
        return self._predict(asked, index, sigma, stop)

    def hold_out(self, part: SeriesSlice, stop: StopCheck) -> PredictionResult:
        """What was held out of the fit, predicted and scored."""
        asked = Prediction(name=part.name, times=part.times, values=part.values)
        return self._predict(asked, part.index, part.sigma, stop)

    def _index(self, experiment: str | None) -> int:
        names = [series.name for series in self.problem.series]
        return names.index(experiment) if experiment in names else 0

    def _predict(
        self, asked: Prediction, index: int, sigma: Mapping[str, list[float]], stop: StopCheck
    ) -> PredictionResult:
        parameters = self.point.parameters[index] | asked.parameters
        start = self.point.initial_states[index] | (asked.initial_state or {})
        first = [] if asked.initial_state is not None else [self.problem.series[index].start]
        layer = self._tight_layer(stop)
        constants = self.unknowns.constants[index]
        times = torch.tensor([*first, *asked.times], dtype=torch.float64, device=self.device)
        vector = self._vector(parameters, layer.system.parameters)
        state = self._vector(start, layer.system.states)
        try:
            states = layer(times, state, vector, constants)[len(first) :]
        except SolveError as error:
            return failed_prediction(asked, error.code, str(error))
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return failed_prediction(asked, request.reason, "the fit was stopped before this prediction was made")
        model = layer.observe(times[len(first) :], states, vector, constants)
        for name, column in model.items():
            if not bool(column.isfinite().all()):
                return failed_prediction(
                    asked, "not_finite", f"the observable {name!r} is not a finite number at all times"
                )
        loss, rmse = self._score(asked, sigma, model)
        lower, upper = self._band(asked, index, layer, times, (state, vector, constants), model)
        return PredictionResult(
            name=asked.name,
            times=asked.times,
            initial_state=start,
            parameters=parameters,
            states=columns(dict(zip(layer.system.states, states.unbind(-1), strict=True))),
            values=columns(model),
            loss=loss,
            rmse=rmse,
            lower_95=lower,
            upper_95=upper,
        )

    def _tight_layer(self, stop: StopCheck) -> ODELayer:
        solver = self.problem.solver
        layer = ODELayer(
            self.layer.system,
            engine=self.layer.engine.name,
            method=TIGHT_METHODS.get(self.layer.options.method, self.layer.options.method),
            rtol=min(solver.rtol, RTOL),
            atol=min(solver.atol, ATOL),
            max_steps=solver.max_steps,
        )
        layer.stop = stop
        layer.differentiate_by = self.layer.differentiate_by
        return layer

    def _band(
        self,
        asked: Prediction,
        index: int,
        layer: ODELayer,
        times: Tensor,
        at: tuple[Tensor, Tensor, Tensor],
        model: Mapping[str, Tensor],
    ) -> tuple[Band | None, Band | None]:
        """The 95 % band of the model's value, from the unknowns that the prediction takes from the fit.

        at: initial state, parameters and constants. model: the observables at the times asked, the last of `times`.
        """
        if not self.errors:
            return None, None
        state, parameters, constants = at
        by_parameter, by_state = (slopes[index] for slopes in self.unknowns.slopes(self.best.coordinates))
        names = layer.system
        by_parameter[[i for i, name in enumerate(names.parameters) if name in asked.parameters]] = 0.0
        by_state[[i for i, name in enumerate(names.states) if name in (asked.initial_state or {})]] = 0.0
        try:
            found = layer.sensitivities(times, state, parameters, constants)
        except SolveError:
            return None, None  # the states could be solved, their derivatives could not
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return None, None
        along = found.by_initial_state @ by_state[list(layer.differentiate_by.states)]
        along = along + found.by_parameters @ by_parameter[list(layer.differentiate_by.parameters)]
        states = torch.from_numpy(found.states).to(self.device)
        with torch.enable_grad():
            _, slopes = observable_sensitivities(
                layer, times, states, parameters, constants, along, [(slice(None), by_parameter)]
            )
        lower, upper = {}, {}
        for name, column in model.items():
            intervals = self.errors.along(column.cpu().numpy(), slopes[name][-len(asked.times) :])
            if intervals is not None:
                lower[name], upper[name] = [i.lower for i in intervals], [i.upper for i in intervals]
        return lower or None, upper or None

    def _score(
        self, asked: Prediction, sigma: Mapping[str, list[float]], model: Mapping[str, Tensor]
    ) -> tuple[float | None, dict[str, float] | None]:
        """Loss, as the fit's would be, and root mean squares of the unscaled residuals."""
        values = {name: column for name, column in (asked.values or {}).items() if set(column) != {None}}
        if not values:
            return None, None
        part = SeriesSlice(0, asked.name, asked.times[0], asked.times, values, sigma)
        solver = self.problem.solver
        scored = Measurements([part], self.problem.noise, rtol=solver.rtol, atol=solver.atol)
        rmse = {name: math.sqrt(np.mean(np.square(r))) for name, r in scored.unscaled_residuals(model).items()}
        if not all(scored.has_known_scale(name) or name in self.scales for name in values):
            return None, rmse  # nothing that was fitted, and no data of this series, tells the scale
        loss, _ = scored.loss(model, self.scales)
        return (loss if math.isfinite(loss) else None), rmse

    def _vector(self, values: Mapping[str, float], names: tuple[str, ...]) -> Tensor:
        return torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)


def columns(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Tensors as lists of numbers."""
    return {name: column.tolist() for name, column in tensors.items()}


def sparse_columns(tensors: Mapping[str, Tensor]) -> dict[str, list[float | None]]:
    """Tensors as lists of numbers, None where there is no finite one."""
    return {
        name: [value if math.isfinite(value) else None for value in column.tolist()] for name, column in tensors.items()
    }


def failed_prediction(asked: Prediction, code: str, detail: str) -> PredictionResult:
    """A prediction that could not be computed, and why."""
    return PredictionResult(name=asked.name, times=asked.times, error=PredictionError(code=code, detail=detail))
