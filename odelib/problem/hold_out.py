"""Data that the fit does not use and that score its predictions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from odelib.problem.fields import Label, Number, Omittable, Request


class HoldOut(Request):
    """What is left out of the fit, and scored. Exactly one of the two."""

    after: Annotated[Omittable[Number], Field(description="Times later than this one.")] = None
    experiments: Annotated[
        Omittable[list[Label]],
        Field(min_length=1, description="Names; their initial states stay at the guess."),
    ] = None
