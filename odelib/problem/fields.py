"""The scalar types of the problem language: strict, finite, never coerced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

MAX_COUNT = 2**53  # above it, not every whole number is a double, and JSON clients round
NULL = "null is allowed only for a missing measurement"
NOT_UNICODE = "the string is not valid Unicode: it contains half of a surrogate pair"


def _unicode(text: str) -> str:
    """Refuse half of a surrogate pair, which JSON can hold but UTF-8 cannot."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise PydanticCustomError("not_unicode", NOT_UNICODE) from None
    return text


def _unicode_key(name: str) -> str:
    try:
        return _unicode(name)
    except PydanticCustomError as error:
        raise PydanticCustomError("not_unicode_key", error.message_template) from None


def _not_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("null", NULL + "; leave the field out instead")
    return value


def _without_null(schema: dict[str, Any]) -> None:
    """Describe a field that may be omitted as if it were given: null is not a value of it."""
    schema.pop("default", None)
    (member,) = [member for member in schema.pop("anyOf") if member != {"type": "null"}]
    schema.update(member)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


T = TypeVar("T")

# Strict: true and quoted numbers are rejected. JSON has one type of number, so 1 is also a float and 3.0 also a count.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
PositiveNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, gt=0)]
NonNegativeNumber = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=0)]
Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=MAX_COUNT)]
Count = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=MAX_COUNT)]
Text = Annotated[str, Field(strict=True), AfterValidator(_unicode)]
Key = Annotated[str, Field(strict=True), AfterValidator(_unicode_key)]  # the name of an entry
Label = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_unicode)]
# Pydantic stops reading a list at its first invalid entry: a million of them would otherwise give a million errors.
# odelib.problem.checks.form finds the next ones.
Numbers = Annotated[list[Number], Field(strict=True, fail_fast=True)]
NumbersOrNull = Annotated[list[Number | None], Field(strict=True, fail_fast=True)]
PositiveNumbers = Annotated[list[PositiveNumber], Field(strict=True, fail_fast=True)]
# A field that may be omitted. It is then None in Python, but a request must not set it to null.
Omittable = Annotated[T | None, BeforeValidator(_not_null), Field(json_schema_extra=_without_null)]

# A number, or an expression of what the place allows.
Quantity = TypeAliasType(
    "Quantity",
    Annotated[
        Annotated[Number, Tag("~number")] | Annotated[Text, Tag("~text")],
        Discriminator(lambda value: "~text" if isinstance(value, str) else "~number"),
    ],
)


class Request(BaseModel):
    """The base of all models that a caller sends: unknown fields are refused, and a validated model is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def json_type(value: Any) -> str:
    """Return the tag of a value's JSON type, by which pydantic chooses the member of a union.

    Unions of JSON types are named (`TypeAliasType`), so that generated clients have a name for them. Their tags start
    with "~"; `odelib.problem.checks.form` removes them from pointers.
    """
    if isinstance(value, str):
        return "~text"
    if isinstance(value, dict | Request | Mapping):  # dict first: it is the usual one, and Mapping is slow
        return "~object"
    return "~list" if isinstance(value, list) else "~number"
