"""The interface's own rules of JSON: duplicate keys, constants, depth, text, large numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odelib.errors import ProblemError
from service.strict_json import MalformedJsonError, parse_json

DEPTH = 50
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


def refusal(body: bytes) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        parse_json(body, DEPTH)
    return caught.value


def refused_pointer(body: bytes) -> str:
    (mistake,) = refusal(body).errors
    return mistake.pointer


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
        (b'{"a": 1, "a": 1}', "duplicate key 'a'"),
        (b'{"b": {"a": 1, "c": 2, "a": 3}}', "duplicate key 'a'"),
        (b'{"a": 1, "\\u0061": 1}', "duplicate key 'a'"),
    ],
)
def test_malformed_json_is_refused_with_the_reason(body: bytes, word: str) -> None:
    with pytest.raises(MalformedJsonError) as caught:
        parse_json(body, DEPTH)

    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a":\n  tru}', "not JSON: Expecting value at line 2, column 3"),
        (b'{"a": 1,\n "b": [2\n}', "not JSON: Expecting ',' delimiter at line 3, column 1"),
        ('{"é": 1,\n "b": "é'.encode() + b'\xff"}', "not UTF-8: byte 0xff at line 2, column 9 cannot be decoded"),
        (b"\xff\xfe{", "not UTF-8: byte 0xff at line 1, column 1 cannot be decoded"),
        (
            '{"NaN": "-Infinity \\" NaN",\n "é": [-1e-3, NaN]}'.encode(),
            "NaN at line 2, column 15 is not JSON; write null for a missing value",
        ),
        (b"[\n-Infinity]", "-Infinity at line 2, column 1 is not JSON; write null for a missing value"),
        (b"[0,Infinity]", "Infinity at line 1, column 4 is not JSON; write null for a missing value"),
        (b'{"a": 1,\n\t"a" : 2}', "duplicate key 'a' at line 2, column 2"),
        (
            b'{"a": {"b": ["a", "b", "}"], "a": {}}, "c": {"\\u0061": "a",\r\n"b\\"": {"a": 1}, "a": 2}}',
            "duplicate key 'a' at line 2, column 18",
        ),
        (b'[{"a": 1}, {"b": 1, "b": NaN}]', "NaN at line 1, column 26 is not JSON; write null for a missing value"),
    ],
)
def test_malformed_json_is_refused_with_its_place(body: bytes, message: str) -> None:
    """Line and column are counted in characters, from 1."""
    with pytest.raises(MalformedJsonError) as caught:
        parse_json(body, DEPTH)

    assert str(caught.value) == message


@given(st.lists(JSON_VALUES, min_size=1), st.data())
def test_a_duplicate_key_is_found_wherever_it_is(values: list[Any], data: st.DataObject) -> None:
    entries = [f"{json.dumps(str(i), ensure_ascii=False)}: {json.dumps(value)}" for i, value in enumerate(values)]
    before = "{\n" + ",\n".join(entries) + ",\n"
    repeated = data.draw(st.integers(0, len(values) - 1))

    with pytest.raises(MalformedJsonError) as caught:
        parse_json(f'{before}  "{repeated}": 0}}'.encode(), 10_000)

    assert str(caught.value) == f"duplicate key '{repeated}' at line {len(values) + 2}, column 3"


def test_too_many_values_are_refused() -> None:
    assert refused_pointer(b"[" + b"[]," * 600_000 + b"0]") == ""
    assert refused_pointer(b"[" + b"0," * 3_500_000 + b"0]") == ""


def test_levels_up_to_the_limit_are_accepted() -> None:
    body = b'{"a": ' + b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1) + b"}"

    assert parse_json(body, DEPTH) is not None


def test_sibling_brackets_do_not_count_as_depth() -> None:
    body = b"[" + b",".join([b'{"a": []}'] * 1000) + b"]"

    assert len(parse_json(body, DEPTH)) == 1000


def test_one_level_more_is_refused_with_its_pointer() -> None:
    body = b'{"a": [0, ' + b"[" * (DEPTH - 1) + b"]" * (DEPTH - 1) + b"]}"

    assert refused_pointer(body) == "/a/1" + "/0" * (DEPTH - 2)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000 + b"]" * 100_000, b"[" * 100_000, b'{"a":' * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000],
)
def test_a_hundred_thousand_levels_are_refused_like_any_other_depth(body: bytes) -> None:
    assert "nested too deeply" in refusal(body).errors[0].detail


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"a": ["x", "\\ud800"]}', "/a/1"),
        (b'{"a": {"b/c": "\\uDFFF"}}', "/a/b~1c"),
        (b'{"a": {"\\udead": 1}}', "/a"),
        (b'"\\udbff"', ""),
    ],
)
def test_a_lone_surrogate_is_refused_with_its_pointer(body: bytes, pointer: str) -> None:
    assert refused_pointer(body) == pointer


def test_a_surrogate_pair_is_a_character() -> None:
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
def test_all_json_is_parsed_unchanged(value: Any) -> None:
    assert parse_json(json.dumps(value).encode(), 10_000) == value


@given(st.binary() | st.text(alphabet='[]{}:,"\\u0123456789abcdefE+-. tn').map(str.encode))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        parsed = parse_json(body, DEPTH)
    except (MalformedJsonError, ProblemError):
        return
    json.dumps(parsed, ensure_ascii=False).encode()
