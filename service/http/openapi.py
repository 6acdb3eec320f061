"""The OpenAPI document, in the form that client generators understand best.

FastAPI and pydantic derive it from the routes and models; this module edits the outcome. It adds the body of
`POST /fits`, which the route reads itself, keeps `Problem` as the only error model, describes optional properties
without null, and leaves codes open to additions. `export_openapi.py` prints the document.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from odelib.problem.request import FitProblem
from service.http.schemas import Problem

INTERFACE_VERSION = "0.2.0"
TITLE = "odefit"
DESCRIPTION = (
    "Fit ordinary differential equations to measured time series.\n\n"
    "The interface only grows: fields, enum members and codes may be added. Clients must ignore fields and codes they "
    "do not know. Fields without a value are absent, never null; in data, null is a missing value. "
    "Every error is `application/problem+json` (RFC 9457)."
)
_TAGS = [
    {"name": "fits", "description": "Submit, read, list, cancel and delete fits."},
    {"name": "systems", "description": "The catalogue of systems."},
    {"name": "health", "description": "Whether the service is running and accepts fits. No key needed."},
]
_REFERENCE = "#/components/schemas/"
_HEADERS = {
    "Location": ("Path of the fit.", "string"),
    "Retry-After": ("Seconds to wait before the next request for the fit.", "integer"),
    "Preference-Applied": ("The `Prefer` that the service applied.", "string"),
}
# The operations that take the id of a submitted fit.
_FIT_OPERATIONS = ("get_fit", "get_fit_problem", "cancel_fit", "forget_fit")
EXAMPLES = {
    "catalogue": {
        "summary": "A minimal request: a catalogue system, one series, and guesses",
        "value": {
            "system": "lotka-volterra",
            "data": {"times": [0.0, 0.1, 0.2], "values": {"prey": [1.02, 1.05, 1.11], "predator": [0.97, None, 0.71]}},
            "parameters": {"alpha": 1.2, "beta": 1.0, "gamma": 1.1, "delta": 2.9},
            "initial_state": {"prey": 0.8, "predator": 1.2},
        },
    },
    "definition": {
        "summary": "Your own equations, with bounds, standard errors and a prediction",
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
    """Name the operation after the function of its route."""
    return route.name


def openapi_document(app: FastAPI) -> Node:
    """Return the OpenAPI document of `app`; it is built once."""
    if not app.openapi_schema:
        app.openapi_schema = _build(app)
    return app.openapi_schema


def _build(app: FastAPI) -> Node:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=_TAGS
    )
    schemas: Node = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _add_models(schemas)
    _describe_submission(document["paths"]["/fits"]["post"])
    _describe_keys(document)
    for schema in schemas.values():
        _shorten_description(schema)
    for node in _nodes(document):
        _drop_null(node)
        _open_code(node)
    _drop_titles(document)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _add_models(schemas: Node) -> None:
    """Add the models of the request, and `Problem`, which no route declares as its response model."""
    _, definitions = models_json_schema(
        [(FitProblem, "validation"), (Problem, "serialization")], ref_template=_REFERENCE + "{model}"
    )
    for name, schema in definitions["$defs"].items():
        if name in schemas and schemas[name] != schema:
            raise ValueError(f"a request model and a response model share the name {name!r}")
        schemas[name] = schema


def _shorten_description(schema: Node) -> None:
    """Keep the first paragraph of a model's docstring: the others are about Python."""
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\n")[0]


def _describe_submission(operation: Node) -> None:
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _REFERENCE + FitProblem.__name__}, "examples": EXAMPLES},
        },
    }
    operation["parameters"] = [
        _header_parameter("Prefer", "`wait=SECONDS`: respond when the fit ends, or after this time."),
        _header_parameter("Idempotency-Key", "A repeated key with the same body returns the same fit."),
    ]
    for status in ("200", "202"):
        operation["responses"][status]["headers"] = {
            name: {"description": text, "schema": {"type": kind}} for name, (text, kind) in _HEADERS.items()
        }
        operation["responses"][status]["links"] = {
            name: {"operationId": name, "parameters": {"fit_id": "$response.body#/id"}} for name in _FIT_OPERATIONS
        }


def _header_parameter(name: str, description: str) -> Node:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _describe_keys(document: Node) -> None:
    """Describe the API key: needed if the service has one, and never for /health."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]
    for path, item in document["paths"].items():
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


def _drop_null(node: Node) -> None:
    """Describe optional properties without null, which only means a missing value in data."""
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
    if isinstance(schema.get("default"), str | int | float):  # client generators fail on other defaults
        plain["default"] = schema["default"]
    return plain


def _open_code(node: Node) -> None:
    """Turn an enumeration of codes into a string, so that generated clients accept codes added later."""
    code = node.get("properties", {}).get("code") if isinstance(node.get("properties"), dict) else None
    if isinstance(code, dict) and "enum" in code:
        known = ", ".join(f"`{member}`" for member in code.pop("enum"))
        code["description"] = f"One of {known}; more may be added."


def _drop_titles(root: Node) -> None:
    """Drop the title that pydantic gives every property: client generators would name classes after it."""
    for node in list(_nodes(root)):
        for group in ("properties", "$defs"):
            for schema in node.get(group, {}).values() if isinstance(node.get(group), dict) else ():
                if isinstance(schema, dict):
                    schema.pop("title", None)
        if "in" in node and isinstance(node.get("schema"), dict):
            node["schema"].pop("title", None)
