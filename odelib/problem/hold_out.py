"""Data that are left out of the fit and then used to score it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.fields import Label, Number, Omittable, Request


class HoldOut(Request):
    """Data left out of the fit and used to score it. Give exactly one of the fields."""

    after: Annotated[Omittable[Number], Field(description="Holds out all measurements later than this time.")] = None
    experiments: Annotated[
        Omittable[list[Label]],
        Field(
            min_length=1,
            description="Holds out the experiments with these names. The unknowns that belong only to them keep their "
            "guesses.",
        ),
    ] = None
