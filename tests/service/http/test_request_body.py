"""The body's own rules, without the problem language: media type, size, JSON, depth, letters, large numbers."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.errors import FieldError
from service.http.errors import ServiceError
from service.http.request_body import Room, check_headers, digest, parse_json, read_body

DEPTH = 50
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


def refusal(body: bytes) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        parse_json(body, DEPTH)
    return caught.value


def place(error: ServiceError) -> str:
    (entry,) = error.errors
    assert isinstance(entry, FieldError)
    return entry.pointer


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
    stream: AsyncIterator[bytes], length: str | None, most: int, *, seconds: float = 60, room: int = 1000
) -> bytes:
    async def run() -> bytes:
        with Room(room).body() as take:
            return await read_body(stream, length, most, seconds, take)

    return anyio.run(run)


async def _stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_a_body_of_the_limit_is_read() -> None:
    assert read(_stream(b"12", b"345"), None, 5) == b"12345"


def test_a_body_beyond_the_limit_is_413_while_it_comes_in() -> None:
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


def test_a_long_body_has_a_second_more_for_each_10_kb() -> None:
    async def steady() -> AsyncIterator[bytes]:
        for _ in range(10):
            await anyio.sleep(0.25)
            yield b"x" * 10_000

    assert len(read(steady(), None, 100_000, seconds=2, room=100_000)) == 100_000


def test_all_bodies_together_have_so_much_room() -> None:
    room = Room(10)

    async def take(size: int) -> bytes:
        with room.body() as taken:
            return await read_body(_stream(b"x" * size), None, 100, 60, taken)

    async def while_one_holds_six() -> None:
        with room.body() as taken:
            taken(6)
            assert len(await take(4)) == 4
            with pytest.raises(ServiceError) as caught:
                await take(5)
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
        assert len(await take(10)) == 10  # what was taken has been given back, by those that were refused too

    anyio.run(while_one_holds_six)


def test_an_announced_length_beyond_the_limit_is_413_before_anything_is_read() -> None:
    async def unread() -> AsyncIterator[bytes]:
        raise AssertionError("was read")
        yield b""

    with pytest.raises(ServiceError) as caught:
        read(unread(), "6", 5)

    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b'{"system": ', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": +1}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (json.dumps({"a": 1}).encode("utf-16"), "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": [Infinity]}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1, "a": 1}', "'a' stands twice"),
        (b'{"b": {"a": 1, "c": 2, "a": 3}}', "'a' stands twice"),
        (b'{"a": 1, "\\u0061": 1}', "'a' stands twice"),
    ],
)
def test_what_is_not_json_in_utf8_is_400_and_says_why(body: bytes, word: str) -> None:
    error = refusal(body)

    assert error.status == 400
    assert word in error.detail


def test_levels_up_to_the_limit_are_accepted() -> None:
    body = b'{"a": ' + b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1) + b"}"

    assert parse_json(body, DEPTH) is not None


def test_brackets_beside_each_other_are_no_depth() -> None:
    body = b"[" + b",".join([b'{"a": []}'] * 1000) + b"]"

    assert len(parse_json(body, DEPTH)) == 1000


def test_one_level_more_is_422_where_it_stands() -> None:
    error = refusal(b'{"a": [0, ' + b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1) + b"]}")

    assert (error.status, place(error)) == (422, "/a/1" + "/0" * (DEPTH - 2))


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000 + b"]" * 100_000, b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000],
)
def test_a_hundred_thousand_levels_are_refused_like_any_other_depth(body: bytes) -> None:
    assert refusal(body).status == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a": ["x", "\\ud800"]}', "/a/1"),
        (b'{"a": {"b/c": "\\uDFFF"}}', "/a/b~1c"),
        (b'{"a": {"\\udead": 1}}', "/a"),
        (b'"\\udbff"', ""),
    ],
)
def test_half_a_surrogate_pair_is_422(body: bytes, pointer: str) -> None:
    error = refusal(body)

    assert (error.status, place(error)) == (422, pointer)


def test_a_whole_surrogate_pair_is_a_letter() -> None:
    assert parse_json(b'{"\\ud83e\\udd8a": "\\ud83e\\udd8a"}', DEPTH) == {"🦊": "🦊"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1e400", math.inf),
        ("-1e400", -math.inf),
        ("1" + "0" * 400, math.inf),
        ("-1" + "0" * 5000, -math.inf),
        ("1e-400", 0.0),
        ("9007199254740993", 9007199254740993),
        ("1" + "0" * 200, 10**200),
    ],
)
def test_numbers_beyond_double_precision_become_infinite_and_underflow_zero(text: str, number: float) -> None:
    assert parse_json(f"[{text}]".encode(), DEPTH) == [number]


@given(JSON_VALUES)
def test_what_json_can_say_is_read_as_it_stands(value: Any) -> None:
    assert parse_json(json.dumps(value).encode(), 10_000) == value


@given(st.binary() | st.text(alphabet='[]{}:,"\\u0123456789abcdefE+-. tn').map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        parsed = parse_json(body, DEPTH)
    except ServiceError:
        return
    json.dumps(parsed, ensure_ascii=False).encode()


@given(JSON_VALUES)
def test_the_digest_is_that_of_the_meaning(value: Any) -> None:
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
