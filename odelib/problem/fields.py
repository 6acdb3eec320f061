"""The scalar types of the problem language: strict, finite, never coerced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_COUNT = 2**53  # beyond it a JSON number is no longer a whole number everywhere


def _unicode(text: str) -> str:
    """JSON can hold half of a surrogate pair, which no other part of the way can."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise PydanticCustomError("not_unicode", "the text is not Unicode: half of a surrogate pair") from None
    return text


def _unicode_key(name: str) -> str:
    try:
        return _unicode(name)
    except PydanticCustomError as error:
        raise PydanticCustomError("not_unicode_key", error.message_template) from None


def _not_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError(
            "null", "null stands for a missing measurement and nothing else; leave the field out instead"
        )
    return value


def _describe_as_there(schema: dict[str, Any]) -> None:
    schema.pop("default", None)
    (member,) = [member for member in schema.pop("anyOf") if member != {"type": "null"}]
    schema.update(member)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


T = TypeVar("T")

# Strict: `true` or a number in quotes is not a number. JSON knows one kind of number: 1 is a float and 3.0 a count.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NonNegativeNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=MAX_COUNT)]
Count = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=MAX_COUNT)]
Text = Annotated[str, Field(strict=True), AfterValidator(_unicode)]
Key = Annotated[str, Field(strict=True), AfterValidator(_unicode_key)]  # the name of an entry
Label = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_unicode)]
# The first wrong entry ends the reading of a list, lest one of a million wrong entries yields a million errors;
# odelib.problem.checks.form finds the others.
Numbers = Annotated[list[Number], Field(strict=True, fail_fast=True)]
NumbersOrNull = Annotated[list[Number | None], Field(strict=True, fail_fast=True)]
PositiveNumbers = Annotated[list[PositiveNumber], Field(strict=True, fail_fast=True)]
# A field that may be left out. It is None then, but null is not what may stand there.
Omittable = Annotated[T | None, BeforeValidator(_not_null), Field(json_schema_extra=_describe_as_there)]


class Request(BaseModel):
    """The base of all that a caller sends: unknown fields are refused, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def json_type(value: Any) -> str:
    """The tag of `value` in a union of JSON types.

    Such unions are named (`TypeAliasType`), so that generated clients have a name for them. Their tags start with
    "~", and `odelib.problem.checks.form` takes them out of the pointers.
    """
    if isinstance(value, Request | Mapping):
        return "~object"
    if isinstance(value, str):
        return "~text"
    return "~list" if isinstance(value, list) else "~number"
