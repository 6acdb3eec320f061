"""Names: of Python, of C, of nothing, and those that only look odd."""

from __future__ import annotations

from tests.service.hostile.case import Case, decay, least, named, refused, text
from tests.service.requests import DECAY, changed

NO_NAMES = (
    # reserved words of Python
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
    # time, numbers and functions of the language
    "t", "pi", "abs", "min", "max", "exp", "log", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "erf", "floor", "sign", "where",
    # no ASCII identifiers
    "", " ", "a b", " a", "a ", "a-b", "a.b", "a/b", "a~b", "1a", "1", "a'",
    'a"', "a\\", "a\n", "a\0", "\0", "a;b", "a()",
    "a[0]", "$a", "@a", "#a", "a!", "\u00e9", "\u03b1", "\u0430lpha", "a\u0301", "\uff41", "\u00aa", "\U0001d44e",
    "\U0001f98a", "\u200ba", "a\u200d", "../a", "x" * 1_000 + "-",
)  # fmt: skip

PARAMETERS = [
    refused(text(named("k", system=changed(DECAY["system"], "/parameters", ["k", name])) | {
        "parameters": {"k": 0.4, name: 1.0}}).encode(), "/system/parameters/1")
    for name in NO_NAMES
]  # fmt: skip

ELSEWHERE = [
    refused(decay("/system/states", ["x", "lambda"], "/system/equations/lambda", "1", "/initial_state/lambda", 1),
            "/system/states/1"),
    refused(decay("/system/constants", {"c": 1, "class": 1}), "/system/constants/class"),
    refused(decay("/system/observables", {"seen": "2*x", "a b": "x"}), "/system/observables/a b"),
    refused(decay("/system/observables", {"seen": "2*x", "a/b": "x"}), "/system/observables/a~1b"),
    refused(decay("/system/observables", {"seen": "2*x", "m~n": "x"}), "/system/observables/m~0n"),
    refused(decay("/system/derived", {"in": "k"}), "/system/derived/in"),
    refused(decay("/system/derived", {"x": "k"}), "/system/derived/x"),
    refused(decay("/system/derived", {"seen": "k"}), "/system/derived/seen"),
    refused(decay("/system/derived", {"c": "k"}), "/system/derived/c"),
    refused(decay("/system/parameters", ["k", "k"]), "/system/parameters/1"),
    refused(decay("/system/parameters", ["k", "x"], "/parameters/x", 1), "/system/parameters/1"),
    refused(decay("/system/states", ["x", "x"]), "/system/states/1"),
    refused(decay("/system/constants", {"c": 1, "k": 1}), "/system/constants/k"),
    refused(decay("/system/observables", {"seen": "2*x", "k": "x"}), "/system/observables/k"),
    refused(decay("/system/observables", {"seen": "2*x", "x": "3*x"}), "/system/observables/x"),
]  # fmt: skip

UNKNOWN = [
    refused(least("/parameters/__class__", 1.0), "/parameters/__class__"),
    refused(least("/parameters/constructor", 1.0), "/parameters/constructor"),
    refused(least("/parameters/__proto__", {"guess": 1.0}), "/parameters/__proto__"),
    refused(least("/initial_state/__init__", 1.0), "/initial_state/__init__"),
    refused(least("/data/values/__dict__", [1.0] * 4), "/data/values/__dict__"),
    refused(least("/data/model_config", {}), "/data/model_config"),
    refused(least("/model_fields", {}), "/model_fields"),
    refused(least("/_system", {}), "/_system"),
    refused(least("/__class__", "FitProblem"), "/__class__"),
    refused(least("/$ref", "#"), "/$ref"),
    refused(least("/", 1), "/"),
    refused(least("/a~1b~0c", 1), "/a~1b~0c"),
    refused(decay("/stages/0/__class__", "x"), "/stages/0/__class__"),
    refused(decay("/solver/__init__", 1), "/solver/__init__"),
    refused(decay("/system/_parser", 1), "/system/_parser"),
    refused(decay("/parameters/k/is_fixed", True), "/parameters/k/is_fixed"),
    refused(decay("/predictions/0/constructor", {}), "/predictions/0/constructor"),
    refused(least("/system", "__class__"), "/system"),
    refused(least("/system", "../lotka-volterra"), "/system"),
    refused(least("/system", "lotka-volterra\u0000"), "/system"),
    refused(least("/system", "Lotka-Volterra"), "/system"),
    refused(least("/system", ""), "/system"),
    refused(least("/system", "x" * 1_000_000), "/system"),
]

# Nothing but a name: of Python's builtins, of C, of what the kernels are written with.
WELCOME = (
    "print", "exec", "eval", "open", "__import__", "__builtins__", "__class__", "__init__", "self", "cls", "int",
    "float",
    "double", "char", "void", "struct", "return_", "goto", "switch", "sizeof", "main", "malloc", "free", "inline",
    "register", "volatile", "NULL", "errno", "numpy", "np", "math", "torch", "types", "out", "z", "q", "m", "n", "j",
    "e",
    "work", "column", "rates", "jacobian", "piece", "least", "greatest", "guarded", "x1", "v0", "s0", "_", "__", "_1",
    "nan", "inf", "Infinity", "e1", "E", "I", "match", "case", "type", "constructor", "prototype", "toString", "drop",
    "a" * 1_000,
)  # fmt: skip
ACCEPTED = [Case(text(named(name)).encode(), 202) for name in WELCOME]

CASES = [*PARAMETERS, *ELSEWHERE, *UNKNOWN, *ACCEPTED]
