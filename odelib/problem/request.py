"""What is asked: the body of `POST /fits`, shared by HTTP, command line and library.

The models here hold the form (types, required fields, no unknown ones); `odelib.problem.checks` holds what
the fields must mean together. `FitProblem.model_validate` runs both and reports everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from odelib.problem import checks
from odelib.problem.fields import (
    MAX_COUNT,
    Count,
    Label,
    NonNegativeNumber,
    Number,
    PositiveNumber,
    Request,
    Text,
)
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.system import System, SystemDefinition


class Unknown(Request):
    """A parameter or an initial value with what is known about it."""

    guess: Annotated[
        Number | None,
        Field(description="Where the fit starts. May be left out between two bounds: the geometric mean on a log "
              "scale, else the middle."),
    ] = None  # fmt: skip
    lower: Annotated[Number | None, Field(description="Lower bound; none if left out.")] = None
    upper: Annotated[Number | None, Field(description="Upper bound; none if left out.")] = None
    scale: Annotated[Literal["linear", "log"], Field(description="`log`: positive, and searched in its logarithm.")] = (
        "linear"
    )
    fixed: Annotated[bool, Field(strict=True, description="Not fitted: stays at the guess.")] = False

    @property
    def start(self) -> float:
        """The guess, or the middle between the bounds where it was left out."""
        if self.guess is not None:
            return self.guess
        if self.lower is None or self.upper is None:
            raise ValueError("an unknown without a guess needs two bounds")  # checks.py refuses such a request
        return checks.middle(self.lower, self.upper, self.scale)

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
        Annotated[PositiveNumber, Tag("~number")] | Annotated[list[PositiveNumber], Tag("~list")],
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
Measurements = dict[str, list[Number | None]]


class Series(Request):
    """One measured series."""

    name: Annotated[Label, Field(description="By which the result names this series.")] = "data"
    times: Annotated[
        list[Number],
        Field(min_length=1, description="Non-decreasing, in your own unit; equal times are replicates."),
    ]
    values: Annotated[
        Measurements,
        Field(min_length=1, description="Per observable one number per time, null where missing."),
    ]
    start_time: Annotated[
        Number | None, Field(description="When the initial state holds; the first time if left out.")
    ] = None
    sigma: Annotated[
        dict[str, SigmaEntry],
        Field(description="Per observable the standard deviation: one, or one per time."),
    ] = {}
    initial_state: Annotated[
        dict[str, InitialStateEntry], Field(description="Replaces the request's entries name by name.")
    ] = {}
    constants: Annotated[dict[str, Number], Field(description="Override the system's constants.")] = {}

    @property
    def start(self) -> float:
        """The time at which the initial state holds."""
        return self.times[0] if self.start_time is None else self.start_time


class AdamStage(Request):
    """Adam, in the caller's units (in the logarithm for unknowns on a log scale)."""

    kind: Literal["adam"]
    steps: Count = 3000
    learning_rate: PositiveNumber = 0.001


class LbfgsbStage(Request):
    """L-BFGS-B, in coordinates divided by each unknown's magnitude."""

    kind: Literal["lbfgsb"]
    steps: Count = 500
    initial_step_norm: Annotated[
        PositiveNumber, Field(description="Length of the first trial step in scaled coordinates.")
    ] = 1e-4


Stage = TypeAliasType("Stage", Annotated[AdamStage | LbfgsbStage, Field(discriminator="kind")])

# While torchdiffeq is the only engine, a gradient takes 0.1 to 1.3 s: 200 steps of Adam, not the article's 3000.
DEFAULT_PLAN: tuple[AdamStage | LbfgsbStage, ...] = (
    AdamStage(kind="adam", steps=200, learning_rate=0.001),
    LbfgsbStage(kind="lbfgsb", steps=500, initial_step_norm=1e-4),
)


class Solver(Request):
    """How trajectories are computed."""

    engine: Literal["auto", "torchdiffeq"] = "auto"
    method: Literal["auto", "dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="`auto`: a GPU where that pays and one is there; `cuda` fails where none can be had."),
    ] = "auto"
    rtol: PositiveNumber = 1e-6
    atol: PositiveNumber = 1e-8
    max_steps: Annotated[int, Field(strict=True, ge=1, le=2**31 - 1, description="Of the solver, per trajectory.")] = (
        100_000
    )


class Prediction(Request):
    """A trajectory to compute from the fitted values, and to score where `values` are given."""

    name: Label
    times: Annotated[list[Number], Field(min_length=1)]
    experiment: Label | None = None
    initial_state: Annotated[
        dict[str, Number] | None,
        Field(description="Holds at the first of `times`; states left out start from their fitted initial value."),
    ] = None
    parameters: Annotated[dict[str, Number], Field(description="Those left out are the fitted ones.")] = {}
    values: Annotated[Measurements | None, Field(description="Measurements to score the prediction with.")] = None


class FitProblem(Request):
    """A fit request: the body of `POST /fits`."""

    system: Annotated[SystemChoice, Field(description="A catalogue name, or a definition.")]
    data: Series
    parameters: Annotated[dict[str, ParameterEntry], Field(description="A guess for each parameter.")] = {}
    initial_state: Annotated[
        dict[str, InitialStateEntry],
        Field(description="A guess for each state, or an expression of parameters and constants."),
    ] = {}
    stages: Annotated[
        list[Stage],
        Field(min_length=1, description="What to run, in order; the service chooses if left out."),
    ] = list(DEFAULT_PLAN)
    solver: Solver = Solver()
    predictions: list[Prediction] = []
    uncertainty: Literal["none"] = "none"
    seed: Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)] = 0
    time_limit_seconds: Annotated[
        NonNegativeNumber, Field(gt=0, le=31_536_000, description="Running time over all attempts.")
    ] = 3600
    labels: Annotated[dict[str, Text], Field(description="Your own notes; returned as they are.")] = {}

    _system: System | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, raw: Any, handler: ModelWrapValidatorHandler[FitProblem], info: ValidationInfo) -> FitProblem:
        if isinstance(raw, FitProblem):
            return raw
        limits = info.context if isinstance(info.context, Limits) else Limits()
        form_errors: list[InitErrorDetails] = []
        problem: FitProblem | None = None
        try:
            problem = handler(raw)
        except ValidationError as error:
            form_errors = [_again(details) for details in error.errors(include_url=False)]
        system, meaning_errors = checks.check(raw, limits) if isinstance(raw, dict) else (None, [])
        wrong_form = {_pointer(details["loc"]) for details in form_errors if "loc" in details}
        new = [e for e in meaning_errors if not any(_covers(pointer, e.pointer) for pointer in wrong_form)]
        if form_errors or new:
            details = form_errors + [_details(error) for error in new]
            raise ValidationError.from_exception_data(cls.__name__, details)
        if problem is None:  # neither a problem nor an error: cannot be
            raise AssertionError("validation returned nothing")
        problem._system = system
        return problem

    @property
    def resolved_system(self) -> System:
        """The system with its expressions parsed."""
        if self._system is None:  # built without validation, as by model_construct
            self._system = checks.resolve_system(self.system, Limits())
        return self._system

    @property
    def series(self) -> list[Series]:
        """The measured series, in order."""
        return [self.data]


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
    """Pydantic's errors as pointers and sentences."""
    return [
        FieldError(_pointer(details["loc"]), _sentence(details["type"], details["loc"], details["msg"]))
        for details in error.errors(include_url=False, include_input=False)
    ]


_LATER = frozenset(
    [
        "noise",
        "experiments",
        "per_experiment",
        "penalty",
        "hold_out",
        "starts",
        "webhook",
        "derived",
        "inputs",
        "networks",
        "events",
        "prior",
    ]
)


def _sentence(kind: str, loc: tuple[int | str, ...], message: str) -> str:
    name = loc[-1] if loc else ""
    if kind == "extra_forbidden":
        if name in _LATER:
            return f"{name!r} is not available in this version of the service"
        return f"unknown field {str(name)!r:.80}"
    if kind == "missing":
        return f"{name!r} is required"
    if kind == "finite_number":
        return "the number is beyond double precision"
    return message


def _pointer(loc: tuple[int | str, ...]) -> str:
    parts = [part for part in loc if not (isinstance(part, str) and part.startswith("~"))]
    if len(parts) > 2 and parts[0] == "stages" and isinstance(parts[1], int):
        del parts[2]  # the stage's tag, which pydantic puts into the place
    if parts and parts[-1] == "[key]":
        del parts[-1]
    return join("", *parts)


def _covers(pointer: str, other: str) -> bool:
    return other == pointer or other.startswith(pointer + "/")


def _again(details: Any) -> InitErrorDetails:
    # Custom, so that a message stays as it was first written, whatever its kind needs as context.
    return InitErrorDetails(
        type=PydanticCustomError(details["type"], details["msg"].replace("{", "{{").replace("}", "}}")),
        loc=details["loc"],
        input=None,
    )


def _details(error: FieldError) -> InitErrorDetails:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in error.pointer.split("/")[1:]]
    if len(parts) > 2 and parts[0] == "stages":
        parts.insert(2, "~meaning")
    return InitErrorDetails(
        type=PydanticCustomError("meaning", error.detail.replace("{", "{{").replace("}", "}}")),
        loc=tuple(parts),
        input=None,
    )
