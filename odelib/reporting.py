"""From the best point to the result that a caller reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd.functional import jacobian as jacobian_of

from odelib.engines.base import StopCheck
from odelib.errors import SolveError, StopRequested
from odelib.objective import Evaluation, NotFinite, Objective
from odelib.predictions import Predictor, columns, failed_prediction, sparse_columns
from odelib.problem.request import FitProblem
from odelib.program import Program
from odelib.result import (
    OUTCOMES,
    Covariance,
    Dense,
    Estimate,
    FitResult,
    FitWarning,
    LossParts,
    Outcome,
    OutcomeCode,
    PredictionResult,
    SolverUsed,
    StageReport,
    Statistics,
    Trajectory,
)
from odelib.uncertainty import Errors, Interval, Uncertainty

DENSE_POINTS = 401
COARSE = 1e-4  # of the data's squares: with a solver's error of a hundredth of the data nothing can be told


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
        self.uncertainty: Uncertainty | None = None
        self.errors: Errors | None = None
        self.no_errors: str | None = None  # why, where they were asked for

    def complete(self, code: OutcomeCode, stop: StopCheck) -> FitResult:
        """With a dense trajectory and the predictions. Where `stop` gives a reason these are left short."""
        self.layer.stop = stop
        self._find_errors()
        with torch.no_grad():
            dense = self._dense()
            predictor = Predictor(self.problem, self.objective, self.best, self.point, self.errors)
            predictions = [predictor.predict(asked, stop) for asked in self.problem.predictions]
        return self._result(code, dense, predictions)

    def partial(self, code: OutcomeCode) -> FitResult:
        """From what has been solved already: the dense trajectory has the data's times, no prediction is made."""
        predictions = [
            failed_prediction(asked, "not_made", "the fit was cut off before its predictions were made")
            for asked in self.problem.predictions
        ]
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
            derived=self._derived() or None,
            stages=self.stages,
            trajectories=[trajectory],
            predictions=predictions or None,
            covariance=self._covariance(),
            warnings=self._warnings(code, predictions),
            statistics=self._statistics(model),
            solver=self.solver(),
        )

    def _find_errors(self) -> None:
        if self.problem.uncertainty == "none" or not self.unknowns.count:
            return
        try:
            jacobian = self.objective.jacobian(self.best.coordinates)
        except StopRequested as stop:
            if stop.reason != "time_limit":
                raise
            self.no_errors = "the time limit came first"
            return
        except (SolveError, NotFinite) as error:
            self.no_errors = f"the derivatives of the model could not be computed: {error}"
            return
        given = set(self.problem.data.values) <= set(self.problem.data.sigma)
        self.uncertainty = Uncertainty(self.unknowns, self.best.coordinates, jacobian, sigma_given=given)
        self.errors = Errors(self.uncertainty, self.best.loss)
        if not self.errors.usable:
            self.no_errors = "there are not more observations than free unknowns, so that no scale can be estimated"

    def _estimates(self, values: Mapping[str, float]) -> dict[str, Estimate]:
        estimates = {}
        for name, value in values.items():
            interval = self.errors.of(name) if self.errors else None
            estimates[name] = _estimate(value, interval, fixed=self.unknowns.is_fixed(name))
        return estimates

    def _derived(self) -> dict[str, Estimate]:
        """The derived quantities, their errors by the delta method."""
        system = self.layer.system
        if not system.derived:
            return {}
        program = Program(list(system.derived.values()), [])

        def values(point: Tensor) -> Tensor:
            parameters, _ = self.unknowns.values(point)
            named = dict(zip(system.parameters, parameters.unbind(), strict=True))
            return torch.stack(program.bind({**self.layer.constants, **named}, self.device)())

        point = torch.tensor(self.best.coordinates, device=self.device)
        found = values(point).detach().cpu().numpy()
        intervals: list[Interval] | None = None
        if self.errors:
            with torch.enable_grad():
                slopes = jacobian_of(values, point).cpu().numpy()  # type: ignore[no-untyped-call]
            intervals = self.errors.along(found, slopes)
        return {
            name: _estimate(value, intervals[i] if intervals else None)
            for i, (name, value) in enumerate(zip(system.derived, found.tolist(), strict=True))
            if math.isfinite(value)
        }

    def _covariance(self) -> Covariance | None:
        found = self.errors.covariance() if self.errors else None
        return Covariance(names=found[0], matrix=found[1]) if found else None

    def _trajectory(self, model: Mapping[str, Tensor], dense: Dense | None) -> Trajectory:
        scored, times = self.objective.scored, self.problem.data.times
        states = columns(dict(zip(self.layer.system.states, self.best.states.unbind(-1), strict=True)))
        values = sparse_columns(model)
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
        point = torch.tensor(self.best.coordinates, device=self.device, requires_grad=self.unknowns.count > 0)
        try:
            with torch.enable_grad():  # with the sensitivities, as in the fit, so that the solver takes the same steps
                parameters, start = self.unknowns.values(point)
                states = self.layer(grid, start, parameters).detach()
        except SolveError:  # the step limit is met by a hair: the trajectory at the data's times still stands
            return None
        except StopRequested as stop:
            if stop.reason != "time_limit":
                raise
            return None
        model = self.layer.observe(grid, states, self.parameters)
        return Dense(
            times=grid.tolist(),
            states=columns(dict(zip(self.layer.system.states, states.unbind(-1), strict=True))),
            values=sparse_columns(model),
        )

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
        warnings += self._warnings_of_numbers()
        if self.no_errors:
            message = f"there are no standard errors: {self.no_errors}"
            warnings.append(FitWarning(code="no_uncertainty", message=message))
        if self.uncertainty and self.uncertainty.flat:
            names = self.uncertainty.flat
            warnings.append(
                FitWarning(
                    code="flat_direction",
                    message=f"the data do not determine {', '.join(names)}: changed together in some direction they "
                    "leave the fit as it is; fix one of them, or measure what tells them apart",
                    names=names,
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

    def _warnings_of_numbers(self) -> list[FitWarning]:
        warnings = []
        model = self.objective.model(self.best.states, self.parameters)
        empty = [name for name, column in model.items() if not bool(column.isfinite().all())]
        empty += [name for name in self.layer.system.derived if name not in self._derived()]
        if empty:
            message = f"{', '.join(empty)} have no finite value at some times, or at the fitted parameters"
            warnings.append(FitWarning(code="not_finite", message=message, names=empty))
        gradient, held = self.best.gradient, self.unknowns.held(self.best.coordinates)
        idle = [n for n, slope, at in zip(self.unknowns.names, gradient, held, strict=True) if slope == 0.0 and not at]
        if idle and not self.uncertainty and self.best.loss > 0:
            message = f"the loss does not change with {', '.join(idle)} where the fit ended: nothing is known of them"
            warnings.append(FitWarning(code="flat_direction", message=message, names=idle))
        solver, scored = self.problem.solver, self.objective.scored
        if scored.solver_error(solver.rtol, solver.atol) > COARSE * scored.squares:
            message = (
                "solver.atol is not small beside the data: the trajectories are coarse, and so is the fit; lower it"
            )
            warnings.append(FitWarning(code="coarse_solver", message=message))
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


def _estimate(value: float, interval: Interval | None, *, fixed: bool = False) -> Estimate:
    if interval is None or fixed:
        return Estimate(value=value, fixed=True if fixed else None)
    return Estimate(
        value=value, standard_error=interval.standard_error, lower_95=interval.lower, upper_95=interval.upper
    )
