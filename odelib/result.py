"""What comes back: the result of a fit, flat and typed, absent rather than null."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

OutcomeCode = Literal["converged", "step_limit", "no_progress", "time_limit", "cancelled", "interrupted"]
WarningCode = Literal[
    "at_bound",
    "not_converged",
    "prediction_failed",
    "flat_direction",
    "open_interval",
    "structured_residuals",
    "best_found_once",
    "no_better_than_constant",
    "no_uncertainty",
    "not_finite",
    "coarse_solver",
]

OUTCOMES: dict[OutcomeCode, str] = {
    "converged": "the optimum was reached: what could still be gained is far below the noise",
    "step_limit": "all steps were used before the optimum was reached; allow more steps, or start from this result",
    "no_progress": "the optimiser found no better point, and yet the optimum is not reached; "
    "try tighter solver tolerances, other guesses or other stages",
    "time_limit": "the time limit ended the fit; this is the best point so far",
    "cancelled": "the fit was cancelled; this is the best point so far",
    "interrupted": "the fit failed; this is the best point it had evaluated",
}

SAME = 0.01  # of the best loss: starts that end so near have reached it


def has_reached(loss: float, best: float) -> bool:
    """Whether a start ended within a hundredth of the best loss, or a hundredth above one that is negative."""
    return loss - best <= SAME * max(abs(best), 1.0 if best < 0 else 0.0)


class Response(BaseModel):
    """The base of all that the service returns. Clients are told to expect further fields."""

    model_config = ConfigDict(frozen=True)


Column = list[float]
SparseColumn = list[float | None]


class Outcome(Response):
    """Whether the fit can be trusted to have found its optimum."""

    code: OutcomeCode
    message: str


class Estimate(Response):
    """A fitted or fixed value, in the caller's units."""

    value: float
    fixed: Annotated[bool | None, Field(description="Present and true where the value was not fitted.")] = None
    standard_error: Annotated[
        float | None, Field(description="Where uncertainty was asked for; an unknown at its bound has none.")
    ] = None
    lower_95: float | None = None
    upper_95: float | None = None


class LossParts(Response):
    """The loss by origin."""

    data: float
    penalty: float
    prior: float


class Stopped(Response):
    """Why a stage ended."""

    code: str
    message: str


class NoiseEstimate(Response):
    """The scales of one observable's noise; given ones are fixed."""

    sigma: Estimate | None = None
    proportional: Estimate | None = None


class StageReport(Response):
    """What a stage did."""

    kind: str
    steps: int
    gradients: Annotated[int, Field(description="Evaluations of loss and gradient, failed ones included.")]
    failed_solves: int
    loss: Annotated[float, Field(description="The best loss after this stage.")]
    gradient_norm: Annotated[
        float,
        Field(description="Euclidean norm of the loss's gradient at the best point, in the caller's units."),
    ]
    seconds: float
    stopped: Stopped
    start_losses: Annotated[
        Column | None, Field(description="Of several starts: the loss at which each ended, the least first.")
    ] = None

    def reached(self, best: float) -> int:
        """How many of several starts reached the best loss."""
        return sum(has_reached(loss, best) for loss in self.start_losses or [])


class Dense(Response):
    """A trajectory on a fine grid, for drawing. An observable is null where it has no finite value."""

    times: Column
    states: dict[str, Column]
    values: dict[str, SparseColumn]


class Trajectory(Response):
    """The fitted solution beside one series."""

    name: str
    initial_state: dict[str, Estimate]
    parameters: Annotated[dict[str, Estimate] | None, Field(description="Those that are this experiment's own.")] = None
    derived: Annotated[
        dict[str, Estimate] | None, Field(description="Derived quantities that are this experiment's own.")
    ] = None
    times: Column
    states: dict[str, Column]
    values: Annotated[
        dict[str, SparseColumn],
        Field(description="All the observables, measured or not; null where one has no finite value."),
    ]
    residuals: Annotated[
        dict[str, SparseColumn],
        Field(
            description="Data minus model, divided by sigma where one is given; for lognormal noise of the logarithms."
        ),
    ]
    dense: Dense


class PredictionError(Response):
    """Why a prediction could not be computed."""

    code: str
    detail: str


class PredictionResult(Response):
    """A computed prediction, or the reason why there is none."""

    name: str
    times: Column
    initial_state: dict[str, float] | None = None
    parameters: dict[str, float] | None = None
    states: dict[str, Column] | None = None
    values: dict[str, Column] | None = None
    loss: float | None = None
    rmse: dict[str, float] | None = None
    lower_95: Annotated[
        dict[str, Column] | None, Field(description="Band of the model's value, where uncertainty was asked for.")
    ] = None
    upper_95: dict[str, Column] | None = None
    error: PredictionError | None = None


class FitWarning(Response):
    """Something to know before trusting the result."""

    code: WarningCode
    message: str
    names: list[str] | None = None


class Statistics(Response):
    """How well the model describes the data; information criteria by the conventions of the documentation."""

    aic: float | None = None
    bic: float | None = None
    r_squared: dict[str, float]


class Covariance(Response):
    """The covariance of the estimates, in the caller's units."""

    names: list[str]
    matrix: list[Column]


class Profile(Response):
    """The least loss for each of some values of one unknown, the other unknowns free."""

    values: Annotated[Column, Field(description="Increasing, in the caller's units.")]
    losses: Column
    limit: Annotated[float, Field(description="The loss at which the interval ends.")]
    parabola: Annotated[
        Column | None,
        Field(description="The losses at these values if they followed the covariance, where it is known."),
    ] = None


class SolverUsed(Response):
    """What computed the trajectories."""

    engine: str
    method: Annotated[str, Field(description="With + between several where the solver switched, as dopri5+kvaerno5.")]
    device: str


class FitResult(Response):
    """The result of a fit, as it stands in `result`."""

    loss: float
    loss_parts: LossParts
    observations: int
    outcome: Outcome
    parameters: dict[str, Estimate]
    initial_state: Annotated[dict[str, Estimate], Field(description="The first series'.")]
    derived: Annotated[dict[str, Estimate] | None, Field(description="The system's derived quantities.")] = None
    noise: Annotated[
        dict[str, NoiseEstimate] | None, Field(description="The scales by observable, where `noise` was given.")
    ] = None
    stages: list[StageReport]
    trajectories: list[Trajectory]
    predictions: list[PredictionResult] | None = None
    hold_out: Annotated[
        list[PredictionResult] | None, Field(description="What was left out of the fit, predicted and scored.")
    ] = None
    covariance: Annotated[Covariance | None, Field(description="Where uncertainty was asked for.")] = None
    profiles: Annotated[dict[str, Profile] | None, Field(description="By unknown, where they were asked for.")] = None
    warnings: list[FitWarning]
    statistics: Statistics
    solver: SolverUsed

    def to_json(self) -> str:
        """As JSON text; what does not exist is absent."""
        return self.model_dump_json(exclude_none=True)
