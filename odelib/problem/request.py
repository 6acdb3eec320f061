"""What is asked: the body of `POST /fits`, shared by HTTP, command line and library.

The models here hold the form (types, required fields, no unknown ones); `odelib.problem.checks` holds what
the fields must mean together. `FitProblem.model_validate` runs both and reports everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from typing_extensions import TypeAliasType

from odelib.errors import FieldError, ProblemError
from odelib.problem.checks import check, resolve_system
from odelib.problem.checks.form import form_errors
from odelib.problem.checks.sizes import too_large
from odelib.problem.checks.unknowns import middle
from odelib.problem.fields import (
    Count,
    Key,
    Label,
    NonNegativeNumber,
    Number,
    Numbers,
    NumbersOrNull,
    Omittable,
    PositiveNumber,
    PositiveNumbers,
    Request,
    Text,
    Whole,
)
from odelib.problem.limits import Limits
from odelib.problem.noise import Noise
from odelib.problem.pointers import join, split
from odelib.problem.priors import Prior
from odelib.problem.stages import AnyStage, Stage, default_plan, with_starts
from odelib.problem.system import System, SystemDefinition

MAX_ERRORS = 1_000  # in one answer


class Unknown(Request):
    """A parameter or an initial value with what is known about it."""

    guess: Annotated[
        Omittable[Number],
        Field(description="Where the fit starts. May be left out between two bounds: the geometric mean on a log "
              "scale, else the middle."),
    ] = None  # fmt: skip
    lower: Annotated[Omittable[Number], Field(description="Lower bound; none if left out.")] = None
    upper: Annotated[Omittable[Number], Field(description="Upper bound; none if left out.")] = None
    scale: Annotated[Literal["linear", "log"], Field(description="`log`: positive, and searched in its logarithm.")] = (
        "linear"
    )
    fixed: Annotated[bool, Field(strict=True, description="Not fitted: stays at the guess.")] = False
    prior: Annotated[
        Omittable[Prior], Field(description="What is known of it beforehand; needs `noise`, hence a likelihood.")
    ] = None

    @property
    def start(self) -> float:
        """The guess, or the middle between the bounds where it was left out."""
        if self.guess is not None:
            return self.guess
        if self.lower is None or self.upper is None:
            raise ValueError("an unknown without a guess needs two bounds")  # checks.py refuses such a request
        return middle(self.lower, self.upper, self.scale)

    @property
    def is_fixed(self) -> bool:
        """Fixed by name, or between two equal bounds."""
        return self.fixed or (self.lower is not None and self.lower == self.upper)


def _kind(value: Any) -> str:
    if isinstance(value, Request | Mapping):
        return "~object"
    if isinstance(value, str):
        return "~text"
    return "~list" if isinstance(value, list) else "~number"


# Unions of different JSON types are named components of the OpenAPI document, so that generated clients have a
# name for them. Their tags start with "~": no part of a pointer.
ParameterEntry = TypeAliasType(
    "ParameterEntry",
    Annotated[Annotated[Number, Tag("~number")] | Annotated[Unknown, Tag("~object")], Discriminator(
        lambda value: "~object" if _kind(value) == "~object" else "~number"
    )],
)  # fmt: skip
InitialStateEntry = TypeAliasType(
    "InitialStateEntry",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Text, Tag("~text")] | Annotated[Unknown, Tag("~object")],
        Discriminator(lambda value: "~number" if _kind(value) == "~list" else _kind(value)),
    ],
)
SigmaEntry = TypeAliasType(
    "SigmaEntry",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[PositiveNumbers, Tag("~list")],
        Discriminator(lambda value: "~list" if isinstance(value, list) else "~number"),
    ],
)
SystemChoice = TypeAliasType(
    "SystemChoice",
    Annotated[
        Annotated[Text, Tag("~text")] | Annotated[SystemDefinition, Tag("~object")],
        Discriminator(lambda value: "~object" if _kind(value) == "~object" else "~text"),
    ],
)
Measurements = dict[Key, NumbersOrNull]


class MeasuredSeries(Request):
    """What one measured series holds, whatever its name."""

    name: str
    times: Annotated[
        Numbers,
        Field(min_length=1, description="Non-decreasing, in your own unit; equal times are replicates."),
    ]
    values: Annotated[
        Measurements,
        Field(min_length=1, description="Per observable one number per time, null where missing."),
    ]
    start_time: Annotated[
        Omittable[Number], Field(description="When the initial state holds; the first time if left out.")
    ] = None
    sigma: Annotated[
        dict[Key, SigmaEntry],
        Field(description="Per observable the standard deviation: one, or one per time."),
    ] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry], Field(description="Replaces the request's entries name by name.")
    ] = {}
    constants: Annotated[dict[Key, Number], Field(description="Override the system's constants.")] = {}

    @property
    def start(self) -> float:
        """The time at which the initial state holds."""
        return self.times[0] if self.start_time is None else self.start_time


class Series(MeasuredSeries):
    """The only measured series."""

    name: Annotated[Label, Field(description="By which the result names this series.")] = "data"


class Experiment(MeasuredSeries):
    """One of several measured series."""

    name: Annotated[Label, Field(description="Unique; by which the result and predictions name this experiment.")]


class Solver(Request):
    """How trajectories are computed."""

    engine: Annotated[
        Literal["auto", "compiled", "torchdiffeq"], Field(description="`auto`: the compiled one where it can.")
    ] = "auto"
    method: Annotated[
        Literal["auto", "dopri5", "tsit5", "dop853", "kvaerno5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"],
        Field(description="`auto`: explicit, and implicit where the system turns out to be stiff."),
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="`auto`: a GPU where that pays and one is there; `cuda` fails where none can be had."),
    ] = "auto"
    rtol: PositiveNumber = 1e-6
    atol: PositiveNumber = 1e-8
    max_steps: Annotated[Count, Field(le=2**31 - 1, description="Of the solver, per trajectory.")] = 100_000


class Prediction(Request):
    """A trajectory to compute from the fitted values, and to score where `values` are given."""

    name: Label
    times: Annotated[Numbers, Field(min_length=1)]
    experiment: Omittable[Label] = None
    initial_state: Annotated[
        Omittable[dict[Key, Number]],
        Field(description="Holds at the first of `times`; states left out start from their fitted initial value."),
    ] = None
    parameters: Annotated[dict[Key, Number], Field(description="Those left out are the fitted ones.")] = {}
    values: Annotated[
        Omittable[Annotated[Measurements, Field(min_length=1)]],
        Field(description="Measurements to score the prediction with."),
    ] = None


class Penalty(Request):
    """Adds l1·Σ|x − x₀| + l2·Σ(x − x₀)² to the loss, in the caller's units."""

    l1: NonNegativeNumber = 0.0
    l2: NonNegativeNumber = 0.0
    names: Annotated[
        Omittable[list[Text]],
        Field(min_length=1, description="Parameters and initial values; all free parameters if left out."),
    ] = None
    toward: Annotated[Literal["zero", "guess"], Field(description="What x₀ is.")] = "zero"


class HoldOut(Request):
    """What is left out of the fit, and scored. Exactly one of the two."""

    after: Annotated[Omittable[Number], Field(description="Times later than this one.")] = None
    experiments: Annotated[
        Omittable[list[Label]],
        Field(min_length=1, description="Names; their initial states stay at the guess."),
    ] = None


class FitProblem(Request):
    """A fit request: the body of `POST /fits`."""

    system: Annotated[SystemChoice, Field(description="A catalogue name, or a definition.")]
    data: Annotated[Omittable[Series], Field(description="One measured series.")] = None
    experiments: Annotated[
        Omittable[list[Experiment]],
        Field(
            min_length=1,
            description="In place of `data`: series that share the parameters, each with its own initial state.",
        ),
    ] = None
    per_experiment: Annotated[
        list[Text], Field(description="Names of the parameters that are each experiment's own, from the same guess.")
    ] = []
    parameters: Annotated[dict[Key, ParameterEntry], Field(description="A guess for each parameter.")] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry],
        Field(description="A guess for each state, or an expression of parameters and constants."),
    ] = {}
    noise: Annotated[
        Omittable[dict[Key, Noise]],
        Field(
            description="How each observable's measurements scatter; the loss is then the negative log-likelihood. "
            "Left out, it is the sum of (residual/sigma)²."
        ),
    ] = None
    penalty: Omittable[Penalty] = None
    starts: Annotated[
        Omittable[Count],
        Field(description="From how many starting points the optimum is sought; the stage `multi_start` does it."),
    ] = None
    stages: Annotated[
        list[Stage],
        Field(
            min_length=1,
            description="What to run, in order; the service chooses if left out.",
            default_factory=lambda fields: default_plan(fields.get("starts")),
        ),
    ]
    solver: Solver = Solver()
    predictions: list[Prediction] = []
    uncertainty: Annotated[
        Literal["none", "covariance", "profile"],
        Field(
            description="`covariance`: standard errors, 95 % intervals, the covariance matrix and bands. `profile`: "
            "the intervals by profile likelihoods, and these, as well."
        ),
    ] = "none"
    hold_out: Omittable[HoldOut] = None
    seed: Whole = 0
    time_limit_seconds: Annotated[
        PositiveNumber, Field(le=31_536_000, description="Running time over all attempts.")
    ] = 3600.0
    labels: Annotated[dict[Key, Text], Field(description="Your own notes; returned as they are.")] = {}

    _system: System | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, raw: Any, handler: ModelWrapValidatorHandler[FitProblem], info: ValidationInfo) -> FitProblem:
        if isinstance(raw, FitProblem):
            return raw
        limits = info.context if isinstance(info.context, Limits) else Limits()
        if isinstance(raw, dict) and (huge := too_large(raw, limits)):
            raise _validation_error(huge)
        try:
            problem = handler(raw)
        except ValidationError as error:
            wrong = form_errors(error, raw, MAX_ERRORS)
            meaning = check(raw, limits)[1] if isinstance(raw, dict) else []
            places = {one.pointer for one in wrong}
            raise _validation_error(wrong + [one for one in meaning if not _is_within(one.pointer, places)]) from None
        # What was validated, not what was sent: in Python, parts of a request may have been models.
        problem._system, meaning = check(problem.model_dump(exclude_unset=True), limits)
        if meaning:
            raise _validation_error(meaning)
        return problem

    @property
    def resolved_system(self) -> System:
        """The system with its expressions parsed."""
        if self._system is None:  # built without validation, as by model_construct
            self._system = resolve_system(self.system, Limits())
        return self._system

    @property
    def plan(self) -> list[AnyStage]:
        """The stages to run: those asked for, after as many starts as are asked for."""
        return with_starts(self.stages, self.starts) if self.starts else self.stages

    @property
    def series(self) -> Sequence[MeasuredSeries]:
        """The measured series, in order, those held out among them."""
        return [self.data] if self.data else self.experiments or []


def parse_problem(raw: Any, limits: Limits | None = None) -> FitProblem:
    """Validate the parsed body of a fit request.

    Raises `ProblemError` with all mistakes at once, each with its JSON pointer.
    """
    try:
        return FitProblem.model_validate(raw, context=limits or Limits())
    except ValidationError as error:
        raise ProblemError(field_errors(error)) from None


def request_of(problem: FitProblem) -> dict[str, Any]:
    """The request with all defaults filled in, as JSON; it can be sent as it stands."""
    return problem.model_dump(mode="json", exclude_none=True)


def field_errors(error: ValidationError) -> list[FieldError]:
    """The mistakes that `FitProblem.model_validate` found, as pointers and sentences."""
    return [FieldError(join("", *details["loc"]), details["msg"]) for details in error.errors(include_url=False)]


def _validation_error(errors: list[FieldError]) -> ValidationError:
    if len(errors) > MAX_ERRORS:
        errors = [*errors[:MAX_ERRORS], FieldError("", f"more than {MAX_ERRORS} mistakes; these are the first")]
    return ValidationError.from_exception_data(
        FitProblem.__name__,
        [
            InitErrorDetails(
                type=PydanticCustomError("problem", "{detail}", {"detail": error.detail}),
                loc=tuple(split(error.pointer)),
                input=None,
            )
            for error in errors
        ],
    )


def _is_within(pointer: str, places: set[str]) -> bool:
    """Whether the thing at `pointer`, or something around it, has one of `places`."""
    while pointer not in places:
        if not pointer:
            return False
        pointer = pointer.rpartition("/")[0]
    return True
