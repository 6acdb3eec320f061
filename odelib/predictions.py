"""Trajectories under other conditions, from the fitted values: computed tightly, scored, with their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.layer import ODELayer
from odelib.objective import Evaluation, Objective, Scored, sigma_columns
from odelib.problem.request import FitProblem, Prediction
from odelib.result import PredictionError, PredictionResult
from odelib.slopes import observable_slopes
from odelib.uncertainty import Errors
from odelib.unknowns import Point

RTOL, ATOL = 1e-10, 1e-12  # at most, whatever the fit used
# With these a method of order 2 or 3 would use up any number of steps.
TIGHT_METHODS = dict.fromkeys(("bosh3", "fehlberg2", "adaptive_heun"), "dopri5")


class Predictor:
    """Makes the predictions of a fit at its best point; `errors` are those of the fit, where they were asked for."""

    def __init__(
        self, problem: FitProblem, objective: Objective, best: Evaluation, point: Point, errors: Errors | None
    ) -> None:
        self.problem = problem
        self.layer, self.unknowns = objective.layer, objective.unknowns
        self.best = best
        self.point = point
        self.errors = errors
        self.device = best.states.device

    def predict(self, asked: Prediction, stop: StopCheck) -> PredictionResult:
        """The trajectory asked for, or why there is none. Where `stop` gives a reason there is none."""
        parameters = self.point.parameters | asked.parameters
        start = self.point.initial_state | (asked.initial_state or {})
        first = [] if asked.initial_state is not None else [self.problem.data.start]
        solver = self.problem.solver
        layer = ODELayer(
            self.layer.system,
            engine=self.layer.engine.name,
            method=TIGHT_METHODS.get(self.layer.options.method, self.layer.options.method),
            rtol=min(solver.rtol, RTOL),
            atol=min(solver.atol, ATOL),
            max_steps=solver.max_steps,
            constants=self.problem.data.constants,
        )
        layer.stop = stop
        times = torch.tensor([*first, *asked.times], dtype=torch.float64, device=self.device)
        vector = self._vector(parameters, layer.system.parameters)
        try:
            states = layer(times, self._vector(start, layer.system.states), vector)[len(first) :]
        except SolveError as error:
            return failed_prediction(asked, error.code, str(error))
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return failed_prediction(asked, request.reason, "the fit was stopped before this prediction was made")
        model = layer.observe(times[len(first) :], states, vector)
        for name, column in model.items():
            if not bool(column.isfinite().all()):
                return failed_prediction(
                    asked, "not_finite", f"the observable {name!r} is not a finite number at all times"
                )
        loss, rmse = self._score(asked, model)
        lower, upper = self._band(asked, layer, times, len(first), model)
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

    def _band(
        self, asked: Prediction, layer: ODELayer, times: Tensor, skipped: int, model: Mapping[str, Tensor]
    ) -> tuple[dict[str, list[float]] | None, dict[str, list[float]] | None]:
        """The 95 % band of the model's value, from the unknowns that the prediction takes from the fit."""
        if not self.errors:
            return None, None
        names = layer.system
        given_parameters = [i for i, name in enumerate(names.parameters) if name in asked.parameters]
        given_states = [i for i, name in enumerate(names.states) if name in (asked.initial_state or {})]

        def values(point: Tensor) -> tuple[Tensor, Tensor]:
            parameters, state = self.unknowns.values(point)
            return (
                _overridden(
                    parameters, given_parameters, [asked.parameters[names.parameters[i]] for i in given_parameters]
                ),
                _overridden(state, given_states, [(asked.initial_state or {})[names.states[i]] for i in given_states]),
            )

        layer.carried = self.layer.carried
        point = torch.tensor(self.best.coordinates, device=self.device)
        try:
            with torch.enable_grad():
                slopes = observable_slopes(layer, values, point, times)
        except SolveError:
            return None, None  # the states could be solved, their derivatives could not
        except StopRequested as request:
            if request.reason != "time_limit":
                raise
            return None, None
        lower, upper = {}, {}
        for name, column in model.items():
            intervals = self.errors.along(column.cpu().numpy(), slopes[name][skipped:].numpy())
            if intervals is not None:
                lower[name], upper[name] = [i.lower for i in intervals], [i.upper for i in intervals]
        return lower or None, upper or None

    def _score(self, asked: Prediction, model: Mapping[str, Tensor]) -> tuple[float | None, dict[str, float] | None]:
        if not asked.values:
            return None, None
        data = self.problem.data
        # a sigma of each data time is read between these times along a straight line
        sigma = {
            name: np.interp(asked.times, data.times, column).tolist()
            for name, column in sigma_columns(data).items()
            if name in asked.values
        }
        scored = Scored(asked.times, asked.values, sigma, self.device)
        unscaled = scored.residuals(model, scaled=False)
        rmse = {name: r.square().mean().sqrt().item() for name, r in unscaled.items() if len(r)}
        return scored.loss(model).item(), rmse

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


def _overridden(values: Tensor, places: list[int], given: list[float]) -> Tensor:
    """`values` with those at `places` given, which then depend on nothing."""
    if not places:
        return values
    at = torch.tensor(places, device=values.device)
    return values.index_copy(0, at, torch.tensor(given, dtype=values.dtype, device=values.device))
