"""Expressions meant as code, or as bombs: 422 where they stand, or nothing to be afraid of."""

from __future__ import annotations

from tests.service.hostile.case import Case, decay, equation, refused

CODE = [
    equation(expression)
    for expression in (
        "__import__('os').system('id')", "__import__(\"os\")", "().__class__.__bases__[0].__subclasses__()",
        "x.__class__", "x.real", "(x).imag", "x[0]", "[x]", "[x for x in k]", "(x for x in k)", "{x}", "{x: k}",
        "{**x}", "lambda: x", "lambda x: x", "x if k else 0", "x := 1", "(x := 1)", "x; k", "x = 1", "import os",
        "del x", "pass", "return x", "yield x", "(yield x)", "await x", "assert x", "raise x", "exec(x)", "eval(x)",
        "open(x)", "print(x)", "compile(x)", "globals()", "locals()", "vars()", "dir()", "getattr(x, k)", "input()",
        "exit()", "quit()", "help()", "breakpoint()", "int(x)", "float(x)", "complex(x)", "str(x)", "type(x)",
        "sum(x, k)", "round(x)", "pow(x, k)", "range(9)", "id(x)", "super()", "object()", "memoryview(x)",
        "f'{x}'", "'x'", '"x"', "b'x'", "'''x'''", "x'", "`x`", "x\\", "x # a comment", "#", "x\n+1", "x\n\nk",
        "x\r+1", "x\0", "\0", "x\x0b+1", "x\u2028+1", "True", "False", "None", "...", "Ellipsis.x", "NotImplemented.x",
        "1j", "x + 2J", "0x41", "0b1", "0o7", "0X1p3", "1_", "1__0", "1.2.3", "1e", "1e+", "07", "x!", "!x", "$x",
        "${x}", "{{7*7}}", "%(x)s", "%x", "@x", "x @ k", "x ? k : 1", "x -> k", "x::k", "x...k", "x..k", "*x", "**x",
        "sin(*x)", "sin(**x)", "sin(x=k)", "sin(x,)(k)", "sin(x)(k)", "x(k)", "2(x)", "(x)(k)", "sin", "sin + 1",
        "sin()", "sin(x, k)", "min(x)", "max()", "where(x)", "where(x, 1, 2)", "where(x > 1)", "where(x > 1, x)",
        "where(0 < x < 1, 1, 2)", "where(x = 1, 1, 2)", "where(x <> 1, 1, 2)", "where(x is k, 1, 2)",
        "where(x > 1 & k > 1, 1, 2)", "where(x > 1 and k, 1, 2)", "where(not x, 1, 2)",
        "x > 1", "x == 1", "x and k", "x or k", "not x",
        "x in k", "x is k", "x // 2", "x % 2", "x ^ 2", "x << 2", "x >> 2", "x & k", "x | k", "~x", "x, k", "(x, k)",
        "()", "", " ", "\t", "(", ")", ")(", "((x)", "x)", "+", "-", "x +", "* x", "x k", "2x", "2 x", "x 2",
        "system(\"rm -rf /\")", "'; DROP TABLE fits; --", "<script>alert(1)</script>", "../../etc/passwd",
        "/etc/passwd", "http://127.0.0.1/", "${jndi:ldap://127.0.0.1/a}", "x } } ; int main() {", "*(int*)0",
        "(double)x", "x++", "--", "x && k", "x || k", "sizeof(x)", "asm(\"nop\")", "#include <x>", "__asm__(x)",
        "nan", "inf", "infinity", "NaN", "e", "i", "numpy.sin(x)", "np.sin(x)", "math.sin(x)", "os", "self", "z[0]",
        "q[0]", "out", "ln(x)", "arcsin(x)", "cot(x)", "heaviside(x)", "x\u00b2", "x \u00d7 k", "x \u2212 k", "\u03c0",
        "\uff58", "\uff11", "x\u0301", "\u200bx", "x\u200b", "\ufeffx", "x\u00a0+1", "\U0001d431", "\u0661",
    )
]  # fmt: skip

BEYOND = [
    equation(expression)
    for expression in (
        "1e400", "-1e400", "x*1e999999999999", "9" * 400, "x + " + "9" * 4_000, "x*" + "9" * 5_000,
        "(" * 101 + "x**2" + "**2)" * 101, "-" * 101 + "x", "+" * 101 + "x", "-" * 5_000 + "x", "-" * 9_999 + "x",
        "(" * 5_000 + "x" + ")" * 5_000, "(" * 4_999, "[" * 9_999, "{" * 9_999, "sin(" * 101 + "x" + ")" * 101,
        "sin(" * 1_500 + "x" + ")" * 1_500, "x**" * 101 + "x", "x**" * 3_000 + "x", "2**" * 3_000 + "x",
        "where(x > 1, " * 101 + "x" + ", 1)" * 101, "max(x, " * 101 + "x" + ")" * 101, "x*(1 + " * 60 + "x" + ")" * 60,
        "x + " * 2_000 + "x", "x*" * 4_999 + "x", "x/" * 4_000 + "x", "x" * 10_001, "x" + " " * 10_000,
        "max(" + "x, " * 50 + "x)",
        "min(" + "x, " * 1_000 + "x)", "(" * 200 + "x" + ")" * 200 + "." * 9_000, "1" * 10_001, "x + " * 2_501,
    )
]  # fmt: skip

# Long, deep or vast, and within the limits: nothing of it is computed when it is read.
BOMBS = [
    "9**9**9**9**9", "9**9**9**9**9*x", "(" * 90 + "x" + "**9)" * 90, "((((((x**9)**9)**9)**9)**9)**9)", "x**999999999",
    "x*10**10**10", "2**1000000000000", "(9**9**9) - (9**9**9) + x", "exp(exp(exp(exp(exp(exp(x))))))",
    "exp(" * 90 + "x" + ")" * 90, "1/0", "x/0", "0**-1", "log(0)", "log(-1)", "sqrt(-1)", "acos(2)", "0/0*x",
    "tan(pi/2)",
    "1e308*10*x", "1e-308/1e308", "x**x**x**x", "-" * 90 + "x", "+".join(["x"] * 1_999), "*".join(["x"] * 1_999),
    "max(" + "x, " * 49 + "x)", "\nx\n", "floor(1e300)", "where(x > 1, where(x > 2, 1/0, log(0)), sqrt(-1))",
]  # fmt: skip
ACCEPTED = [Case(decay("/system/equations/x", expression), 202) for expression in BOMBS]

ELSEWHERE = [
    refused(decay("/system/observables/seen", "exec(x)"), "/system/observables/seen"),
    refused(decay("/system/observables/seen", "x.y"), "/system/observables/seen"),
    refused(decay("/system/observables/seen", "x + nobody"), "/system/observables/seen"),
    refused(decay("/system/derived", {"d": "exec(k)"}), "/system/derived/d"),
    refused(decay("/system/derived", {"d": "k + x"}), "/system/derived/d"),
    refused(decay("/system/derived", {"d": "k + t"}), "/system/derived/d"),
    refused(decay("/system/derived", {"d": "9" * 400}), "/system/derived/d"),
    refused(decay("/initial_state/x", "exec(k)"), "/initial_state/x"),
    refused(decay("/initial_state/x", "x"), "/initial_state/x"),
    refused(decay("/initial_state/x", "t"), "/initial_state/x"),
    refused(decay("/initial_state/x", "1.5e"), "/initial_state/x"),
    refused(decay("/initial_state/x", ""), "/initial_state/x"),
    refused(decay("/initial_state/x", "(" * 5_000), "/initial_state/x"),
    refused(decay("/data/initial_state", {"x": "__import__('os')"}), "/data/initial_state/x"),
    refused(decay("/system/equations/x", ["-k*x"]), "/system/equations/x"),
    refused(decay("/system/equations/x", {"code": "-k*x"}), "/system/equations/x"),
    refused(decay("/system/equations/x", 1), "/system/equations/x"),
    refused(decay("/system/equations/x", False), "/system/equations/x"),
]

CASES = [*CODE, *BEYOND, *ACCEPTED, *ELSEWHERE]
