"""A penalty on unknowns, added to the loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from odelib.problem.fields import NonNegativeNumber, Omittable, Request, Text


class Penalty(Request):
    """Adds l1·Σ|x − x₀| + l2·Σ(x − x₀)² to the loss, in the caller's units."""

    l1: Annotated[NonNegativeNumber, Field(description="Weight of the absolute deviations.")] = 0.0
    l2: Annotated[NonNegativeNumber, Field(description="Weight of the squared deviations.")] = 0.0
    names: Annotated[
        Omittable[list[Text]],
        Field(
            min_length=1,
            description="Names of parameters, and of states (for their initial values); all free parameters if "
            "omitted.",
        ),
    ] = None
    toward: Annotated[Literal["zero", "guess"], Field(description="The value of x₀.")] = "zero"
