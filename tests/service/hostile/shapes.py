"""Things of another type, too deep or too many; series, bounds and plans that make no sense: 422, where they stand."""

from __future__ import annotations

import json
from typing import Any

from tests.service.hostile.case import Case, decay, least, refused
from tests.service.requests import DECAY, REMOVED

# A list within lists, so many of them.
DEEP = {depth: json.loads("[" * depth + "]" * depth) for depth in (48, 49, 100, 400)}

NO_OBJECT = [refused(body, "") for body in (b"[]", b"null", b"0", b'""', b"true", b'"{}"', b"[[]]", b"[{}]", b"-1.5e3")]

DEPTH = [
    # 50 brackets may be open: the object, its labels, and 48 of the list's
    refused(least("/labels", {"a": DEEP[48]}), "/labels/a"),  # a text it is not, but not too deep either
    refused(least("/labels", {"a": DEEP[49]}), "/labels/a" + "/0" * 48),
    refused(least("/labels", {"a": DEEP[400]}), "/labels/a" + "/0" * 48),
    refused(least("/data/values/prey/0", DEEP[100]), "/data/values/prey/0" + "/0" * 46),
    refused(least("/parameters/alpha", DEEP[100]), "/parameters/alpha" + "/0" * 48),
    refused(least("/nobody", DEEP[100]), "/nobody" + "/0" * 49),
    refused(decay("/system/equations/x", DEEP[100]), "/system/equations/x" + "/0" * 47),
    refused(b"[" * 51 + b"]" * 51, "/0" * 50),
    refused(b'{"a":' * 51 + b"1" + b"}" * 51, "/a" * 50),
    refused(b"[" * 100_000 + b"]" * 100_000, ""),  # far beyond what can be set
    refused(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ""),
    Case(b"[" * 40, 400),
    Case(b'{"a":' * 40, 400),
]


def other_types(body: Any, pointer: str, *values: Any) -> list[Case]:
    return [refused(body(pointer, value), pointer) for value in values]


TYPES = [
    *other_types(least, "/system", 1, True, [], ["lorenz"]),
    *other_types(least, "/data", 1, "x", [], True),
    *other_types(least, "/data/times", 1, "0 1 2 3", {}, {"0": 0}),
    *other_types(least, "/data/values", 1, "x", []),
    *other_types(least, "/data/values/prey", 1, "1,2,3,4", {}, True),
    *other_types(least, "/data/name", 1, [], {}, True, ""),
    *other_types(least, "/parameters", 1, "x", [], True),
    *other_types(least, "/parameters/alpha", "1", [], [1.2], True),
    *other_types(least, "/initial_state", 1, "x", [], True),
    *other_types(least, "/initial_state/prey", [], [0.8], True),
    *other_types(least, "/stages", 1, "adam", {}, {"kind": "adam"}),
    *other_types(least, "/solver", 1, "dopri5", [], True),
    *other_types(least, "/predictions", 1, "x", {}, True),
    *other_types(least, "/uncertainty", 1, True, [], "some", "Covariance"),
    *other_types(least, "/labels", 1, "x", [], True),
    *other_types(least, "/seed", "1", [], -1, 0.5, True, 1e300),
    *other_types(least, "/time_limit_seconds", "1", [], 0, -1, True, 1e300),
    *other_types(decay, "/system/states", 1, "x", {}, {"x": 1}),
    *other_types(decay, "/system/constants", 1, "x", []),
    *other_types(decay, "/system/equations", 1, "x", ["-k*x"]),
    *other_types(decay, "/parameters/k/fixed", 1, 0, "true", "no", [], {}),
    *other_types(decay, "/parameters/k/scale", 1, "", "Log", "ln", [], True),
    *other_types(decay, "/stages/0", 1, "adam", [], True),
    *other_types(decay, "/stages/0/kind", 1, "", "Adam", "sgd", [], {}, True),
    *other_types(decay, "/solver/engine", 1, "", "jax", [], {}),
    *other_types(decay, "/solver/method", 1, "", "euler", [], "DOPRI5"),
    *other_types(decay, "/solver/device", 1, "", "gpu", "cuda:0", []),
    *other_types(decay, "/predictions/0", 1, "later", []),
    *other_types(decay, "/predictions/0/name", 1, "", [], {}, "x" * 201),
    *other_types(decay, "/predictions/0/times", 1, "3", {}, []),
    *other_types(decay, "/data/sigma", 1, "x", []),
    *other_types(decay, "/data/sigma/seen", "0.1", {}, True, 0, -1),
]

SERIES = [
    refused(least("/data/times", []), "/data/times", "/data/values/prey", "/data/values/predator"),
    refused(least("/data/times/1", -1.0), "/data/times/1"),
    refused(least("/data/times", [3.0, 2.0, 1.0, 0.0]), "/data/times/1"),
    refused(least("/data/times", [0.0, 1.0, 2.0]), "/data/values/prey", "/data/values/predator"),
    refused(least("/data/values", {}), "/data/values"),
    refused(least("/data/values", {"prey": [None] * 4}), "/data/values"),
    refused(least("/data/values/prey", []), "/data/values/prey"),
    refused(least("/data/values/prey", [1.0] * 5), "/data/values/prey"),
    refused(least("/data/values/prey", [1.0] * 100_000), "/data/values/prey"),
    refused(least("/data/values/zeta", [1.0] * 4), "/data/values/zeta"),
    refused(least("/data/start_time", 0.1), "/data/start_time"),
    refused(least("/data/start_time", 1e300), "/data/start_time"),
    refused(decay("/data/sigma/seen", [0.1]), "/data/sigma/seen"),
    refused(decay("/data/sigma/seen/0", 0), "/data/sigma/seen/0"),
    refused(decay("/data/sigma/seen/1", -1e-300), "/data/sigma/seen/1"),
    refused(decay("/data/sigma/x", 1.0), "/data/sigma/x"),
    refused(decay("/data/constants", {"k": 1.0}), "/data/constants/k"),
    refused(decay("/data/initial_state", {"k": 1.0}), "/data/initial_state/k"),
    refused(least("/data", REMOVED), "/data"),
    refused(least("/system", REMOVED), "/system"),
    refused(least("/parameters", REMOVED), "/parameters/alpha", "/parameters/beta", "/parameters/gamma",
    "/parameters/delta"),
    refused(b"{}", "/data", "/system"),
]  # fmt: skip

BOUNDS = [
    refused(decay("/parameters/k", entry), pointer)
    for entry, pointer in (
        ({}, "/parameters/k/guess"),
        ({"lower": 1.0}, "/parameters/k/guess"),
        ({"upper": 1.0}, "/parameters/k/guess"),
        ({"guess": 3.0, "upper": 2.0}, "/parameters/k/guess"),
        ({"guess": 0.0, "lower": 1e-300}, "/parameters/k/guess"),
        ({"guess": 1.0, "lower": 2.0, "upper": 1.0}, "/parameters/k/lower"),
        ({"guess": 0.0, "scale": "log"}, "/parameters/k/guess"),
        ({"guess": -1.0, "scale": "log"}, "/parameters/k/guess"),
        ({"guess": 1.0, "lower": 0.0, "scale": "log"}, "/parameters/k/lower"),
        ({"guess": 1.0, "value": 2.0}, "/parameters/k/value"),
        ({"guess": 1.0, "min": 0.0}, "/parameters/k/min"),
    )
]

DEFINITIONS = [
    refused(decay("/system/states", REMOVED), "/system/states"),
    refused(decay("/system/states", []), "/system/states"),
    refused(decay("/system/equations", REMOVED), "/system/equations"),
    refused(decay("/system/equations", {}), "/system/equations/x"),
    refused(decay("/system/equations/y", "1"), "/system/equations/y"),
    refused(decay("/system/states", ["x", "y"], "/initial_state/y", 1), "/system/equations/y"),
    refused(decay("/system/name", "mine"), "/system/name"),
    refused(decay("/system/title", "mine"), "/system/title"),
    refused(decay("/system/example", {}), "/system/example"),
    refused(decay("/system", {"system": DECAY["system"]}), "/system/states", "/system/equations", "/system/system"),
    refused(decay("/initial_state", {}), "/initial_state/x"),
    refused(decay("/initial_state/y", 1.0), "/initial_state/y"),
]

PREDICTIONS = [
    refused(decay("/predictions/0/times/0", -1.0), "/predictions/0/times/0"),
    refused(decay("/predictions/0/times", [4.0, 3.0]), "/predictions/0/times/1"),
    refused(decay("/predictions/0/parameters", {"zeta": 1.0}), "/predictions/0/parameters/zeta"),
    refused(decay("/predictions/0/parameters", {"k": "1"}), "/predictions/0/parameters/k"),
    refused(decay("/predictions/0/initial_state", {"zeta": 1.0}), "/predictions/0/initial_state/zeta"),
    refused(decay("/predictions/0/initial_state", {"x": "k"}), "/predictions/0/initial_state/x"),
    refused(decay("/predictions/0/values", {"seen": [1.0]}), "/predictions/0/values/seen"),
    refused(decay("/predictions/0/values", {"zeta": [1.0, 2.0]}), "/predictions/0/values/zeta"),
    refused(decay("/predictions/0/values", {}), "/predictions/0/values"),
    refused(decay("/predictions/0/experiment", "nobody"), "/predictions/0/experiment"),
    refused(decay("/predictions/0/experiment", 1), "/predictions/0/experiment"),
]

MANY = 100_000
COUNTS = [
    refused(least("/stages", [{"kind": "adam"}] * 21), "/stages"),
    refused(least("/stages", [{"kind": "adam"}] * MANY), "/stages"),
    refused(least("/labels", {f"l{i}": "x" for i in range(101)}), "/labels"),
    refused(least("/data/times", [0.0] * 200_001, "/data/values", {"prey": [1.0] * 200_001}), "/data/values"),
    refused(least("/predictions", [{"name": "p", "times": [1.0]}] * 10_001), "/predictions"),
    refused(least("/predictions", [{"name": "p", "times": [1.0] * 250_001}]), "/predictions"),
    refused(least("/predictions", [{}] * MANY), "/predictions"),
    refused(least("/labels", {f"l{i}": "x" for i in range(200_001)}), ""),
    refused(json.dumps({f"field{i}": 0 for i in range(200_001)}).encode(), ""),
    refused(decay("/system/states", [f"x{i}" for i in range(MANY)]), "/system/states"),
    refused(decay("/system/parameters", ["k"] * MANY), "/system/parameters"),
    refused(decay("/system/observables", {f"o{i}": "x + " * 2_400 + "x" for i in range(60)}), "/system/observables"),
]  # fmt: skip

# Looks odd, and is right.
RIGHT = [
    Case(body, 202)
    for body in (
        least("/labels", {"": ""}), least("/labels", {"\u0000": "\u0000\u0001\u001f\u007f"}),
        least("/labels", {"\U0001f98a": "\u202e"}), least("/labels", {"$where": "1"}),
        least("/labels", {"a": "\r\n<script>{{7*7}}%00"}), least("/labels", {"a": "x" * 1_000_000}),
        least("/data/times", [0.0] * 4), least("/data/times", [-1e300, 0, 1, 1e300]),
        least("/data/name", "\U0001f98a/~"), least("/data/values/prey", [None, None, None, 1e308]),
        least("/parameters/alpha", -0.0), least("/seed", 2**53), least("/time_limit_seconds", 1e-300),
        decay("/parameters/k", {"lower": -1e308, "upper": 1e308}),
        decay("/parameters/k", {"guess": 1, "lower": 1, "upper": 1}), b"\n\t " + least() + b" \r\n",
    )
]  # fmt: skip

CASES = [
    *NO_OBJECT, *DEPTH, *TYPES, *SERIES, *BOUNDS, *DEFINITIONS, *PREDICTIONS, *COUNTS, *RIGHT,
]  # fmt: skip
