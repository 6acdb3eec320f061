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


AnyStage = AdamStage | LbfgsbStage | LeastSquaresStage
Stage = TypeAliasType("Stage", Annotated[AnyStage, Field(discriminator="kind")])

DEFAULT_PLAN: tuple[AnyStage, ...] = (  # the article's
    AdamStage(kind="adam", steps=3000, learning_rate=0.001),
    LbfgsbStage(kind="lbfgsb", steps=500, initial_step_norm=1e-4),
)
