"""Parameters and initial values: a number, an expression, or a guess with bounds, scale and prior."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Number, Omittable, Request, Text, json_type
from odelib.problem.priors import Prior


class Unknown(Request):
    """A parameter or an initial value: its guess, bounds, scale and prior."""

    guess: Annotated[
        Omittable[Number],
        Field(
            description="Where the fit starts. May be omitted if both bounds are given; it is then their geometric "
            "mean on a log scale, else their midpoint."
        ),
    ] = None
    lower: Annotated[Omittable[Number], Field(description="Lower bound; unbounded if omitted.")] = None
    upper: Annotated[Omittable[Number], Field(description="Upper bound; unbounded if omitted.")] = None
    scale: Annotated[
        Literal["linear", "log"],
        Field(description="`log`: the value is positive and the fit searches its logarithm."),
    ] = "linear"
    fixed: Annotated[bool, Field(strict=True, description="Not fitted: keeps the value of the guess.")] = False
    prior: Annotated[
        Omittable[Prior], Field(description="Prior distribution. Requires `noise`, which defines the likelihood.")
    ] = None

    @property
    def start(self) -> float:
        """The guess, or the centre of the bounds if it was omitted."""
        if self.guess is not None:
            return self.guess
        if self.lower is None or self.upper is None:
            raise ValueError("an unknown without a guess needs two bounds")  # the checks refuse such a request
        return centre(self.lower, self.upper, self.scale)

    @property
    def is_fixed(self) -> bool:
        """Fixed explicitly, or by two equal bounds."""
        return self.fixed or (self.lower is not None and self.lower == self.upper)


def centre(lower: float, upper: float, scale: str) -> float:
    """Return the geometric mean of two bounds on a log scale, else their midpoint; it never overflows.

    >>> centre(1.0, 100.0, "log")
    10.0
    """
    if scale == "log":
        between = math.sqrt(lower) * math.sqrt(upper)
    else:
        between = lower + (upper - lower) / 2 if math.isfinite(upper - lower) else lower / 2 + upper / 2
    return min(max(between, lower), upper)  # rounding could put it outside the bounds


ParameterEntry = TypeAliasType(
    "ParameterEntry",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Unknown, Tag("~object")],
        Discriminator(lambda value: "~object" if json_type(value) == "~object" else "~number"),
    ],
)
InitialStateEntry = TypeAliasType(
    "InitialStateEntry",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Text, Tag("~text")] | Annotated[Unknown, Tag("~object")],
        Discriminator(lambda value: "~number" if json_type(value) == "~list" else json_type(value)),
    ],
)
