"""The body of a request before it is parsed: media type, size, pace."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.errors import ServiceError
from service.http.request_body import BodyBudget, check_headers, digest, read_body

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_in_utf8_is_accepted(content_type: str) -> None:
    check_headers(content_type, None)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        (None, None),
        ("", None),
        ("text/plain", None),
        ("application/x-www-form-urlencoded", None),
        ("application/problem+json", None),
        ("application/json; charset=latin-1", None),
        ("application/json; charset=utf-16", None),
        ("application/json", "gzip"),
        ("application/json", "identity"),
        ("application/json", ""),
    ],
)
def test_other_media_types_charsets_and_encodings_are_415(content_type: str | None, encoding: str | None) -> None:
    with pytest.raises(ServiceError) as caught:
        check_headers(content_type, encoding)

    assert caught.value.status == 415


def read(
    stream: AsyncIterator[bytes], length: str | None, max_bytes: int, *, seconds: float = 60, budget: int = 1000
) -> bytes:
    async def run() -> bytes:
        with BodyBudget(budget).body() as reserve:
            return await read_body(stream, length, max_bytes, seconds, reserve)

    return anyio.run(run)


async def _stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_a_body_of_the_maximum_size_is_read() -> None:
    assert read(_stream(b"12", b"345"), None, 5) == b"12345"


def test_a_body_beyond_the_limit_is_413_while_it_arrives() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000

    with pytest.raises(ServiceError) as caught:
        read(endless(), None, 5)

    assert caught.value.status == 413


def test_a_body_that_trickles_is_408() -> None:
    came = 0

    async def trickle() -> AsyncIterator[bytes]:
        nonlocal came
        while True:
            await anyio.sleep(0.05)
            came += 1
            yield b"x"

    with pytest.raises(ServiceError) as caught:
        read(trickle(), None, 10_000, seconds=2)

    assert (caught.value.status, caught.value.headers) == (408, {"Connection": "close"})
    assert 1 <= came <= 41


def test_a_long_body_may_take_another_second_for_each_10_kb() -> None:
    async def steady() -> AsyncIterator[bytes]:
        for _ in range(10):
            await anyio.sleep(0.25)
            yield b"x" * 10_000

    assert len(read(steady(), None, 100_000, seconds=2, budget=100_000)) == 100_000


def test_all_bodies_together_have_one_budget() -> None:
    budget = BodyBudget(10)

    async def receive(size: int) -> bytes:
        with budget.body() as reserve:
            return await read_body(_stream(b"x" * size), None, 100, 60, reserve)

    async def while_six_bytes_are_reserved() -> None:
        with budget.body() as reserve:
            reserve(6)
            assert len(await receive(4)) == 4
            with pytest.raises(ServiceError) as caught:
                await receive(5)
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
        assert len(await receive(10)) == 10  # all reserved bytes were released, also those of the refused body

    anyio.run(while_six_bytes_are_reserved)


def test_a_content_length_beyond_the_limit_is_413_before_reading() -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("was read")
        yield b""

    with pytest.raises(ServiceError) as caught:
        read(unread(), "6", 5)

    assert caught.value.status == 413


@given(JSON_VALUES)
def test_the_digest_ignores_formatting(value: Any) -> None:
    dense, spaced = json.dumps(value, separators=(",", ":")), json.dumps(value, indent=3, ensure_ascii=False)

    assert digest(dense.encode()) == digest(spaced.encode())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": [2]}', b'{"b":[2.0],"a":1e0}', True),
        (b'{"a": 1}', b'{"a": 2}', False),
        (b'{"a": 1}', b'{"a": "1"}', False),
        (b'{"a": 1}', b'{"a": true}', False),
        (b"[1, 2]", b"[2, 1]", False),
        (b'{"a": null}', b"{}", False),
    ],
)
def test_the_digest_ignores_order_spacing_and_the_kind_of_number(one: bytes, other: bytes, *, same: bool) -> None:
    assert (digest(one) == digest(other)) is same
