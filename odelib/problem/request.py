"""What is asked: the body of `POST /fits`, shared by HTTP, command line and library.

The models here hold the form (types, required fields, no unknown ones); `odelib.problem.checks` holds what
the fields must mean together. `FitProblem.model_validate` runs both and reports everything at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from odelib.errors import FieldError, ProblemError
from odelib.problem.catalogue import resolve_system
from odelib.problem.checks.form import form_errors
from odelib.problem.checks.raw import MistakeReport
from odelib.problem.checks.request import check_request
from odelib.problem.checks.sizes import too_large
from odelib.problem.checks.system import DeclaredNames, well_formed_definition
from odelib.problem.expressions.parser import Expression
from odelib.problem.fields import Count, Key, Omittable, PositiveNumber, Request, Text, Whole
from odelib.problem.hold_out import HoldOut
from odelib.problem.limits import Limits
from odelib.problem.noise import Noise
from odelib.problem.penalty import Penalty
from odelib.problem.pointers import join, split
from odelib.problem.predictions import Prediction
from odelib.problem.series import Experiment, MeasuredSeries, Series
from odelib.problem.solver import Solver
from odelib.problem.stages import AnyStage, Stage, default_plan, with_starts
from odelib.problem.system import System, SystemChoice, SystemDefinition
from odelib.problem.unknowns import InitialStateEntry, ParameterEntry

MAX_ERRORS = 1_000  # in one answer


class _Checked(NamedTuple):
    """The resolved system where there is one, the parsed initial values by their text, and all mistakes."""

    system: System | None
    initial_expressions: Mapping[str, Expression]
    mistakes: list[FieldError]


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

    _checked: _Checked | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, raw: Any, handler: ModelWrapValidatorHandler[FitProblem], info: ValidationInfo) -> FitProblem:
        if isinstance(raw, FitProblem):
            return raw
        limits = info.context if isinstance(info.context, Limits) else Limits()
        if isinstance(raw, dict) and (huge := too_large(raw, limits)):
            raise _validation_error(huge)
        try:
            problem = handler(raw)
        except ValidationError as error:
            wrong = form_errors(error, raw, MAX_ERRORS)
            meaning = _check(raw, limits).mistakes if isinstance(raw, dict) else []
            places = {one.pointer for one in wrong}
            raise _validation_error(wrong + [one for one in meaning if not _is_within(one.pointer, places)]) from None
        # What was validated, not what was sent: in Python, parts of a request may have been models.
        problem._checked = _check(problem.model_dump(exclude_unset=True), limits)
        if problem._checked.mistakes:
            raise _validation_error(problem._checked.mistakes)
        return problem

    @property
    def resolved_system(self) -> System:
        """The system with its expressions parsed."""
        if self._checked is None or self._checked.system is None:
            raise ValueError("build a FitProblem with model_validate or parse_problem: model_construct checks nothing")
        return self._checked.system

    @property
    def initial_expressions(self) -> Mapping[str, Expression]:
        """The parsed expressions of initial values, by their text."""
        return self._checked.initial_expressions if self._checked else {}

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


def _check(raw: Mapping[str, Any], limits: Limits) -> _Checked:
    report = MistakeReport()
    raw = {name: _plain(value) for name, value in raw.items()}
    system, declared = _check_system(raw.get("system"), limits, report)
    initial_expressions = check_request(raw, declared, limits, report)
    return _Checked(system, initial_expressions, report.errors)


def _check_system(choice: Any, limits: Limits, report: MistakeReport) -> tuple[System | None, DeclaredNames | None]:
    """The system where it can be had, and its names, which stand even where an expression is wrong."""
    definition = well_formed_definition(choice) if isinstance(choice, Mapping) else None
    declared = DeclaredNames.of(definition) if definition else None
    resolvable = definition or choice
    if not isinstance(resolvable, str | SystemDefinition):
        return None, None
    try:
        system = resolve_system(resolvable, limits)
    except ProblemError as error:
        report.errors.extend(FieldError("/system" + e.pointer, e.detail) for e in error.errors)
        return None, declared
    return system, declared or DeclaredNames.of(system)


def _plain(value: Any) -> Any:
    """In Python, parts of a request may be models already."""
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


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
