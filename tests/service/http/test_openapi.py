"""The OpenAPI document: current, and in the form that client generators need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from odelib.problem.request import FitProblem
from service.http.app import create_app
from service.http.openapi import openapi_document
from service.settings import ServiceSettings
from worker.settings import WorkerSettings

COMMITTED = Path(__file__).parents[3] / "openapi.json"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(ServiceSettings(), WorkerSettings())


@pytest.fixture(scope="module")
def made(app: FastAPI) -> Json:
    return openapi_document(app)


def operations(made: Json) -> Iterator[tuple[str, Json]]:
    for path, item in made["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def nodes(root: Any, way: str = "") -> Iterator[tuple[str, Json]]:
    if isinstance(root, dict):
        yield way, root
    items = root.items() if isinstance(root, dict) else enumerate(root) if isinstance(root, list) else ()
    for key, node in items:
        yield from nodes(node, f"{way}/{key}")


def resolved(made: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = made["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def test_the_committed_document_is_current(made: Json) -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == made, "run: make openapi"


def test_the_served_document_is_the_committed_one(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == json.loads(COMMITTED.read_text(encoding="utf-8"))


def test_the_documentation_page_shows_it(client: httpx.Client) -> None:
    page = client.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert "/openapi.json" in page.text


def test_operation_ids_are_unique_names_in_snake_case(made: Json) -> None:
    ids = [operation["operationId"] for _, operation in operations(made)]

    assert ids == [name for name in dict.fromkeys(ids) if re.fullmatch("[a-z]+(_[a-z]+)+", name)]


def test_every_operation_has_one_known_tag_and_a_description(made: Json) -> None:
    known = {tag["name"] for tag in made["tags"]}
    for name, operation in operations(made):
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in known, name
        assert operation["description"], name


def test_every_error_is_a_problem_and_nothing_else(made: Json) -> None:
    expected = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for name, operation in operations(made):
        errors = {status: answer for status, answer in operation["responses"].items() if status[0] in "45"}
        assert {"422", "500"} <= set(errors), name
        assert all(answer["content"] == expected for answer in errors.values()), name
    assert not {"HTTPValidationError", "ValidationError"} & set(made["components"]["schemas"])


def test_success_statuses_are_documented(made: Json) -> None:
    successes = {
        name: sorted(status for status in operation["responses"] if status[0] == "2")
        for name, operation in operations(made)
    }

    assert successes == {
        "POST /fits": ["200", "202"],
        "GET /fits": ["200"],
        "GET /fits/{fit_id}": ["200"],
        "DELETE /fits/{fit_id}": ["204"],
        "POST /fits/{fit_id}/cancel": ["200", "202"],
        "GET /fits/{fit_id}/problem": ["200"],
        "GET /fits/{fit_id}/events": ["200"],
        "GET /fits/{fit_id}/result.csv": ["200"],
        "GET /fits/{fit_id}/plot.svg": ["200"],
        "POST /batches": ["200", "202"],
        "GET /batches": ["200"],
        "GET /batches/{batch_id}": ["200"],
        "DELETE /batches/{batch_id}": ["204"],
        "POST /batches/{batch_id}/cancel": ["200", "202"],
        "GET /batches/{batch_id}/results": ["200"],
        "POST /simulations": ["200"],
        "GET /systems": ["200"],
        "GET /systems/{name}": ["200"],
        "GET /metrics": ["200"],
        "GET /health/live": ["200"],
        "GET /health/ready": ["200"],
    }


def test_the_body_of_a_submission_is_the_model(made: Json) -> None:
    body = made["paths"]["/fits"]["post"]["requestBody"]
    schema = made["components"]["schemas"]["FitProblem"]

    assert body["required"] is True
    assert list(body["content"]) == ["application/json"]
    assert body["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/FitProblem"}
    assert set(schema["properties"]) == set(FitProblem.model_fields)
    assert schema["additionalProperties"] is False


def test_the_examples_of_a_submission_are_accepted_and_linked(client: httpx.Client, made: Json) -> None:
    operation = made["paths"]["/fits"]["post"]
    ids = {called["operationId"] for _, called in operations(made)}
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert client.post("/fits", json=example["value"]).status_code == 202
    for status in ("200", "202"):
        links = operation["responses"][status]["links"].values()
        assert {link["operationId"] for link in links} <= ids
        assert {link["parameters"]["fit_id"] for link in links} == {"$response.body#/id"}


def test_null_is_a_missing_value_in_data_and_nothing_else(made: Json) -> None:
    nullable = {way for way, node in nodes(made) if {"type": "null"} in node.get("anyOf", ())}

    assert all(
        re.search(r"/(values|residuals|sigma|lower_95|upper_95)/additionalProperties/items$", way) for way in nullable
    ), nullable
    assert any("/values/" in way for way in nullable)


def test_unions_of_types_are_named_and_unions_of_objects_tagged(made: Json) -> None:
    for way, node in nodes(made):
        members = [resolved(made, member) for word in ("oneOf", "anyOf") for member in node.get(word, ())]
        kinds = {member["type"].replace("integer", "number") for member in members} - {"null"}
        if len(kinds) > 1:
            assert re.fullmatch("/components/schemas/[A-Za-z]+", way), way
        objects = [member for member in members if "properties" in member]
        if len(objects) > 1 and "/responses/200/" not in way:  # told apart by what was asked
            tag = node.get("discriminator", {}).get("propertyName")
            assert set(node["discriminator"]["mapping"].values()) == {member["$ref"] for member in node["oneOf"]}
            assert all(tag in member.get("required", ()) for member in objects), way
            assert all("const" in member["properties"][tag] for member in objects), way
            assert all("default" not in member["properties"][tag] for member in objects), way


def test_every_reference_resolves_and_every_schema_is_used(made: Json) -> None:
    referred = {node["$ref"].rpartition("/")[2] for _, node in nodes(made) if isinstance(node.get("$ref"), str)}

    # A row stands in a line of a response whose media type the document cannot have.
    assert referred | {"BatchRow"} == set(made["components"]["schemas"])


def test_codes_in_responses_are_open(made: Json) -> None:
    for name in ("Outcome", "FitWarning", "Stopped", "PredictionError"):
        code = made["components"]["schemas"][name]["properties"]["code"]
        assert "enum" not in code, name
        assert code["type"] == "string", name


def test_every_route_is_documented(app: FastAPI, made: Json) -> None:
    routes = {(route.path, method) for route in app.routes if isinstance(route, APIRoute) for method in route.methods}

    assert {(path, method.upper()) for path, item in made["paths"].items() for method in item} >= routes


def test_numbers_have_a_size(made: Json) -> None:
    for way, node in nodes(made):
        if node.get("type") in ("number", "integer"):
            assert node["format"] in ("double", "int64"), way


def test_a_stored_request_is_typed_as_one_that_can_be_sent(made: Json) -> None:
    for name in ("FitProblemAnswer", "ValidRequest"):
        request = made["components"]["schemas"][name]["properties"]["request"]
        assert request["$ref"] == "#/components/schemas/FitProblem"


def test_statuses_in_responses_are_open_and_in_queries_closed(made: Json) -> None:
    assert "enum" not in made["components"]["schemas"]["Fit"]["properties"]["status"]
    [status] = [entry for entry in made["paths"]["/fits"]["get"]["parameters"] if entry["name"] == "status"]
    assert resolved(made, status["schema"])["enum"]


def test_lists_in_unions_are_named(made: Json) -> None:
    for way, node in nodes(made):
        assert all("items" not in member for member in node.get("oneOf", ())), way


def test_errors_that_pass_say_when_to_try_again(made: Json) -> None:
    for name, operation in operations(made):
        for status in {"429", "503"} & set(operation["responses"]):
            assert "Retry-After" in operation["responses"][status]["headers"], name


def test_unions_of_objects_carry_a_tag_that_their_members_require(made: Json) -> None:
    for way, node in nodes(made):
        for word in ("anyOf", "oneOf"):
            members = [resolved(made, member) for member in node.get(word, ()) if isinstance(member, dict)]
            objects = [member for member in members if member.get("type") == "object" and "properties" in member]
            if len(objects) > 1:
                tag = node.get("discriminator", {}).get("propertyName")
                assert all(tag in member.get("required", ()) for member in objects), way
