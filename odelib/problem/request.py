"""A fit request: the body of `POST /fits`, the FILE.json of the command line, and the input of `odelib.fit`.

The models define the form: types, required fields, no unknown fields. `odelib.problem.checks` defines what the fields
must mean together. `FitProblem.model_validate` checks both and reports all mistakes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from odelib.problem.checks.request import RequestExpressions, check_request
from odelib.problem.checks.sizes import too_large
from odelib.problem.checks.system import DeclaredNames, well_formed_definition
from odelib.problem.expressions.parser import Expression
from odelib.problem.fields import Count, Key, Omittable, PositiveNumber, Quantity, Request, Text, Whole
from odelib.problem.hold_out import HoldOut, default_hold_out
from odelib.problem.inputs import Inputs
from odelib.problem.limits import Limits
from odelib.problem.networks import NetworkSettings
from odelib.problem.noise import Noise
from odelib.problem.penalty import Penalty
from odelib.problem.plan import default_plan, with_starts
from odelib.problem.pointers import join, split
from odelib.problem.predictions import Prediction
from odelib.problem.series import Experiment, MeasuredSeries, Series
from odelib.problem.solver import Solver
from odelib.problem.stages import AnyStage, Stage
from odelib.problem.system import System, SystemChoice, SystemDefinition
from odelib.problem.unknowns import InitialStateEntry, ParameterEntry
from odelib.problem.webhook import Webhook

MAX_ERRORS = 1_000  # reported at once


class _Checked(NamedTuple):
    """The system (None if it is invalid), the parsed expressions beside it, and all mistakes."""

    system: System | None
    expressions: RequestExpressions
    mistakes: list[FieldError]


class FitProblem(Request):
    """A fit request: the body of `POST /fits`.

    `model_validate` checks it completely and raises pydantic's `ValidationError` with all mistakes;
    `odelib.problem.request.parse_problem` raises `ProblemError` instead.

    >>> problem = FitProblem.model_validate({
    ...     "system": "lotka-volterra",
    ...     "data": {"times": [0.0, 0.1, 0.2], "values": {"prey": [1.02, 1.05, None], "predator": [0.97, 0.9, 0.71]}},
    ...     "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": {"guess": 2.9, "lower": 0}},
    ...     "initial_state": {"prey": 0.8, "predator": 1.2},
    ... })
    >>> problem.solver.rtol, [stage.kind for stage in problem.stages]
    (1e-06, ['least_squares', 'multiple_shooting', 'least_squares', 'multi_start', 'adam', 'lbfgsb'])
    """

    system: Annotated[SystemChoice, Field(description="Name of a catalogue system, or a definition.")]
    data: Annotated[Omittable[Series], Field(description="A single measured series.")] = None
    experiments: Annotated[
        Omittable[list[Experiment]],
        Field(
            description="In place of `data`: several series, which share the parameters; each has its own initial "
            "state. An empty list beside `data` is ignored.",
        ),
    ] = None
    per_experiment: Annotated[
        list[Text],
        Field(description="Names of parameters that are fitted separately in each experiment, from the same guess."),
    ] = []
    parameters: Annotated[dict[Key, ParameterEntry], Field(description="A guess for each parameter.")] = {}
    initial_state: Annotated[
        dict[Key, InitialStateEntry],
        Field(description="For each state a guess, or an expression of parameters and constants."),
    ] = {}
    inputs: Annotated[
        Inputs, Field(description="For each input of the system its value in all series that do not give their own.")
    ] = {}
    constants: Annotated[
        dict[Key, Quantity],
        Field(description="Replaces constants of the system in all series that do not give their own."),
    ] = {}
    noise: Annotated[
        Omittable[dict[Key, Noise]],
        Field(
            description="Noise distribution of each measured observable; the loss is then the negative "
            "log-likelihood. If omitted, the loss is the sum of (residual/sigma)²."
        ),
    ] = None
    networks: Annotated[
        dict[Key, NetworkSettings], Field(description="How the networks of the system are trained; all optional.")
    ] = {}
    penalty: Annotated[Omittable[Penalty], Field(description="Penalty on unknowns, added to the loss.")] = None
    starts: Annotated[
        Omittable[Count],
        Field(description="Number of starting points, for the stage `multi_start`."),
    ] = None
    stages: Annotated[
        list[Stage],
        Field(
            min_length=1,
            description="Optimisers to run, in order; chosen by the service if omitted.",
            default_factory=lambda fields: default_plan(
                fields.get("starts"), has_networks=bool(getattr(fields.get("system"), "networks", None))
            ),
        ),
    ]
    solver: Annotated[Solver, Field(description="How trajectories are computed.")] = Solver()
    predictions: Annotated[list[Prediction], Field(description="Trajectories to compute from the fitted values.")] = []
    uncertainty: Annotated[
        Literal["none", "covariance", "profile"],
        Field(
            description="`covariance`: standard errors, 95 % intervals, the covariance matrix and prediction bands. "
            "`profile`: in addition, profile likelihoods, from which the intervals are then taken."
        ),
    ] = "none"
    hold_out: Annotated[
        Omittable[HoldOut],
        Field(
            description="Data that are left out of the fit and used to score it; the stage `training` ends by them, "
            "and has some held out if this is omitted.",
            default_factory=default_hold_out,
        ),
    ]
    seed: Annotated[Whole, Field(description="Seed of all random choices.")] = 0
    time_limit_seconds: Annotated[
        PositiveNumber, Field(le=31_536_000, description="Limit on the running time, over all attempts.")
    ] = 3600.0
    labels: Annotated[dict[Key, Text], Field(description="Your own notes, returned unchanged.")] = {}
    continue_from: Annotated[
        Omittable[Text],
        Field(
            description="Id of an earlier fit on the same service: guesses and scales that this request leaves out are "
            "those of its best point."
        ),
    ] = None
    webhook: Annotated[Omittable[Webhook], Field(description="Called by the service when the fit has ended.")] = None

    _checked: _Checked | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _validate(cls, raw: Any, handler: ModelWrapValidatorHandler[FitProblem], info: ValidationInfo) -> FitProblem:
        if isinstance(raw, FitProblem):
            return raw
        limits = info.context if isinstance(info.context, Limits) else Limits()
        if isinstance(raw, dict) and "data" in raw and raw.get("experiments") == []:
            # Generated clients send empty lists for what the caller has left out.
            raw = {name: value for name, value in raw.items() if name != "experiments"}
        if isinstance(raw, dict) and (errors := too_large(raw, limits)):
            raise _validation_error(errors)
        try:
            problem = handler(raw)
        except ValidationError as error:
            of_form = form_errors(error, raw, MAX_ERRORS)
            of_meaning = _check(_plain(raw), limits).mistakes if isinstance(raw, dict) else []
            places = {mistake.pointer for mistake in of_form}
            raise _validation_error(of_form + [m for m in of_meaning if not _is_within(m.pointer, places)]) from None
        # Check the validated request rather than `raw`, which may contain models.
        problem._checked = _check(problem.model_dump(exclude_unset=True), limits)
        if problem._checked.mistakes:
            raise _validation_error(problem._checked.mistakes)
        return problem

    @property
    def resolved_system(self) -> System:
        """The system with its expressions parsed."""
        if self._checked is None or self._checked.system is None:
            raise ValueError("FitProblem.model_construct checks nothing; use parse_problem or model_validate")
        return self._checked.system

    @property
    def expressions(self) -> Mapping[str, Expression]:
        """The parsed expressions outside the system, but for those of noise, by their text."""
        return self._checked.expressions.of_values if self._checked else {}

    @property
    def sigma_expressions(self) -> Mapping[str, Expression]:
        """The parsed expressions of the noise's sigmas, by observable."""
        if self._checked is None or self.noise is None:
            return {}
        texts = {name: settings.sigma_expression for name, settings in self.noise.items()}
        return {name: self._checked.expressions.sigmas[text] for name, text in texts.items() if text is not None}

    @property
    def plan(self) -> list[AnyStage]:
        """The stages to run: `stages`, preceded by `multi_start` if `starts` is given and no stage does it."""
        return with_starts(self.stages, self.starts) if self.starts else self.stages

    @property
    def series(self) -> Sequence[MeasuredSeries]:
        """All measured series, in order, including those held out."""
        return [self.data] if self.data else self.experiments or []


def parse_problem(raw: Any, limits: Limits | None = None) -> FitProblem:
    """Validate the parsed JSON of a fit request. Raises `ProblemError` with all mistakes and their JSON pointers.

    >>> try:
    ...     parse_problem({"system": "lorenz", "data": {"times": [0.0], "values": {"x": [1.0]}}})
    ... except ProblemError as error:
    ...     print(error.errors[0].pointer, error.errors[0].detail)
    /parameters/sigma the parameter 'sigma' needs a guess
    """
    try:
        return FitProblem.model_validate(raw, context=limits or Limits())
    except ValidationError as error:
        raise ProblemError(field_errors(error)) from None


def request_of(problem: FitProblem) -> dict[str, Any]:
    """Return the request as JSON with all defaults filled in. It is itself a valid request."""
    return problem.model_dump(mode="json", exclude_none=True)


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return the mistakes in an error that `FitProblem.model_validate` raised."""
    return [FieldError(join("", *details["loc"]), details["msg"]) for details in error.errors(include_url=False)]


def _check(raw: Mapping[str, Any], limits: Limits) -> _Checked:
    """Check what the fields mean together."""
    report = MistakeReport()
    system, declared = _check_system(raw.get("system"), limits, report)
    expressions = check_request(raw, declared, system, limits, report)
    return _Checked(system, expressions, report.errors)


def _check_system(choice: Any, limits: Limits, report: MistakeReport) -> tuple[System | None, DeclaredNames | None]:
    """Return the system, or None if it is invalid, and its names if at least these can be read."""
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
    of_system = DeclaredNames.of(system)
    return system, replace(declared, value_definitions=of_system.value_definitions) if declared else of_system


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with JSON in place of models: in Python, parts of it may be models already."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value

    return {name: plain(value) for name, value in raw.items()}


def _validation_error(errors: list[FieldError]) -> ValidationError:
    if len(errors) > MAX_ERRORS:
        errors = [
            *errors[:MAX_ERRORS],
            FieldError("", f"there are more than {MAX_ERRORS} mistakes; only the first are listed"),
        ]
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
    """Whether `pointer`, or the pointer of something that contains it, is in `places`."""
    while pointer not in places:
        if not pointer:
            return False
        pointer = pointer.rpartition("/")[0]
    return True
