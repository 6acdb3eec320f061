"""The scalar types of the problem language: strict, finite, never coerced."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Strict: `true` or a number in quotes is not a number. JSON knows one kind of number, so 1 is a float here.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NonNegativeNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
MAX_COUNT = 2**53  # beyond it a JSON number is no longer a whole number everywhere
Count = Annotated[int, Field(strict=True, ge=1, le=MAX_COUNT)]
Text = Annotated[str, Field(strict=True)]
Label = Annotated[str, Field(strict=True, min_length=1, max_length=200)]


class Request(BaseModel):
    """The base of all that a caller sends: unknown fields are refused, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
