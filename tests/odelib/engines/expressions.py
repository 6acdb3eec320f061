"""Random expressions of the problem language, and points to evaluate them at, with kinks and poles among them."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = ("x", "y", "n")
EDGES = (0.0, 1.0, -1.0, 2.0, 3.0, 0.5, -2.0)
NUMBERS = ("0", "0.5", "1", "2", "3", "4", "1.5", "-1", "-2")
FUNCTIONS = (
    "abs", "exp", "log", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh", "erf", "floor", "sign",
)  # fmt: skip


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "*", "/", "**"])
    comparisons = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    condition = st.one_of(
        st.builds("{} {} {}".format, inner, comparisons, inner),
        st.builds(
            "({} {} {}) {} not {} < {}".format, inner, comparisons, inner, st.sampled_from(["and", "or"]), inner, inner
        ),
    )
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, operators, inner),
        st.builds("({})**{}".format, inner, st.sampled_from(["2", "3", "0.5", "0", "1", "n", "x", "-1", "4", "2.5"])),
        st.builds("{}({})".format, st.sampled_from(FUNCTIONS), inner),
        st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner),
        st.builds("{}({}, {}, {})".format, st.sampled_from(["min", "max"]), inner, inner, inner),
        st.builds("where({}, {}, {})".format, condition, inner, inner),
        st.builds("-({})".format, inner),
    )


def expressions(leaves: int = 8) -> st.SearchStrategy[str]:
    """Texts in x, y and n."""
    return st.recursive(st.sampled_from([*NAMES, *NAMES, *NUMBERS]), grow, max_leaves=leaves)


def points() -> st.SearchStrategy[tuple[float, ...]]:
    """Values for x, y and n: random ones, and those at which functions have kinks or poles, ties among them."""
    value = st.one_of(st.sampled_from(EDGES), st.floats(-3, 3).map(lambda v: round(v, 3)))
    return st.tuples(value, value, value)
