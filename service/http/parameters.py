"""Query parameters and headers, and how routes declare what can go wrong."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Depends
from starlette.requests import Request

from service.http.errors import ERRORS, MEDIA_TYPE, ParameterError, invalid_parameters
from service.http.schemas import Problem

_KEY_LENGTH = 255


async def _refuse_parameters(request: Request) -> None:
    wrong = [ParameterError(name, f"there is no query parameter {name!r:.80} here") for name in request.query_params]
    if wrong:
        raise invalid_parameters(wrong)


NO_PARAMETERS = [Depends(_refuse_parameters)]
"""For routes that take no query parameters: one that comes is a mistake, not something to ignore."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for the OpenAPI document."""
    return {
        status: {
            "description": " · ".join(title for code_status, title in ERRORS.values() if code_status == status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
        }
        for status in (*statuses, 500)
    }


def seconds_to_wait(preferences: list[str], most: float) -> int | None:
    """The `wait` of the `Prefer` headers (RFC 7240), clipped to `most`; None where it is missing or malformed."""
    for preference in ",".join(preferences).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            digits = re.fullmatch(r'"?([0-9]{1,20})"?', value.strip())
            return min(int(digits[1]), int(most)) if digits else None
    return None


def idempotency_key(header: str | None) -> str | None:
    """The `Idempotency-Key`, checked: 1 to 255 printable ASCII characters."""
    if header is not None and not re.fullmatch(rf"[\x20-\x7e]{{1,{_KEY_LENGTH}}}", header):
        detail = f"a key has 1 to {_KEY_LENGTH} printable ASCII characters"
        raise invalid_parameters([ParameterError("Idempotency-Key", detail)])
    return header
