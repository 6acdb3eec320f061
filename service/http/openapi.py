"""The OpenAPI document, in the form that client generators understand best.

`python -m service.http.openapi > openapi.json` writes the committed copy.

What FastAPI and pydantic make of the routes and models is edited in one place, here: the body of `POST /fits`
(read by hand), errors as `Problem` alone, optional properties plain rather than nullable, codes open to further
ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from odelib.problem.request import FitProblem
from service.http.schemas import Problem

INTERFACE_VERSION = "0.1.0"
TITLE = "odefit"
DESCRIPTION = (
    "Fit ordinary differential equations to measured time series.\n\n"
    "The interface only grows: fields, members of enumerations and codes may be added; clients must let pass "
    "what they do not know. What does not exist is absent, never null; in data, null is a missing value. "
    "Every error is `application/problem+json` (RFC 9457)."
)
_TAGS = [
    {"name": "fits", "description": "Submit, read, list, cancel and forget fits."},
    {"name": "systems", "description": "The catalogue of systems."},
    {"name": "health", "description": "Whether the service lives and can take fits. No key needed."},
]
_REFERENCE = "#/components/schemas/"
_HEADERS = {
    "Location": ("The fit's address.", "string"),
    "Retry-After": ("Seconds after which to look again.", "integer"),
    "Preference-Applied": ("The `Prefer` that was followed.", "string"),
}
# The operations that take the id of the fit which was submitted.
_OF_ONE_FIT = ("get_fit", "get_fit_problem", "cancel_fit", "forget_fit")
EXAMPLES = {
    "catalogue": {
        "summary": "A system of the catalogue, a series and the guesses: the least there is",
        "value": {
            "system": "lotka-volterra",
            "data": {"times": [0.0, 0.1, 0.2], "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]}},
            "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
            "initial_state": {"prey": 0.8, "predator": 1.2},
        },
    },
    "definition": {
        "summary": "Your own equations, with bounds, errors and a forecast",
        "value": {
            "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
            "data": {"times": [0.0, 1.0, 2.0, 3.0], "values": {"x": [2.0, 1.2, 0.75, 0.44]}},
            "parameters": {"k": {"guess": 0.4, "lower": 0.01, "upper": 10.0, "scale": "log"}},
            "initial_state": {"x": 2.0},
            "predictions": [{"name": "later", "times": [4.0, 5.0]}],
            "uncertainty": "covariance",
        },
    },
}

Node = dict[str, Any]


def operation_id(route: APIRoute) -> str:
    """The route's function names the operation."""
    return route.name


def document(app: FastAPI) -> Node:
    """The OpenAPI document of `app`, made once."""
    if not app.openapi_schema:
        app.openapi_schema = _build(app)
    return app.openapi_schema


def _build(app: FastAPI) -> Node:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes, tags=_TAGS)
    schemas: Node = made["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _add_models(schemas)
    _describe_submission(made["paths"]["/fits"]["post"])
    _describe_keys(made)
    for node in _nodes(made):
        _plain_optional(node)
        _open_code(node)
    _untitle(made)
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    return made


def _add_models(schemas: Node) -> None:
    """The request's models, and `Problem`, which no route returns by itself."""
    _, definitions = models_json_schema(
        [(FitProblem, "validation"), (Problem, "serialization")], ref_template=_REFERENCE + "{model}"
    )
    for name, schema in definitions["$defs"].items():
        if name in schemas and schemas[name] != schema:
            raise ValueError(f"two models are called {name!r}, one in requests and one in answers")
        schemas[name] = schema


def _describe_submission(operation: Node) -> None:
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _REFERENCE + FitProblem.__name__}, "examples": EXAMPLES},
        },
    }
    operation["parameters"] = [
        _header_parameter("Prefer", "`wait=SECONDS`: answer when the fit has ended, at the latest then."),
        _header_parameter("Idempotency-Key", "The same key with the same body gives the same fit again."),
    ]
    for status in ("200", "202"):
        operation["responses"][status]["headers"] = {
            name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()
        }
        operation["responses"][status]["links"] = {
            name: {"operationId": name, "parameters": {"fit_id": "$response.body#/id"}} for name in _OF_ONE_FIT
        }
    operation["responses"]["200"]["description"] = "The fit has ended"
    operation["responses"]["202"]["description"] = "The fit is accepted"


def _header_parameter(name: str, description: str) -> Node:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _describe_keys(made: Node) -> None:
    """A key is needed where the service was started with one, and never for its health."""
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{}, {"key": []}]
    for path, item in made["paths"].items():
        if path.startswith("/health"):
            for operation in item.values():
                operation["security"] = []


def _nodes(root: Any) -> Iterator[Node]:
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
        pending.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())


def _plain_optional(node: Node) -> None:
    """`null` stands for nothing but a missing value: what may be absent is described without it."""
    properties = node.get("properties")
    if isinstance(properties, dict):
        for name in properties.keys() - set(node.get("required", [])):
            properties[name] = _without_null(properties[name])
    elif "in" in node and "schema" in node:
        node["schema"] = _without_null(node["schema"])


def _without_null(schema: Node) -> Node:
    plain = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    if "anyOf" in schema:
        (member,) = [member for member in schema["anyOf"] if member != {"type": "null"}]
        plain |= member
    if isinstance(schema.get("default"), str | int | float):  # generators stumble over other defaults
        plain["default"] = schema["default"]
    return plain


def _open_code(node: Node) -> None:
    """Codes in answers grow: a generated client must not fail at one that it does not know."""
    code = node.get("properties", {}).get("code") if isinstance(node.get("properties"), dict) else None
    if isinstance(code, dict) and "enum" in code:
        known = ", ".join(f"`{member}`" for member in code.pop("enum"))
        code["description"] = f"Known are {known}; further ones may come."


def _untitle(root: Node) -> None:
    """Pydantic gives every property a title, from which generators would make names of classes."""
    for node in list(_nodes(root)):
        for group in ("properties", "$defs"):
            for schema in node.get(group, {}).values() if isinstance(node.get(group), dict) else ():
                if isinstance(schema, dict):
                    schema.pop("title", None)
        if "in" in node and isinstance(node.get("schema"), dict):
            node["schema"].pop("title", None)


if __name__ == "__main__":
    from service.http.app import create_app
    from service.settings import ServiceSettings
    from worker.settings import WorkerSettings

    app = create_app(ServiceSettings.model_construct(), WorkerSettings.model_construct())
    sys.stdout.write(json.dumps(document(app), indent=2, ensure_ascii=False) + "\n")
