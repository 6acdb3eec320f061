"""The stages that a request may ask for, each an optimiser with its settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from odelib.problem.fields import Count, PositiveNumber, Request


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


class LeastSquaresStage(Request):
    """Levenberg and Marquardt's method on the residuals' derivatives, or the expected information of a likelihood."""

    kind: Literal["least_squares"]
    steps: Count = 200


class MultipleShootingStage(Request):
    """Multiple shooting: segments started from the data, their gaps closed step by step."""

    kind: Literal["multiple_shooting"]
    steps: Count = 100


class MultiStartStage(Request):
    """Several starts, each by multiple shooting and least squares; the best one stands."""

    kind: Literal["multi_start"]
    starts: Annotated[Count, Field(description="The caller's guess and the best point so far among them.")] = 20
    steps: Annotated[Count, Field(description="Of each start, at most.")] = 200
    when: Annotated[
        Literal["always", "doubtful"],
        Field(
            description="`doubtful`: only where the best fit so far is no optimum, leaves a direction flat, is "
            "where a prior hardly expects it, or has structured residuals, and no further start once five have "
            "reached the best loss."
        ),
    ] = "always"


AnyStage = AdamStage | LbfgsbStage | LeastSquaresStage | MultipleShootingStage | MultiStartStage
Stage = TypeAliasType("Stage", Annotated[AnyStage, Field(discriminator="kind")])

DOUBTFUL_STARTS, DOUBTFUL_STEPS = 10, 50


def default_plan(starts: int | None) -> list[AnyStage]:
    """What is run where the request names no stages: cheap stages first, the article's two last.

    starts: how many the request asks for; without, several are run only where the first result is doubtful.
    """
    several = (
        MultiStartStage(kind="multi_start", starts=starts)
        if starts
        else MultiStartStage(kind="multi_start", starts=DOUBTFUL_STARTS, steps=DOUBTFUL_STEPS, when="doubtful")
    )
    return [
        MultipleShootingStage(kind="multiple_shooting"),
        LeastSquaresStage(kind="least_squares"),
        several,
        AdamStage(kind="adam"),
        LbfgsbStage(kind="lbfgsb"),
    ]


def with_starts(stages: list[AnyStage], starts: int) -> list[AnyStage]:
    """The stages, after as many starts as a request asks for."""
    if any(stage.kind == "multi_start" for stage in stages):
        return stages
    return [MultiStartStage(kind="multi_start", starts=starts), *stages]
