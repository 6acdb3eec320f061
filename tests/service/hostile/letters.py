"""Bytes that are no JSON, or no UTF-8: 400. Text that no UTF-8 can hold: 422, where it stands."""

from __future__ import annotations

import codecs

from tests.service.hostile.case import BARE, Case, decay, least, refused, text

TEXT = least().decode()
DECAY_TEXT = decay().decode()


def swapped(old: str, new: str, body: str = TEXT) -> bytes:
    """The least request with one piece of its text replaced."""
    assert body.count(old) >= 1
    return body.replace(old, new, 1).encode()


NOT_JSON = [
    Case(body, 400)
    for body in (
        b"", b" ", b"\n\n", b"{", b"}", b"[", b"]", b"{}}", b"[]]", b"[1,", b'{"a"', b'{"a":', b'{"a":}', b'{"a" 1}',
        b"{a: 1}", b"{'system': 'lorenz'}", b'{"a": 1,}', b"[1,]", b"[,]", b'{"a": 1 "b": 2}', b'{"a": 01}',
        b'{"a": +1}', b'{"a": .5}', b'{"a": 5.}', b'{"a": 1e}', b'{"a": 0x10}', b'{"a": 1_000}', b'{"a": -}',
        b'{"a": "\t"}', b'{"a": "\n"}', b'{"a": "\\x41"}', b'{"a": "\\u12"}', b'{"a": "', b"tru", b"True", b"None",
        b"nul", b"undefined", b'{"a": 1} {"b": 2}', b"// no comments\n{}", b"/* none */ {}", b"\0", b"{\0}",
        b"<?xml version='1.0'?><a/>", b"system=lorenz&data=1", b"--boundary\r\n\r\n{}", b"\x1f\x8b\x08\x00",
        b"PK\x03\x04",
        TEXT.encode()[:-1], TEXT.encode() + b"x", TEXT.encode() + TEXT.encode(), b")]}',\n" + TEXT.encode(),
    )
]  # fmt: skip

NOT_UTF8 = [
    Case(body, 400)
    for body in (
        TEXT.encode("utf-16"), TEXT.encode("utf-16-be"), TEXT.encode("utf-32"), codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode(), b"\xff" + TEXT.encode(), TEXT.encode() + b"\xff", b"\x80", b"\xc0\x80",
        b'{"labels": {"a": "\xff"}}', b'{"labels": {"\xfe": "a"}}', b'{"a": "\xc0\xaf"}', b'{"a": "\xe2\x82"}',
        b'{"a": "\xed\xa0\x80"}', b'{"a": "\xed\xbf\xbf"}', b'{"a": "\xf4\x90\x80\x80"}',
        b'{"a": "\xf8\x88\x80\x80\x80"}',
        swapped('"lotka-volterra"', '"lotka-volt\u00e9rra"').decode().encode("latin-1"),
        swapped('"lotka-volterra"', '"\u65e5\u672c"').decode().encode("shift-jis"),
    )
]  # fmt: skip

NO_NUMBERS = [
    Case(body, 400)
    for word in (BARE + "NaN", BARE + "Infinity", BARE + "-Infinity")
    for body in (
        least("/data/values/prey/0", word), least("/data/times/3", word), decay("/data/sigma/seen/1", word),
        least("/parameters/alpha", word), least("/initial_state/prey", word), decay("/parameters/k/lower", word),
        decay("/solver/rtol", word), decay("/stages/0/steps", word), decay("/system/constants/c", word),
        decay("/predictions/0/times/1", word), least("/seed", word), least("/labels", {"a": word}),
        text(word).encode(), text([word]).encode(),
    )
] + [
    Case(least("/data/values/prey/0", BARE + word), 400)
    for word in ("nan", "-NaN", "inf", "+Infinity", "1.#QNAN", "NaNs")
]  # fmt: skip

TWICE = [
    Case(body, 400)
    for body in (
        swapped('"system": "lotka-volterra"', '"system": "lorenz", "system": "lotka-volterra"'),
        swapped('"system": "lotka-volterra"', '"system": "lotka-volterra", "\\u0073ystem": "lotka-volterra"'),
        swapped('"times": [', '"times": [], "times": ['),
        swapped('"prey": [', '"prey": [], "prey": ['),
        swapped('"alpha": 1.2', '"alpha": 1.2, "alpha": 1.2'),
        swapped('"alpha": 1.2', '"alpha": 1.2, "alph\\u0061": 1.3'),
        swapped('"prey": 0.8', '"prey": 0.8, "prey": 0.9'),
        swapped('"guess": 0.4', '"guess": 0.4, "guess": 0.5', DECAY_TEXT),
        swapped('"kind": "adam"', '"kind": "adam", "kind": "lbfgsb"', DECAY_TEXT),
        swapped('"rtol": 1e-08', '"rtol": 1e-08, "rtol": 1', DECAY_TEXT),
        swapped('"states": ["x"]', '"states": ["x"], "states": ["y"]', DECAY_TEXT),
        swapped('"x": "-k*x"', '"x": "-k*x", "x": "k*x"', DECAY_TEXT),
        swapped('"seen": "2*x"', '"seen": "2*x", "seen": "3*x"', DECAY_TEXT),
        swapped('"name": "later"', '"name": "later", "name": "sooner"', DECAY_TEXT),
        b'{"": 1, "": 2}', b'{"labels": {"a": "1", "a": "2"}}', b'[{"a": 1, "a": 2}]',
        b'{"a": {"a": 1}, "b": {"a": 1, "a": 1}}',
    )
]  # fmt: skip

HALF_PAIRS = [
    refused(least("/labels", {"a": "half"}).replace(b"half", b"half \\ud800"), "/labels/a"),
    refused(swapped('"lotka-volterra"', '"lotka-volterra\\udfff"'), "/system"),
    refused(swapped('"alpha": 1.2', '"alpha": 1.2, "\\udc00": 1'), "/parameters"),
    refused(swapped('"x": "-k*x"', '"x": "-k*x\\ud83e"', DECAY_TEXT), "/system/equations/x"),
    refused(swapped('"name": "later"', '"name": "\\udead\\udead"', DECAY_TEXT), "/predictions/0/name"),
    refused(b'"\\ud800"', ""),
    refused(b'["\\ud800", "\\udc00"]', "/0", "/1"),
]

CASES = [*NOT_JSON, *NOT_UTF8, *NO_NUMBERS, *TWICE, *HALF_PAIRS]
