"""Requests for tests, functions that change them, and the check of an error response."""

from __future__ import annotations

import copy
import json
from typing import Any, Protocol

Json = dict[str, Any]
REMOVED = object()

MINIMAL: Json = {
    "system": "lotka-volterra",
    "data": {
        "times": [0.0, 0.1, 0.2, 0.3],
        "values": {"prey": [1.02, 1.05, 1.11, 1.2], "predator": [0.97, None, 0.71, 0.6]},
    },
    "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
    "initial_state": {"prey": 0.8, "predator": 1.2},
}
DECAY: Json = {
    "system": {
        "states": ["x"],
        "parameters": ["k"],
        "constants": {"c": 1.0},
        "equations": {"x": "-k*x"},
        "observables": {"seen": "2*x"},
    },
    "data": {"times": [0.0, 1.0, 2.0], "values": {"seen": [4.0, 1.9, 1.0]}, "sigma": {"seen": [0.1, 0.1, 0.2]}},
    "parameters": {"k": {"guess": 0.4, "lower": 0.1, "upper": 2.0}},
    "initial_state": {"x": {"guess": 2.0, "fixed": True}},
    "stages": [{"kind": "adam", "steps": 5}, {"kind": "lbfgsb", "steps": 10}],
    "solver": {"rtol": 1e-8},
    "predictions": [{"name": "later", "times": [3.0, 4.0]}],
}


class Response(Protocol):
    """The common part of httpx's and the test client's responses."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    def json(self) -> Any: ...


def changed(request: Json, *changes: Any) -> Json:
    """Return a copy in which each (pointer, value) is set; `REMOVED` removes it."""
    request = copy.deepcopy(request)
    for pointer, value in zip(changes[::2], changes[1::2], strict=True):
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        node: Any = request
        for part in path:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        key: Any = int(last) if isinstance(node, list) else last
        if value is REMOVED:
            del node[key]
        else:
            node[key] = value
    return request


def encoded(request: Any) -> bytes:
    """Return the request as JSON; a string `"@@1e400"` becomes the bare 1e400."""
    text = json.dumps(request)
    for bare in ("1e400", "-1e400", "1" + "0" * 400, "1" + "0" * 5000, "9007199254740993", "1e-400", "NaN"):
        text = text.replace(f'"@@{bare}"', bare)
    return text.encode()


def problem(response: Response, status: int, code: str) -> Json:
    """Check that a response is an RFC 9457 error with this status and code; returns its body."""
    assert response.headers["content-type"] == "application/problem+json"
    body: Json = response.json()
    assert (response.status_code, body["status"], body["type"]) == (status, status, f"urn:odefit:error:{code}")
    assert body["title"] != ""
    assert body["detail"] != ""
    assert all(entry["detail"] for entry in body.get("errors", []))
    return body


def pointers(body: Json) -> list[str]:
    """Return the pointers of a 422."""
    return [entry["pointer"] for entry in body["errors"]]
