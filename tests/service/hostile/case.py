"""A hostile body and what it must get."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.service.requests import DECAY, MINIMAL, Json, changed

# Stands for itself in the JSON text, without quotes: `BARE + "1e400"`.
BARE = "@@bare@@"


class Case(NamedTuple):
    """The body, the status it must get, and the pointers: of every mistake, and of nothing else."""

    body: bytes
    status: int
    pointers: tuple[str, ...] = ()


def text(request: Any) -> str:
    """The JSON text of a request, with what is `BARE` put in as it stands."""
    parts = json.dumps(request).split(f'"{BARE}')
    return parts[0] + "".join(part.replace('"', "", 1) for part in parts[1:])


def least(*changes: Any) -> bytes:
    """The contract's least request, with each (pointer, value) put in."""
    return text(changed(MINIMAL, *changes)).encode()


def decay(*changes: Any) -> bytes:
    """A request with a definition, bounds, sigmas, stages and a prediction, with each (pointer, value) put in."""
    return text(changed(DECAY, *changes)).encode()


def refused(body: bytes, *pointers: str) -> Case:
    """422, with these pointers."""
    return Case(body, 422, pointers)


def equation(expression: str) -> Case:
    """An expression that is refused."""
    return refused(decay("/system/equations/x", expression), "/system/equations/x")


def named(name: str, **more: Any) -> Json:
    """A right request whose only parameter has this name."""
    request = changed(DECAY, "/system/parameters", [name], "/system/equations/x", f"-{name}*x")
    return request | {"parameters": {name: 0.4}} | more
