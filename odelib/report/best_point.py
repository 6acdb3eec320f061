"""The best point of a fit, with all that follows from it without solving the equations again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from odelib.arrays import Reals
from odelib.engines.layer import ODELayer
from odelib.objective.objective import Evaluation, ModelOutput, Objective
from odelib.objective.unknowns import Point, Unknowns
from odelib.problem.request import FitProblem
from odelib.result import LossParts, SolverUsed, StageReport


@dataclass(frozen=True)
class BestPoint:
    """The best point, how it was found, and what the model gives there.

    evaluation: its coordinates, loss, gradient and states. values: all parameters and initial values by name. output:
    the observables at the fitted times, and the estimated noise scales. stages: the reports of the stages that ran.
    solver: returns the solver that was used; it is called last, since more solves may follow.
    """

    problem: FitProblem
    objective: Objective
    evaluation: Evaluation
    values: Point
    output: ModelOutput
    loss_parts: LossParts
    stages: Sequence[StageReport]
    solver: Callable[[], SolverUsed]

    @classmethod
    def of(
        cls,
        problem: FitProblem,
        objective: Objective,
        evaluation: Evaluation,
        stages: Sequence[StageReport],
        solver: Callable[[], SolverUsed],
    ) -> BestPoint:
        """Make the best point from its evaluation."""
        output = objective.model_output(evaluation.coordinates, evaluation.states)
        return cls(
            problem=problem,
            objective=objective,
            evaluation=evaluation,
            values=objective.unknowns.point(evaluation.coordinates),
            output=output,
            loss_parts=_loss_parts(objective, evaluation, output),
            stages=stages,
            solver=solver,
        )

    @property
    def coordinates(self) -> Reals:
        """The free unknowns as an optimiser sees them, (free unknowns,)."""
        return self.evaluation.coordinates

    @property
    def unknowns(self) -> Unknowns:
        """The unknowns of the problem."""
        return self.objective.unknowns

    @property
    def layer(self) -> ODELayer:
        """The layer that solves the equations, with the settings of the fit."""
        return self.objective.layer


def _loss_parts(objective: Objective, evaluation: Evaluation, output: ModelOutput) -> LossParts:
    measurements = objective.measurements
    added = objective.regularisation.evaluate(evaluation.coordinates)
    return LossParts(
        data=measurements.loss(output.model, output.scales)[0],
        penalty=added.penalty,
        prior=added.prior + measurements.prior_loss(output.scales),
    )
