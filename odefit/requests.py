"""What both clients send, and how they understand the answers."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from odefit.errors import Json

DEFAULT_URL = "http://127.0.0.1:8000"
ENDED = frozenset({"succeeded", "failed", "cancelled"})
WAIT_SECONDS = 30  # that one request waits for a fit
TIMEOUT = httpx.Timeout(WAIT_SECONDS + 15.0, connect=5.0)
STREAM_TIMEOUT = httpx.Timeout(40.0, connect=5.0)  # a comment comes every 15 s


def address(url: str | None) -> str:
    """Return the URL of the service: as given, or else that of `ODEFIT_URL`."""
    return (url or os.environ.get("ODEFIT_URL") or DEFAULT_URL).rstrip("/")


def key_headers(key: str | None) -> dict[str, str]:
    """Return the headers with a key: as given, or else that of `ODEFIT_API_KEY`."""
    found = key or os.environ.get("ODEFIT_API_KEY")
    return {"Authorization": f"Bearer {found}"} if found else {}


def submission(idempotency_key: str | None, wait: float | None) -> dict[str, str]:
    """Return the headers of a submission. If a response is lost, the next attempt returns the same fit."""
    headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
    return headers | ({"Prefer": f"wait={math.ceil(wait)}"} if wait else {})


def fit_path(fit_id: str, rest: str = "") -> str:
    """Return the path of a fit."""
    return f"/fits/{quote(fit_id, safe='')}{rest}"


def filters(
    status: str | None, system: str | None, labels: Mapping[str, str] | None, limit: int | None
) -> dict[str, Any]:
    """Return the query of a list."""
    query: dict[str, Any] = {"status": status, "system": system, "limit": limit}
    query = {name: value for name, value in query.items() if value is not None}
    return query | ({"label": [f"{name}:{value}" for name, value in labels.items()]} if labels else {})


def plain(request: Mapping[str, Any] | Any) -> Json:
    """Return a request as JSON: a mapping, or a model of pydantic. Arrays of numpy become lists, NaN null in them."""
    if hasattr(request, "model_dump"):
        request = request.model_dump(mode="json", exclude_none=True)
    found: Json = _plain(request)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if hasattr(value, "tolist"):  # an array or scalar of numpy, or a column of pandas
        return _missing(value.tolist())
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _missing(value: Any) -> Any:
    if isinstance(value, list):
        return [_missing(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
