"""Query parameters and headers of requests."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import Depends
from pydantic import AwareDatetime, BeforeValidator
from starlette.requests import Request

from service.http.errors import ParameterError, invalid_parameters

_MAX_KEY_LENGTH = 255
KEY_PATTERN = rf"^[\x20-\x7e]{{1,{_MAX_KEY_LENGTH}}}$"


async def _refuse_parameters(request: Request) -> None:
    if errors := [ParameterError(name, "unknown query parameter") for name in request.query_params]:
        raise invalid_parameters(errors)


def _iso_8601(text: Any) -> Any:
    # pydantic would also accept a number of seconds since 1970.
    if isinstance(text, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", text, re.ASCII):
        raise ValueError("must be a date and time with a time zone, such as 2026-11-28T09:30:00Z")
    return text


Instant = Annotated[AwareDatetime, BeforeValidator(_iso_8601)]

NO_PARAMETERS = [Depends(_refuse_parameters)]
"""The dependencies of a route without query parameters: any that a request has is an error and not ignored."""


def seconds_to_wait(prefer_headers: list[str], max_seconds: float) -> int | None:
    """Return `wait` of the `Prefer` headers (RFC 7240), at most `max_seconds`; None if missing or malformed."""
    for preference in ",".join(prefer_headers).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = re.fullmatch(r'"?([0-9]{1,20})"?', value.strip())
            return min(int(digits[1]), int(max_seconds)) if digits else None
    return None


def idempotency_key(header: str | None) -> str | None:
    """Return the `Idempotency-Key`, checked: 1 to 255 printable ASCII characters."""
    if header is not None and not re.fullmatch(KEY_PATTERN, header):
        detail = f"the key must consist of 1 to {_MAX_KEY_LENGTH} printable ASCII characters"
        raise invalid_parameters([ParameterError("Idempotency-Key", detail)])
    return header


def matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether an `If-None-Match` header (RFC 9110, 13.1.2) has this tag, or is `*`."""
    tags = [entry.strip().removeprefix("W/") for entry in (if_none_match or "").split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags
