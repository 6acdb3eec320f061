"""Parameters and initial values: a number, an expression, or a guess with bounds, scale and prior."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Number, Omittable, Request, Text, json_type
from odelib.problem.priors import Prior


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


def middle(lower: float, upper: float, scale: str) -> float:
    """Where a guess stands that was left out: the geometric mean on a log scale, else the middle."""
    if scale == "log":
        between = math.sqrt(lower) * math.sqrt(upper)
    else:
        between = lower + (upper - lower) / 2 if math.isfinite(upper - lower) else lower / 2 + upper / 2
    return min(max(between, lower), upper)  # rounding must not carry it over a bound


ParameterEntry = TypeAliasType(
    "ParameterEntry",
    Annotated[Annotated[Number, Tag("~number")] | Annotated[Unknown, Tag("~object")], Discriminator(
        lambda value: "~object" if json_type(value) == "~object" else "~number"
    )],
)  # fmt: skip
InitialStateEntry = TypeAliasType(
    "InitialStateEntry",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Text, Tag("~text")] | Annotated[Unknown, Tag("~object")],
        Discriminator(lambda value: "~number" if json_type(value) == "~list" else json_type(value)),
    ],
)
