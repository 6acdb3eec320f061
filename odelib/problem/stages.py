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


Stage = TypeAliasType("Stage", Annotated[AdamStage | LbfgsbStage, Field(discriminator="kind")])

DEFAULT_PLAN: tuple[AdamStage | LbfgsbStage, ...] = (  # the article's
    AdamStage(kind="adam", steps=3000, learning_rate=0.001),
    LbfgsbStage(kind="lbfgsb", steps=500, initial_step_norm=1e-4),
)
