"""Every error status of the interface by example, with the pointer or parameter it must give.

The table is written from the interface's description, not from what the code answers.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.service.requests import DECAY, MINIMAL, REMOVED, Json, changed, encoded, pointers, problem

JSON_TYPE = {"Content-Type": "application/json"}


def post(client: httpx.Client, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return client.post("/fits", content=body, headers=JSON_TYPE if headers is None else headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"system=lorenz",
        b'{"labels": {"a": "\xff"}}',
        json.dumps(MINIMAL).encode("utf-16"),
        encoded(changed(MINIMAL, "/data/values/prey/1", "@@NaN")),
        json.dumps(MINIMAL).encode()[:-1] + b', "system": "lorenz"}',
        json.dumps(MINIMAL).replace('"alpha": 1.2', '"alpha": 1.2, "alpha": 1.2').encode(),
    ],
)
def test_400_for_malformed_json(client: httpx.Client, body: bytes) -> None:
    problem(post(client, body), 400, "malformed_json")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=iso-8859-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
    ],
)
def test_415_for_another_media_type_charset_or_encoding(client: httpx.Client, headers: dict[str, str]) -> None:
    problem(post(client, json.dumps(MINIMAL).encode(), headers), 415, "unsupported_media_type")


# (what to start from, changes by pointer, the pointer of the error)
REFUSED: list[tuple[Json, tuple[Any, ...], str]] = [
    # missing
    *[
        (MINIMAL, (pointer, REMOVED), pointer)
        for pointer in ("/system", "/data", "/data/times", "/data/values", "/parameters/gamma", "/initial_state/prey")
    ],
    (MINIMAL, ("/parameters", REMOVED), "/parameters/alpha"),
    (MINIMAL, ("/initial_state", REMOVED), "/initial_state/predator"),
    (DECAY, ("/stages/0/kind", REMOVED), "/stages/0/kind"),
    (DECAY, ("/predictions/0/times", REMOVED), "/predictions/0/times"),
    # unknown fields and names
    *[
        (DECAY, (pointer, 1.0), pointer)
        for pointer in (
            "/zeta", "/a~1b", "/m~0n", "/data/zeta", "/parameters/zeta", "/initial_state/zeta", "/parameters/k/zeta",
            "/stages/0/zeta", "/stages/1/learning_rate", "/solver/zeta", "/predictions/0/zeta", "/system/zeta",
        )
    ],
    (MINIMAL, ("/data/values/zeta", [1.0, 2.0, 3.0, 4.0]), "/data/values/zeta"),
    (DECAY, ("/data/values/x", [1.0, 2.0, 3.0]), "/data/values/x"),  # only named observables are observed
    (DECAY, ("/data/sigma/zeta", 1.0), "/data/sigma/zeta"),
    (DECAY, ("/data/constants", {"k": 1.0}), "/data/constants/k"),
    (DECAY, ("/predictions/0/parameters", {"zeta": 1.0}), "/predictions/0/parameters/zeta"),
    (DECAY, ("/predictions/0/initial_state", {"zeta": 1.0}), "/predictions/0/initial_state/zeta"),
    (MINIMAL, ("/system", "no-such-system"), "/system"),
    # not a number, and not one that a double holds
    *[
        (MINIMAL, (pointer, value), pointer)
        for pointer in ("/parameters/delta", "/data/values/prey/3", "/data/times/3")
        for value in (True, "1.2", [1.2], "@@1e400", "@@-1e400", "@@1" + "0" * 400, "@@1" + "0" * 5000)
    ],
    (MINIMAL, ("/data/times/2", None), "/data/times/2"),
    (MINIMAL, ("/parameters/delta", None), "/parameters/delta"),
    # other types and values
    (MINIMAL, ("/system", 5), "/system"),
    (MINIMAL, ("/data", []), "/data"),
    (MINIMAL, ("/labels", [1]), "/labels"),
    (MINIMAL, ("/labels", {"a": 1}), "/labels/a"),
    (MINIMAL, ("/seed", 1.5), "/seed"),
    (MINIMAL, ("/seed", "@@1" + "0" * 5000), "/seed"),
    (MINIMAL, ("/time_limit_seconds", 0), "/time_limit_seconds"),
    (DECAY, ("/parameters/k/fixed", "yes"), "/parameters/k/fixed"),
    (DECAY, ("/parameters/k/scale", "cubic"), "/parameters/k/scale"),
    (DECAY, ("/stages", []), "/stages"),
    (DECAY, ("/stages/0/steps", 0), "/stages/0/steps"),
    (DECAY, ("/stages/0/steps", 1.5), "/stages/0/steps"),
    (DECAY, ("/stages/0/steps", True), "/stages/0/steps"),
    (DECAY, ("/stages/0/kind", "magic"), "/stages/0/kind"),
    (DECAY, ("/solver/rtol", -1.0), "/solver/rtol"),
    (DECAY, ("/solver/engine", "abacus"), "/solver/engine"),
    (DECAY, ("/solver/method", "magic"), "/solver/method"),
    (DECAY, ("/solver/device", "tpu"), "/solver/device"),
    (DECAY, ("/predictions/0/name", 5), "/predictions/0/name"),
    # bounds and guesses
    (DECAY, ("/parameters/k/guess", 9.0), "/parameters/k/guess"),
    (DECAY, ("/parameters/k/guess", 0.01), "/parameters/k/guess"),
    (DECAY, ("/parameters/k", {"lower": 0.1}), "/parameters/k/guess"),
    (DECAY, ("/parameters/k", {"guess": -1.0, "scale": "log"}), "/parameters/k/guess"),
    # the series
    (MINIMAL, ("/data/times", []), "/data/times"),
    (MINIMAL, ("/data/times/3", 0.05), "/data/times/3"),
    (MINIMAL, ("/data/times/1", -0.1, "/data/times/3", -0.2), "/data/times/1"),  # the first that decreases
    (MINIMAL, ("/data/values/prey", [1.0, 2.0]), "/data/values/prey"),
    (MINIMAL, ("/data/values", {"prey": [None] * 4}), "/data/values"),
    (MINIMAL, ("/data/start_time", 0.1), "/data/start_time"),
    (DECAY, ("/data/sigma/seen", 0), "/data/sigma/seen"),
    (DECAY, ("/data/sigma/seen", [0.1]), "/data/sigma/seen"),
    (DECAY, ("/data/sigma/seen/1", -0.1), "/data/sigma/seen/1"),
    (DECAY, ("/predictions/0/times/0", -1.0), "/predictions/0/times/0"),
    (DECAY, ("/predictions/0/values", {"seen": [1.0]}), "/predictions/0/values/seen"),
    (DECAY, ("/predictions/0/experiment", "nobody"), "/predictions/0/experiment"),
    # expressions and definitions
    (DECAY, ("/system/equations/x", "__import__('os')"), "/system/equations/x"),
    (DECAY, ("/system/equations/x", "-k*"), "/system/equations/x"),
    (DECAY, ("/system/equations/x", "-k*nobody"), "/system/equations/x"),
    (DECAY, ("/system/equations/x", "x + " * 3000 + "x"), "/system/equations/x"),
    (DECAY, ("/system/equations/x", "sin(" * 120 + "x" + ")" * 120), "/system/equations/x"),
    (DECAY, ("/system/equations/x", REMOVED), "/system/equations/x"),
    (DECAY, ("/system/equations/y", "1"), "/system/equations/y"),
    (DECAY, ("/system/observables/x", "2*x"), "/system/observables/x"),
    (DECAY, ("/system/parameters", ["lambda"]), "/system/parameters/0"),
    (DECAY, ("/system/parameters", ["k", "t"]), "/system/parameters/1"),
    (DECAY, ("/system/parameters", ["k", "x"]), "/system/parameters/1"),
    (DECAY, ("/initial_state/x", "t"), "/initial_state/x"),
    (DECAY, ("/initial_state/x", "2*"), "/initial_state/x"),
    # what this version does not have, by name
    (MINIMAL, ("/noise", {"prey": {"distribution": "normal", "sigma": 0.1}}), "/noise/predator"),
    (MINIMAL, ("/penalty", {"l1": -0.1}), "/penalty/l1"),
    (MINIMAL, ("/per_experiment", ["alpha"]), "/per_experiment"),
    (MINIMAL, ("/hold_out", {"after": 0.2, "experiments": ["a"]}), "/hold_out"),
    (MINIMAL, ("/starts", 1001), "/starts"),
    (MINIMAL, ("/uncertainty", "some"), "/uncertainty"),
    (MINIMAL, ("/webhook", "http://127.0.0.1:9/"), "/webhook"),
    (MINIMAL, ("/experiments", [MINIMAL["data"] | {"name": "a"}]), "/experiments"),  # both data and experiments
    (DECAY, ("/parameters/k/prior", {"distribution": "normal"}), "/parameters/k/prior"),
    (DECAY, ("/system/derived", {"bad": "1/x"}), "/system/derived/bad"),  # of parameters and constants alone
    (DECAY, ("/system/derived", {"bad": "k*t"}), "/system/derived/bad"),
    (DECAY, ("/system/derived", {"k": "2*k"}), "/system/derived/k"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "changes", "pointer"), REFUSED)
def test_422_gives_the_pointer(client: httpx.Client, request_: Json, changes: tuple[Any, ...], pointer: str) -> None:
    body = problem(post(client, encoded(changed(request_, *changes))), 422, "invalid_request")

    assert pointer in pointers(body)


@pytest.mark.parametrize("text", [b"[]", b"null", b"5", b'"text"', b"true"])
def test_422_for_json_that_is_not_an_object(client: httpx.Client, text: bytes) -> None:
    assert pointers(problem(post(client, text), 422, "invalid_request")) == [""]


def test_422_reports_all_mistakes_at_once(client: httpx.Client) -> None:
    wrong = changed(
        DECAY, "/zeta", 1, "/parameters/k/guess", 9, "/data/values/seen/1", "1", "/data/times/2", 0.5,
        "/system/equations/x", "-k*nobody", "/solver/rtol", 0,
    )  # fmt: skip

    body = problem(post(client, encoded(wrong)), 422, "invalid_request")

    expected = {"/zeta", "/parameters/k/guess", "/data/values/seen/1", "/data/times/2", "/system/equations/x"}
    assert expected | {"/solver/rtol"} <= set(pointers(body))


@pytest.mark.parametrize(
    ("changes", "way_out"),
    [
        (("/system/parameters", ["lambda"]), "lambda_"),
        (("/system/equations/x", "-k*x^2"), "**"),
    ],
)
def test_422_proposes_a_fix(client: httpx.Client, changes: tuple[Any, ...], way_out: str) -> None:
    body = problem(post(client, encoded(changed(DECAY, *changes))), 422, "invalid_request")

    assert way_out in json.dumps(body["errors"])


@pytest.mark.parametrize(
    "changes",
    [
        ("/parameters/k/guess", "@@9007199254740993", "/parameters/k/upper", 1e300),
        ("/data/times/0", "@@1e-400"),
        ("/parameters/k", 1),
        ("/labels", {"a": "\0", "🦊": "ü"}),
    ],
)
def test_unusual_but_valid_requests_are_accepted(client: httpx.Client, changes: tuple[Any, ...]) -> None:
    assert post(client, encoded(changed(DECAY, *changes))).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/fits/no-such-fit", "fit_not_found"),
        ("GET", "/fits/no-such-fit/problem", "fit_not_found"),
        ("POST", "/fits/no-such-fit/cancel", "fit_not_found"),
        ("DELETE", "/fits/no-such-fit", "fit_not_found"),
        ("GET", "/fits/%00%ff%F0", "fit_not_found"),
        ("GET", "/systems/no-such-system", "system_not_found"),
        ("GET", "/no-such-route", "not_found"),
        ("GET", "/fits/", "not_found"),
        ("GET", "/health", "not_found"),
    ],
)
def test_404(client: httpx.Client, method: str, path: str, code: str) -> None:
    problem(client.request(method, path), 404, code)


def test_404_of_a_path_with_a_slash_at_its_end_says_so(client: httpx.Client) -> None:
    assert "leave out the slash" in problem(client.get("/systems/"), 404, "not_found")["detail"]


def test_404_of_a_fit_says_that_it_may_have_expired(client: httpx.Client) -> None:
    assert "expired" in problem(client.get("/fits/gone"), 404, "fit_not_found")["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/fits", "GET, HEAD, POST"),
        ("PATCH", "/fits/x", "DELETE, GET, HEAD"),
        ("GET", "/fits/x/cancel", "POST"),
        ("DELETE", "/systems", "GET, HEAD"),
        ("POST", "/health/live", "GET, HEAD"),
        ("OPTIONS", "/fits", "GET, HEAD, POST"),
    ],
)
def test_405_lists_the_allowed_methods(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)

    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path", "parameters"),
    [
        ("GET", "/fits?limit=many", ["limit"]),
        ("GET", "/fits?limit=0", ["limit"]),
        ("GET", "/fits?limit=101", ["limit"]),
        ("GET", "/fits?status=done", ["status"]),
        ("GET", "/fits?system=abacus", ["system"]),
        ("GET", "/fits?cursor=nonsense", ["cursor"]),
        ("GET", "/fits?page=2", ["page"]),
        ("GET", "/fits?limit=many&page=2&status=x", ["limit", "page", "status"]),
        ("GET", "/fits/x?full=1", ["full"]),
        ("GET", "/systems?x=1&y=2", ["x", "y"]),
        ("GET", "/health/ready?x=", ["x"]),
        ("POST", "/fits?validate_only=2", ["validate_only"]),
    ],
)
def test_422_for_a_bad_or_unknown_query_parameter(
    client: httpx.Client, method: str, path: str, parameters: list[str]
) -> None:
    body = problem(client.request(method, path), 422, "invalid_parameter")

    assert sorted(entry["parameter"] for entry in body["errors"]) == parameters
    assert all("pointer" not in entry for entry in body["errors"])


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=many", "must be a whole number"),
        ("limit=101", "must be at most 100"),
        ("status=done", "must be 'queued', 'running', 'succeeded', 'failed' or 'cancelled'"),
    ],
)
def test_a_bad_query_parameter_is_described_like_a_bad_field(client: httpx.Client, query: str, detail: str) -> None:
    (mistake,) = client.get(f"/fits?{query}").json()["errors"]

    assert mistake["detail"] == detail
