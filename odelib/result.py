"""The result of a fit: flat, typed models. A field that has no value is left out of the JSON, never null."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

OutcomeCode = Literal[
    "converged", "early_stopped", "step_limit", "no_progress", "time_limit", "cancelled", "interrupted"
]
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
    "another_optimum",
    "profile_disagrees",
    "at_kink",
    "grazing_event",
    "unlocated_jump",
    "penalty_determines",
]

OUTCOMES: dict[OutcomeCode, str] = {
    "converged": "the fit reached an optimum: any further gain is negligible compared with the noise",
    "early_stopped": "the training of the networks ended where it describes the held-out data best",
    "step_limit": "the last stage used all its steps before the fit reached an optimum; allow more steps, or start "
    "another fit from this result",
    "no_progress": "the optimiser found no better point, although the fit has not reached an optimum; try tighter "
    "solver tolerances, other guesses or other stages",
    "time_limit": "the time limit ended the fit; this is the best point found so far",
    "cancelled": "the fit was cancelled; this is the best point found so far",
    "interrupted": "the fit failed; this is the best point found before the failure",
}

BEST_LOSS_TOLERANCE = 0.01  # relative: a start whose loss is this near to the best has reached it


def has_reached(loss: float, best: float) -> bool:
    """Return whether a start's loss is within 1 % of the best loss, or within 0.01 of a best loss in (−1, 0)."""
    return loss - best <= BEST_LOSS_TOLERANCE * max(abs(best), 1.0 if best < 0 else 0.0)


class Response(BaseModel):
    """The base of all that the service returns. Clients must ignore fields that they do not recognise."""

    model_config = ConfigDict(frozen=True)


Numbers = list[float]
NumbersOrNull = list[float | None]


class Outcome(Response):
    """Whether the fit reached an optimum, and if not, why it ended."""

    code: OutcomeCode
    message: str


class Estimate(Response):
    """A fitted or fixed value, in the caller's units."""

    value: float
    fixed: Annotated[bool | None, Field(description="Present, and true, if the value was not fitted.")] = None
    standard_error: Annotated[
        float | None,
        Field(
            description="Present if uncertainty was requested; absent for an unknown that ended at a bound or that the "
            "data do not determine."
        ),
    ] = None
    lower_95: Annotated[float | None, Field(description="Lower end of the 95 % confidence interval.")] = None
    upper_95: Annotated[float | None, Field(description="Upper end of the 95 % confidence interval.")] = None


class LossParts(Response):
    """The contributions to the loss."""

    data: float
    penalty: float
    prior: float


class Stopped(Response):
    """Why a stage ended."""

    code: str
    message: str


class NoiseEstimate(Response):
    """The noise parameters of one observable; those that the request gave are fixed."""

    sigma: Estimate | None = None
    proportional: Estimate | None = None
    sigma_expression: Annotated[
        str | None,
        Field(
            description="The expression in place of `sigma`, if one gives it; its parameters are reported like all "
            "others, and its values are in the trajectories."
        ),
    ] = None


class OtherOptimum(Response):
    """Where another start of a stage ended, at the best loss."""

    loss: float
    values: Annotated[dict[str, float], Field(description="The free unknowns there, in the caller's units.")]


class StageReport(Response):
    """What one stage did."""

    kind: str
    steps: int
    gradients: Annotated[int, Field(description="Evaluations of the loss and its gradient, including failed ones.")]
    failed_solves: Annotated[int, Field(description="Trial points at which the equations could not be solved.")]
    loss: Annotated[float, Field(description="The best loss after this stage.")]
    gradient_norm: Annotated[
        float,
        Field(description="Euclidean norm of the gradient of the loss at the best point, in the caller's units."),
    ]
    seconds: float
    stopped: Stopped
    start_losses: Annotated[
        Numbers | None,
        Field(description="If the stage had several starts: the loss that each reached, in ascending order."),
    ] = None
    other_optima: Annotated[
        list[OtherOptimum] | None,
        Field(description="At most ten points far from the best one at which other starts reached the best loss."),
    ] = None

    def reached(self, best: float) -> int:
        """Return how many of the starts reached the best loss."""
        return sum(has_reached(loss, best) for loss in self.start_losses or [])


class EventTime(Response):
    """An event that has happened."""

    name: str
    time: float


class Dense(Response):
    """A trajectory on a fine time grid, for plots. Observables are null where they are not finite."""

    times: Annotated[
        Numbers, Field(description="The time of a dose, change or event is there twice: before and after it.")
    ]
    states: dict[str, Numbers]
    values: dict[str, NumbersOrNull]
    inputs: Annotated[dict[str, Numbers] | None, Field(description="The system's inputs, if it has any.")] = None
    events: Annotated[list[EventTime] | None, Field(description="The events that happened, in order.")] = None


class Trajectory(Response):
    """The fitted trajectory of one series."""

    name: str
    initial_state: dict[str, Estimate]
    parameters: Annotated[
        dict[str, Estimate] | None, Field(description="The values of the `per_experiment` parameters.")
    ] = None
    derived: Annotated[
        dict[str, Estimate] | None,
        Field(description="The derived quantities that differ between experiments."),
    ] = None
    times: Numbers
    states: dict[str, Numbers]
    values: Annotated[
        dict[str, NumbersOrNull],
        Field(description="All observables, whether measured or not; null where not finite."),
    ]
    residuals: Annotated[
        dict[str, NumbersOrNull],
        Field(
            description="Data minus model, divided by sigma if one is given; for lognormal noise, of the logarithms."
        ),
    ]
    sigma: Annotated[
        dict[str, NumbersOrNull] | None,
        Field(description="The sigma at each time, for each observable whose noise gives it as an expression."),
    ] = None
    dense: Dense


class PredictionError(Response):
    """Why a prediction could not be computed."""

    code: str
    detail: str


class PredictionResult(Response):
    """A prediction, or the reason why it could not be computed."""

    name: str
    times: Numbers
    initial_state: dict[str, float] | None = None
    parameters: dict[str, float] | None = None
    states: dict[str, Numbers] | None = None
    values: Annotated[dict[str, NumbersOrNull] | None, Field(description="All observables; null where not finite.")] = (
        None
    )
    loss: float | None = None
    rmse: dict[str, float] | None = None
    lower_95: Annotated[
        dict[str, NumbersOrNull] | None,
        Field(
            description="Lower end of the 95 % band of the model's value, null where it has none; present if "
            "uncertainty was requested."
        ),
    ] = None
    upper_95: Annotated[
        dict[str, NumbersOrNull] | None, Field(description="Upper end of the 95 % band of the model's value.")
    ] = None
    error: PredictionError | None = None


class SimulatedTrajectory(Response):
    """A trajectory at the guesses, or the reason why it could not be computed."""

    name: str
    initial_state: dict[str, Estimate] | None = None
    times: Numbers
    states: dict[str, Numbers] | None = None
    values: Annotated[dict[str, NumbersOrNull] | None, Field(description="All observables; null where not finite.")] = (
        None
    )
    dense: Dense | None = None
    error: PredictionError | None = None


class FitWarning(Response):
    """A reason to be careful with the result."""

    code: WarningCode
    message: str
    names: Annotated[
        list[str] | None, Field(description="The unknowns, observables or predictions that the warning is about.")
    ] = None


class Statistics(Response):
    """How well the model describes the data. The documentation gives the formulas."""

    aic: Annotated[float | None, Field(description="Akaike's information criterion.")] = None
    bic: Annotated[float | None, Field(description="The Bayesian information criterion.")] = None
    r_squared: Annotated[dict[str, float], Field(description="1 − RSS/TSS of each observable whose measurements vary.")]


class Covariance(Response):
    """The covariance matrix of the estimates, in the caller's units."""

    names: list[str]
    matrix: list[Numbers]


class Profile(Response):
    """The profile likelihood of one unknown: for each of its values, the lowest loss that the others can reach."""

    values: Annotated[Numbers, Field(description="Values of the unknown, increasing, in the caller's units.")]
    losses: Numbers
    limit: Annotated[float, Field(description="The loss at which the 95 % confidence interval ends.")]
    parabola: Annotated[
        Numbers | None,
        Field(description="The losses that the covariance predicts at these values; absent if there is no covariance."),
    ] = None


ToleranceUsed = TypeAliasType("ToleranceUsed", float | dict[str, float])


class SolverUsed(Response):
    """The solver that computed the trajectories."""

    engine: str
    method: Annotated[str, Field(description="Joined by + if the solver switched methods, as in dopri5+kvaerno5.")]
    device: str
    atol: Annotated[
        ToleranceUsed | None,
        Field(
            description="The absolute tolerance; where it was `auto`, by state the one that the largest size in the "
            "fitted trajectories gives."
        ),
    ] = None


class SimulationResult(Response):
    """The trajectories of all series, at the guesses."""

    trajectories: list[SimulatedTrajectory]
    solver: SolverUsed

    def to_json(self) -> str:
        """Return the result as JSON text, without the fields that have no value."""
        return self.model_dump_json(exclude_none=True)


class TrainedLayer(Response):
    """A layer of a network: W·h + b."""

    weight: Annotated[list[list[float]], Field(description="W, a row for each unit of this layer.")]
    bias: Annotated[list[float], Field(description="b, a number for each unit of this layer.")]


class TrainedScaling(Response):
    """How inputs or outputs of a network are scaled: value = offset + scale·(what the layers see)."""

    offset: list[float]
    scale: list[float]


class SampledNetwork(Response):
    """What a network gives along the fitted trajectories."""

    inputs: Annotated[list[list[float]], Field(description="A list for each point, in the order of `inputs`.")]
    outputs: Annotated[dict[str, list[float]], Field(description="For each output its value at each point.")]


class TrainedNetwork(Response):
    """A network with its weights; a request takes it as a `start`."""

    inputs: Annotated[list[str], Field(description="The expressions of the inputs.")]
    outputs: list[str]
    activation: str
    layers: Annotated[
        list[TrainedLayer],
        Field(description="From the inputs to the outputs; each but the last is followed by the activation."),
    ]
    input_scaling: Annotated[TrainedScaling, Field(description="(x − offset)/scale goes in.")]
    output_scaling: Annotated[TrainedScaling, Field(description="offset + scale·y comes out.")]
    sampled: SampledNetwork | None = None


class FitResult(Response):
    """The result of a fit: the `result` of a response.

    >>> from odelib import FitProblem, fit
    >>> problem = FitProblem.model_validate({
    ...     "system": {"states": ["c"], "parameters": ["k"], "equations": {"c": "-k*c"}},
    ...     "data": {"times": [0, 1, 2, 3], "values": {"c": [8.1, 4.0, 1.9, 1.0]}},
    ...     "parameters": {"k": 1.0}, "initial_state": {"c": {"guess": 8.0, "fixed": True}},
    ...     "uncertainty": "covariance",
    ... })
    >>> result = fit(problem)
    >>> k = result.parameters["k"]
    >>> k.lower_95 < k.value < k.upper_95, result.initial_state["c"].fixed
    (True, True)
    >>> FitResult.model_validate_json(result.to_json()) == result
    True
    """

    loss: float
    loss_parts: LossParts
    observations: Annotated[int, Field(description="How many measured values were fitted; nulls do not count.")]
    outcome: Outcome
    parameters: dict[str, Estimate]
    initial_state: Annotated[dict[str, Estimate], Field(description="The initial state of the first series.")]
    derived: Annotated[dict[str, Estimate] | None, Field(description="The derived quantities of the system.")] = None
    noise: Annotated[
        dict[str, NoiseEstimate] | None,
        Field(description="The noise parameters of each observable; present if `noise` was given."),
    ] = None
    networks: Annotated[
        dict[str, TrainedNetwork] | None,
        Field(description="The trained networks, with everything that is needed to compute them elsewhere."),
    ] = None
    stages: list[StageReport]
    trajectories: list[Trajectory]
    predictions: list[PredictionResult] | None = None
    hold_out: Annotated[
        list[PredictionResult] | None,
        Field(description="The data that were held out of the fit, predicted and scored."),
    ] = None
    covariance: Annotated[Covariance | None, Field(description="Present if uncertainty was requested.")] = None
    profiles: Annotated[
        dict[str, Profile] | None, Field(description="Of each free unknown; present if `uncertainty` is `profile`.")
    ] = None
    warnings: list[FitWarning]
    statistics: Statistics
    solver: SolverUsed

    def to_json(self) -> str:
        """Return the result as JSON text, without the fields that have no value."""
        return self.model_dump_json(exclude_none=True)


class RowMistake(Response):
    """One mistake in a series of a batch."""

    pointer: Annotated[
        str,
        Field(
            description="Where it is in the series (RFC 6901); it begins with `/request` if the request is wrong for "
            "this series only."
        ),
    ]
    detail: str


class RowError(Response):
    """Why a series of a batch could not be fitted."""

    type: str
    title: str
    detail: str
    errors: Annotated[list[RowMistake] | None, Field(description="Present if the series is invalid.")] = None


class BatchRow(Response):
    """The result of one series of a batch."""

    name: Annotated[str | None, Field(description="The name of the series; absent if it has no valid one.")] = None
    status: Annotated[str, Field(description="`succeeded`, `failed` or `cancelled`; more may be added.")]
    outcome: Annotated[
        OutcomeCode | None, Field(description="The code of the outcome, as in a result; present if there is a result.")
    ] = None
    loss: float | None = None
    parameters: dict[str, Estimate] | None = None
    initial_state: dict[str, Estimate] | None = None
    derived: dict[str, Estimate] | None = None
    noise: dict[str, NoiseEstimate] | None = None
    warnings: list[FitWarning] = []
    error: RowError | None = None

    def to_json(self) -> str:
        """Return the row as JSON text, without the fields that have no value."""
        return self.model_dump_json(exclude_none=True)
