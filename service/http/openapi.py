"""The OpenAPI document, in the form that client generators understand best.

FastAPI and pydantic derive it from the routes and models; this module edits the outcome. It adds the body of
`POST /fits`, which the route reads itself, keeps `Problem` as the only error model, describes optional properties
without null, and leaves codes open to additions. `export_openapi.py` prints the document.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from odelib.problem.batches import REFUSED
from odelib.problem.request import FitProblem
from odelib.problem.series import Experiment, Series
from odelib.result import FitResult
from service.http.parameters import KEY_PATTERN
from service.http.schemas import Fit, FitProblemAnswer, PartialFit, Problem, ValidRequest
from worker.states import STATUSES

INTERFACE_VERSION = "0.3.0"
TITLE = "odefit"
DESCRIPTION = (
    "Fit ordinary differential equations to measured time series.\n\n"
    "The interface only grows: fields, enum members and codes may be added. Clients must ignore fields and codes they "
    "do not know. Fields without a value are absent, never null; in data, null is a missing value. "
    "Every error is `application/problem+json` (RFC 9457)."
)
_TAGS = [
    {"name": "fits", "description": "Submit, read, list, cancel and delete fits."},
    {"name": "batches", "description": "Many series of one model, each fitted by itself."},
    {"name": "simulations", "description": "Trajectories at the guesses, at once."},
    {"name": "systems", "description": "The catalogue of systems."},
    {"name": "health", "description": "Whether the service is running and accepts fits. No key needed."},
]
_REFERENCE = "#/components/schemas/"
_HEADERS = {
    "Location": ("Path of the fit.", "string"),
    "Retry-After": ("Seconds to wait before the next request.", "integer"),
    "Preference-Applied": ("The `Prefer` that the service applied.", "string"),
    "Idempotency-Replayed": ("`true` if an earlier request with this key submitted the fit.", "string"),
    "Next-Cursor": ("The `cursor` of the next request; absent after the last row of a batch.", "integer"),
    "ETag": ("Changes with the fit; send it as `If-None-Match` to get 304 while it does not.", "string"),
}
_OF_SUBMISSIONS = ("Location", "Retry-After", "Preference-Applied", "Idempotency-Replayed")
_OF_FITS = ("ETag", "Retry-After", "Preference-Applied")
_RETRIED = ("429", "503")  # errors with Retry-After
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
    document["servers"] = [{"url": "/", "description": "The service that this document comes from."}]
    document["info"]["contact"] = {"name": "The maintainers of odefit"}
    _add_models(schemas)
    _describe_submission(document["paths"]["/fits"]["post"])
    _tag_validation(document["paths"]["/fits"]["post"])
    _describe_simulation(document["paths"]["/simulations"]["post"], schemas)
    _describe_batches(document["paths"], schemas)
    _describe_reading(document["paths"]["/fits/{fit_id}"]["get"])
    _describe_keys(document)
    _describe_error_headers(document)
    for schema in schemas.values():
        _shorten_description(schema)
    for node in _nodes(document):
        _drop_null(node)
        _open_code(node)
        _add_format(node)
    _open_status(schemas)
    _name_lists(schemas)
    _drop_titles(document)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _add_models(schemas: Node) -> None:
    """Add the models of the request, and those that no route declares as its response model."""
    _, definitions = models_json_schema(
        [(FitProblem, "validation"), (Problem, "serialization")],
        ref_template=_REFERENCE + "{model}",
    )
    for name, schema in definitions["$defs"].items():
        if name in schemas and schemas[name] != schema:
            raise ValueError(f"a request model and a response model share the name {name!r}")
        schemas[name] = schema
    for model in (FitProblemAnswer, ValidRequest):  # whose request can be sent as it stands
        request = schemas[model.__name__]["properties"]["request"]
        schemas[model.__name__]["properties"]["request"] = {
            "$ref": _REFERENCE + FitProblem.__name__,
            "description": request["description"],
        }
    part = {"description": "The parts of a result that `fields` names.", "type": "object"}
    schemas["PartialResult"] = part | {"properties": dict(schemas[FitResult.__name__]["properties"])}
    schemas[PartialFit.__name__]["properties"]["result"] = {"$ref": _REFERENCE + "PartialResult"}


def _tag_validation(operation: Node) -> None:
    """Say how to tell a fit from a valid request."""
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    mapping = {"valid": _REFERENCE + ValidRequest.__name__} | dict.fromkeys(STATUSES, _REFERENCE + Fit.__name__)
    schema["discriminator"] = {"propertyName": "status", "mapping": mapping}


def _headers(*names: str) -> Node:
    return {name: {"description": _HEADERS[name][0], "schema": {"type": _HEADERS[name][1]}} for name in names}


def _add_parameter(operation: Node, name: str, description: str, **schema: Any) -> None:
    operation.setdefault("parameters", []).append(
        {"name": name, "in": "header", "required": False, "description": description}
        | {"schema": {"type": "string"} | schema}
    )


def _add_idempotency_key(operation: Node, what: str) -> None:
    description = f"A repeated key with the same body returns the same {what}."
    _add_parameter(operation, "Idempotency-Key", description, minLength=1, maxLength=255, pattern=KEY_PATTERN)


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
    _add_parameter(operation, "Prefer", "`wait=SECONDS`: respond when the fit ends, or after this time.")
    _add_idempotency_key(operation, "fit")
    for status in ("200", "202"):
        operation["responses"][status]["headers"] = _headers(*_OF_SUBMISSIONS)
        operation["responses"][status]["links"] = {
            name: {"operationId": name, "parameters": {"fit_id": "$response.body#/id"}} for name in _FIT_OPERATIONS
        }


def _describe_simulation(operation: Node, schemas: Node) -> None:
    """Add the body: a fit request whose series need no values."""
    request = schemas["SimulationRequest"] = copy.deepcopy(schemas[FitProblem.__name__])
    request["title"] = "SimulationRequest"
    request["description"] = "A fit request whose series need no `values`: the body of `POST /simulations`."
    for kind in (Series, Experiment):
        series = schemas[f"Simulated{kind.__name__}"] = copy.deepcopy(schemas[kind.__name__])
        series["title"] = f"Simulated{kind.__name__}"
        series["required"].remove("values")
    request["properties"]["data"]["$ref"] = _REFERENCE + "SimulatedSeries"
    request["properties"]["experiments"]["items"]["$ref"] = _REFERENCE + "SimulatedExperiment"
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE + "SimulationRequest"}, "examples": EXAMPLES}},
    }


def _describe_batches(paths: Node, schemas: Node) -> None:
    """Add the body: a fit request without data, and series that may have their own guesses."""
    request = schemas["BatchFitRequest"] = copy.deepcopy(schemas[FitProblem.__name__])
    request["title"] = "BatchFitRequest"
    request["description"] = "What all series of a batch have in common: a fit request without data."
    for name in REFUSED:
        del request["properties"][name]
    series = schemas["BatchSeries"] = copy.deepcopy(schemas[Experiment.__name__])
    series["title"] = "BatchSeries"
    series["description"] = "A series of a batch, perhaps with its own guesses."
    series["properties"]["parameters"] = request["properties"]["parameters"] | {"description": "Its own guesses."}
    schemas["BatchRequest"] = {
        "title": "BatchRequest",
        "description": "The body of `POST /batches`.",
        "type": "object",
        "additionalProperties": False,
        "required": ["request", "series"],
        "properties": {
            "request": {"$ref": _REFERENCE + "BatchFitRequest"},
            "series": {"type": "array", "items": {"$ref": _REFERENCE + "BatchSeries"}, "minItems": 1},
        },
    }
    operation = paths["/batches"]["post"]
    operation["requestBody"] = {
        "required": True,
        "description": "One object; or as `application/x-ndjson` the request, then a series a line.",
        "content": {
            "application/json": {"schema": {"$ref": _REFERENCE + "BatchRequest"}},
        },
    }
    _add_idempotency_key(operation, "batch")
    for status in ("200", "202"):
        operation["responses"][status]["headers"] = _headers("Location", "Retry-After", "Idempotency-Replayed")
    results = paths["/batches/{batch_id}/results"]["get"]
    # Content types other than those of JSON are described in words: generators of clients reject those that they do not
    # know, and the whole operation with them.
    del results["responses"]["200"]["content"]
    results["responses"]["200"]["headers"] = _headers("Next-Cursor")


def _describe_reading(operation: Node) -> None:
    _add_parameter(operation, "Prefer", "`wait=SECONDS`: respond when the fit ends, or after this time.")
    (fields,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "fields"]
    fields |= {"style": "form", "explode": False}  # separated by commas
    fields["schema"] = {"type": "array", "items": {"type": "string", "enum": list(FitResult.model_fields)}}
    _add_parameter(operation, "If-None-Match", "The `ETag` of an earlier response: 304 if the fit has not changed.")
    for status in ("200", "304"):
        operation["responses"][status]["headers"] = _headers(*_OF_FITS)


def _describe_keys(document: Node) -> None:
    """Describe the API key: needed if the service has one, and never for /health."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]
    for path, item in document["paths"].items():
        if path.startswith("/health"):
            for operation in item.values():
                operation["security"] = []


def _describe_error_headers(document: Node) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status in _RETRIED:
                    response["headers"] = _headers("Retry-After")


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


def _add_format(node: Node) -> None:
    """Say how large numbers are: some client generators would otherwise choose 32 bits."""
    formats = {"number": "double", "integer": "int64"}
    if isinstance(kind := node.get("type"), str) and kind in formats:
        node["format"] = formats[kind]


def _open_status(schemas: Node) -> None:
    """Leave the status of a fit open, as codes are; as a query parameter it stays closed."""
    known = ", ".join(f"`{member}`" for member in schemas["FitStatus"]["enum"])
    for name in ("Fit", "PartialFit"):
        status = schemas[name]["properties"]["status"]
        text = f"{status['description']} One of {known}; more may be added."
        schemas[name]["properties"]["status"] = {"type": "string", "description": text}


def _name_lists(schemas: Node) -> None:
    """Name the lists in unions of JSON types: some client generators fail on a list without a name."""
    for name, schema in list(schemas.items()):
        for i, member in enumerate(schema.get("oneOf", ())):
            if member.get("type") == "array":
                schemas[f"{name}List"] = member
                schema["oneOf"][i] = {"$ref": f"{_REFERENCE}{name}List"}


def _drop_titles(root: Node) -> None:
    """Drop the title that pydantic gives every property: client generators would name classes after it."""
    for node in list(_nodes(root)):
        for group in ("properties", "$defs"):
            for schema in node.get(group, {}).values() if isinstance(node.get(group), dict) else ():
                if isinstance(schema, dict):
                    schema.pop("title", None)
        if isinstance(node.get("schema"), dict):
            node["schema"].pop("title", None)
