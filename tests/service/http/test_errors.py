"""Every error is application/problem+json, including unexpected errors and those of the framework."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from odelib.errors import FieldError
from service.http.app import create_app
from service.http.errors import ERRORS, invalid_request, problem_response
from service.settings import ServiceSettings
from tests.service.conftest import served
from tests.service.requests import DECAY, changed, pointers, problem
from worker import errors as queue_errors
from worker.settings import WorkerSettings


def test_an_unexpected_error_is_a_500_without_internals(
    queue_settings: WorkerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(ServiceSettings(), queue_settings)

    @app.get("/broken")
    def broken() -> None:
        raise KeyError("secret")

    with served(app) as client:
        body = problem(client.get("/broken"), 500, "internal")

    assert "secret" not in str(body)
    assert "secret" in caplog.text  # but the log has it


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (queue_errors.StoreFull(), 503, "store_full"),
        (queue_errors.StoreUnavailable("redis://:password@redis"), 503, "store_unavailable"),
        (queue_errors.QueueFull(10), 429, "queue_full"),
        (queue_errors.FitEnded("1", "failed"), 409, "fit_ended"),
        (queue_errors.RedisNotStarted("…"), 500, "internal"),
    ],
)
def test_exceptions_of_the_queue_have_their_status(
    queue_settings: WorkerSettings, error: Exception, status: int, code: str
) -> None:
    app = create_app(ServiceSettings(), queue_settings)

    @app.get("/raise")
    def raises() -> None:
        raise error

    with served(app) as client:
        answer = client.get("/raise")

    body = problem(answer, status, code)
    assert "password" not in str(body)
    assert ("retry-after" in answer.headers) is (status in (429, 503))


def test_the_detail_names_the_first_mistake_and_how_many_there_are(client: httpx.Client) -> None:
    wrong = changed(DECAY, "/parameters/k/guess", 9, "/solver/rtol", 0)
    body = problem(client.post("/fits", json=wrong), 422, "invalid_request")

    assert body["detail"].endswith("(and 1 more)")
    assert body["detail"].startswith(pointers(body)[0])


@pytest.mark.parametrize("code", ERRORS)
def test_codes_are_names_and_titles_sentences(code: str) -> None:
    status, title = ERRORS[code]

    assert re.fullmatch("[a-z]+(_[a-z]+)*", code)
    assert 400 <= status < 600
    assert title[0].isupper()
    assert not title.endswith(".")


def test_lone_surrogates_are_escaped() -> None:
    response = problem_response(invalid_request([FieldError("/\ud800", "\ud800")]))

    assert b"\\ud800" in response.body


@pytest.mark.parametrize(
    ("setting", "value", "request_", "status", "pointer"),
    [
        ("max_body_bytes", 100, DECAY, 413, None),
        ("max_json_depth", 3, DECAY, 422, "/data/values/seen"),
        ("max_observations", 2, DECAY, 422, "/data/values"),
        ("max_states", 1, changed(DECAY, "/system/states", ["x", "y"]), 422, "/system/states"),
        ("max_unknowns", 1, changed(DECAY, "/initial_state/x", 2.0), 422, "/system"),
        ("max_expression_characters", 3, DECAY, 422, "/system/equations/x"),
        ("max_expression_levels", 1, DECAY, 422, "/system/equations/x"),
        ("max_stages", 1, DECAY, 422, "/stages"),
        ("max_predicted_values", 1, DECAY, 422, "/predictions"),
        ("max_knots", 1, changed(DECAY, "/inputs", {"u": {"times": [0, 1], "values": [1, 2]}}), 422, "/inputs"),
        ("max_doses", 1, changed(DECAY, "/data/doses", [{"into": "x", "amount": 1, "at": [0, 1]}]), 422, "/data/doses"),
        ("max_names", 1, changed(DECAY, "/system/parameters", ["k", "l"]), 422, "/system/parameters"),
        ("max_labels", 1, changed(DECAY, "/labels", {"a": "", "b": ""}), 422, "/labels"),
    ],
)
def test_every_limit_is_a_setting(
    queue_settings: WorkerSettings, setting: str, value: int, request_: dict[str, object], status: int, pointer: str
) -> None:
    with served(create_app(ServiceSettings.model_validate({setting: value}), queue_settings)) as client:
        answer = client.post("/fits", json=request_)

    body = problem(answer, status, "body_too_large" if status == 413 else "invalid_request")
    assert pointer is None or pointer in pointers(body)


@pytest.mark.parametrize("code", ERRORS)
def test_every_code_is_documented_with_its_status(code: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "errors.md").read_text(encoding="utf-8")

    assert f"| `{code}` | {ERRORS[code][0]} |" in page
