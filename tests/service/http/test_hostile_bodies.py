"""No body gets a 5xx: every invalid body is refused, and soon."""

from __future__ import annotations

import copy
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.service.requests import DECAY, MINIMAL, Json, changed, encoded

ACCEPTED_OR_REFUSED = {202, 400, 413, 422}
HTTP = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

LETTERS = st.text() | st.text(alphabet="\ud800\udfff\0é~/x", max_size=4)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**53 + 1, 5e-324, 1e308, 0, -0.0])
SCALARS = st.none() | st.booleans() | NUMBERS | LETTERS
JSON_VALUES = st.recursive(
    SCALARS, lambda children: st.lists(children, max_size=4) | st.dictionaries(LETTERS, children, max_size=4)
)
NAMES = ["alpha", "prey", "x", "k", "seen", "t", "lambda", "", "data", "adam", "lbfgsb", "log", "lorenz", "auto"]


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path to every part of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(way for key, part in items for way in places(part, (*at, key)))]


def with_part(request: Json, way: tuple[str | int, ...], part: Any) -> Any:
    if not way:
        return part
    changed_request = copy.deepcopy(request)
    node: Any = changed_request
    for key in way[:-1]:
        node = node[key]
    node[way[-1]] = part
    return changed_request


@st.composite
def damaged_requests(draw: st.DrawFn) -> Any:
    """A valid request in which one or two parts are replaced."""
    request: Any = draw(st.sampled_from([MINIMAL, DECAY]))
    for _ in range(draw(st.integers(1, 2))):
        part = draw(JSON_VALUES | st.sampled_from(NAMES) | st.sampled_from([MINIMAL, DECAY, DECAY["stages"][0]]))
        request = with_part(request, draw(st.sampled_from(places(request))), part)
    return request


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/fits", content=body, headers={"Content-Type": "application/json"})


def check(answer: httpx.Response) -> None:
    assert answer.status_code in ACCEPTED_OR_REFUSED, answer.text
    if answer.status_code != 202:
        assert answer.headers["content-type"] == "application/problem+json"
    json.loads(answer.content)


@HTTP
@given(JSON_VALUES)
@example({"system": "\ud800"})
@example({"\ud800": {}})
def test_no_json_gets_a_5xx(client: httpx.Client, value: Any) -> None:
    check(post(client, json.dumps(value).encode()))


@HTTP
@given(damaged_requests())
@example(changed(MINIMAL, "/labels", {"a": "\udc00"}))
@example(changed(MINIMAL, "/system", "\0"))
@example(changed(DECAY, "/system/states", ["x", "x"]))
@example(changed(DECAY, "/data/times", [0.0, -0.0, 5e-324]))
@example(changed(DECAY, "/parameters/k", {"lower": -1.7e308, "upper": 1.7e308}))
@example(changed(DECAY, "/parameters/k", {"lower": 1e308, "upper": 1e308, "scale": "log"}))
def test_no_damaged_request_gets_a_5xx(client: httpx.Client, request_: Any) -> None:
    check(post(client, json.dumps(request_).encode()))


@HTTP
@given(st.binary() | st.text().map(str.encode))
@example(b'{"system": "lorenz", "data": ' + b"[" * 100_000)
def test_no_bytes_get_a_5xx(client: httpx.Client, body: bytes) -> None:
    check(post(client, body))


@HTTP
@given(st.text(), st.text(min_size=1))
def test_no_query_and_no_id_gets_a_5xx(client: httpx.Client, text: str, name: str) -> None:
    for answer in (
        client.get("/fits", params={name: text}),
        client.get("/fits", params={"cursor": text}),
        client.get(f"/fits/{httpx.QueryParams({'a': text})}"[:2000]),
    ):
        assert answer.status_code < 500


@pytest.mark.parametrize(
    "request_",
    [
        changed(DECAY, "/system/equations/x", "9**9**9**9**9*x"),
        changed(DECAY, "/system/equations/x", "(((((x**9)**9)**9)**9)**9)"),
        changed(DECAY, "/system/equations/x", "(" * 5000 + "x" + ")" * 5000),
        changed(DECAY, "/system/equations/x", "-" * 9000 + "x"),
        changed(DECAY, "/system/parameters", ["k"] * 5000),
        changed(DECAY, "/system/parameters", [f"p{i}" for i in range(5000)]),
        changed(DECAY, "/system/states", [f"x{i}" for i in range(100_000)]),
        changed(DECAY, "/data/values/seen", [""] * 100_000),
        changed(DECAY, "/data/values", {f"x{i}": [1.0, 2.0, 3.0] for i in range(20_000)}),
        changed(DECAY, "/parameters", {f"k{i}": {} for i in range(20_000)}),
        changed(DECAY, "/predictions", [{}] * 20_000),
        changed(DECAY, "/stages", [{"kind": "magic"}] * 20_000),
        {f"field{i}": 0 for i in range(20_000)},
    ],
)
def test_large_mistakes_are_refused_soon(client: httpx.Client, request_: Json) -> None:
    began = time.monotonic()

    check(post(client, json.dumps(request_).encode()))

    assert time.monotonic() - began < 20  # without a bound on the work it would be minutes


def test_large_bodies_are_parsed_a_few_at_a_time(client: httpx.Client) -> None:
    """Together with small ones. All of them get responses, so none waits for ever."""
    large = json.dumps(changed(DECAY, "/labels", {"a": "x" * 2**20})).encode()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: post(client, body), [large, encoded(DECAY)] * 8))

    assert [answer.status_code for answer in answers] == [202] * 16


@HTTP
@given(damaged_requests(), st.lists(JSON_VALUES, max_size=2))
@example(changed(MINIMAL, "/system", [None]), [])
def test_no_damaged_batch_gets_a_5xx(client: httpx.Client, request_: Any, more: list[Any]) -> None:
    parts = dict(request_) if isinstance(request_, dict) else {}
    series = [parts.pop("data", {}), *more]
    body = {"request": parts if isinstance(request_, dict) else request_, "series": series}
    answer = client.post("/batches", content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    check(answer)
