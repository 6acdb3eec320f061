"""From the best point to the result that a caller reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.layer import ODELayer
from odelib.objective import Evaluation, Objective, Scored, sigma_columns
from odelib.problem.request import FitProblem, Prediction
from odelib.result import (
    OUTCOMES,
    Dense,
    Estimate,
    FitResult,
    FitWarning,
    LossParts,
    Outcome,
    OutcomeCode,
    PredictionError,
    PredictionResult,
    SolverUsed,
    StageReport,
    Statistics,
    Trajectory,
)

DENSE_POINTS = 401
PREDICTION_RTOL, PREDICTION_ATOL = 1e-10, 1e-12


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
        self.device = best.states.device
        self.parameters = self._vector(self.point.parameters, self.layer.system.parameters)

    def complete(self, code: OutcomeCode, stop: StopCheck) -> FitResult:
        """With a dense trajectory and the predictions. Where `stop` gives a reason these are left short."""
        self.layer.stop = stop
        with torch.no_grad():
            dense = self._dense()
            predictions = [self._prediction(asked, stop) for asked in self.problem.predictions]
        return self._result(code, dense, predictions)

    def partial(self, code: OutcomeCode) -> FitResult:
        """From what has been solved already: the dense trajectory has the data's times, no prediction is made."""
        unmade = PredictionError(code=code, detail="the fit ended before its predictions were made")
        predictions = [PredictionResult(name=p.name, times=p.times, error=unmade) for p in self.problem.predictions]
        with torch.no_grad():
            return self._result(code, None, predictions)

    def _result(self, code: OutcomeCode, dense: Dense | None, predictions: list[PredictionResult]) -> FitResult:
        model = self.objective.model(self.best.states, self.parameters)
        trajectory = self._trajectory(model, dense)
        return FitResult(
            loss=self.best.loss,
            loss_parts=LossParts(data=self.best.loss, penalty=0.0, prior=0.0),
            observations=self.objective.scored.observations,
            outcome=Outcome(code=code, message=OUTCOMES[code]),
            parameters=self._estimates(self.point.parameters),
            initial_state=trajectory.initial_state,
            stages=self.stages,
            trajectories=[trajectory],
            predictions=predictions or None,
            warnings=self._warnings(code, predictions),
            statistics=self._statistics(model),
            solver=self.solver(),
        )

    def _estimates(self, values: Mapping[str, float]) -> dict[str, Estimate]:
        return {
            name: Estimate(value=value, fixed=True if self.unknowns.is_fixed(name) else None)
            for name, value in values.items()
        }

    def _trajectory(self, model: Mapping[str, Tensor], dense: Dense | None) -> Trajectory:
        scored, times = self.objective.scored, self.problem.data.times
        states = _columns(dict(zip(self.layer.system.states, self.best.states.unbind(-1), strict=True)))
        values = _columns(model)
        return Trajectory(
            name=self.problem.data.name,
            initial_state=self._estimates(self.point.initial_state),
            times=times,
            states=states,
            values=values,
            residuals=scored.sparse(model),
            dense=dense or Dense(times=times, states=states, values=values),
        )

    def _dense(self) -> Dense | None:
        data = self.problem.data
        grid = torch.linspace(data.start, data.times[-1], DENSE_POINTS, dtype=torch.float64, device=self.device)
        if data.start == data.times[-1]:
            grid = grid[:1]
        grid[-1] = data.times[-1]
        try:
            states = self.layer(grid, self._vector(self.point.initial_state, self.layer.system.states), self.parameters)
        except (SolveError, StopRequested):
            # Asked to stop, or the step limit is met by a hair: the trajectory at the data's times still stands.
            return None
        model = self.layer.observe(grid, states, self.parameters)
        if not all(bool(column.isfinite().all()) for column in model.values()):
            return None  # an observable has no value somewhere between the data, as a logarithm below 0
        return Dense(
            times=grid.tolist(),
            states=_columns(dict(zip(self.layer.system.states, states.unbind(-1), strict=True))),
            values=_columns(model),
        )

    def _prediction(self, asked: Prediction, stop: StopCheck) -> PredictionResult:
        parameters = self.point.parameters | asked.parameters
        start = self.point.initial_state | (asked.initial_state or {})
        first = [] if asked.initial_state is not None else [self.problem.data.start]
        solver = self.problem.solver
        layer = ODELayer(
            self.layer.system,
            engine=self.layer.engine.name,
            method=self.layer.options.method,
            rtol=min(solver.rtol, PREDICTION_RTOL),
            atol=min(solver.atol, PREDICTION_ATOL),
            max_steps=solver.max_steps,
            constants=self.problem.data.constants,
        )
        layer.stop = stop
        times = torch.tensor([*first, *asked.times], dtype=torch.float64, device=self.device)
        vector = self._vector(parameters, layer.system.parameters)
        try:
            states = layer(times, self._vector(start, layer.system.states), vector)[len(first) :]
        except SolveError as error:
            return _failed(asked, error.code, str(error))
        except StopRequested as request:
            return _failed(asked, request.reason, "the fit was stopped before this prediction was made")
        model = layer.observe(times[len(first) :], states, vector)
        for name, column in model.items():
            if not bool(column.isfinite().all()):
                return _failed(asked, "not_finite", f"the observable {name!r} is not a finite number at all times")
        loss, rmse = self._score(asked, model)
        return PredictionResult(
            name=asked.name,
            times=asked.times,
            initial_state=start,
            parameters=parameters,
            states=_columns(dict(zip(layer.system.states, states.unbind(-1), strict=True))),
            values=_columns(model),
            loss=loss,
            rmse=rmse,
        )

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

    def _warnings(self, code: OutcomeCode, predictions: list[PredictionResult]) -> list[FitWarning]:
        warnings = []
        if bound := self.unknowns.at_bound(self.best.coordinates):
            warnings.append(
                FitWarning(
                    code="at_bound",
                    message=f"{', '.join(bound)} ended at a bound: the best value may lie beyond it",
                    names=bound,
                )
            )
        if code != "converged":
            warnings.append(FitWarning(code="not_converged", message=OUTCOMES[code]))
        if failed := [prediction.name for prediction in predictions if prediction.error]:
            warnings.append(
                FitWarning(
                    code="prediction_failed",
                    message=f"{len(failed)} prediction(s) could not be computed; each says why in its error",
                    names=failed,
                )
            )
        return warnings

    def _statistics(self, model: Mapping[str, Tensor]) -> Statistics:
        """AIC and BIC of a normal likelihood with a scale estimated, k the free unknowns and the scale."""
        count, k = self.objective.scored.observations, self.unknowns.count + 1
        r_squared = self.objective.scored.r_squared(model)
        if self.best.loss <= 0:
            return Statistics(r_squared=r_squared)
        base = count * math.log(self.best.loss / count)
        return Statistics(aic=base + 2 * k, bic=base + k * math.log(count), r_squared=r_squared)

    def _vector(self, values: Mapping[str, float], names: tuple[str, ...]) -> Tensor:
        return torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)


def _columns(tensors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: column.tolist() for name, column in tensors.items()}


def _failed(asked: Prediction, code: str, detail: str) -> PredictionResult:
    return PredictionResult(name=asked.name, times=asked.times, error=PredictionError(code=code, detail=detail))
