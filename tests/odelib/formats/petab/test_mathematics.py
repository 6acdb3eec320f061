"""PEtab's expressions. The public suite has more: see `bench/petab.py`."""

from __future__ import annotations

import math

import pytest

from odelib.engines.torch_program import TorchProgram
from odelib.formats.errors import UnsupportedError
from odelib.formats.expression_text import text_of
from odelib.formats.petab.mathematics import parse_mathematics
from odelib.problem.expressions.parser import parse_expression

CASES = {
    "-2^4": -16.0,
    "2^3^2": 512.0,
    "9 * 3 ^ -2": 1.0,
    "log(8, 2)": 3.0,
    "ln(exp(1))": 1.0,
    "arccot(1)": math.pi / 4,
    "sec(0)": 1.0,
    "3 + true": 4.0,
    "piecewise(1, false, 2, true, 3)": 2.0,
    # && and || bind equally, from the left
    "piecewise(1, true || true && false, 0)": 0.0,
    "-!0": -1.0,
    ".5 + 1e-1": 0.6,
}


@pytest.mark.parametrize(("text", "value"), CASES.items())
def test_expressions_have_their_values(text: str, value: float) -> None:
    expression = parse_expression(text_of(parse_mathematics(text)))
    assert float(TorchProgram([expression], []).bind({})()[0]) == pytest.approx(value, rel=1e-12)


def test_time_is_t() -> None:
    assert text_of(parse_mathematics("k*time")) == "k*t"


@pytest.mark.parametrize("text", ["1 +", "f(2)", "a $ b", "piecewise(1, true)", "pow(2)", "(1", "a b"])
def test_what_cannot_be_read_is_quoted(text: str) -> None:
    with pytest.raises(UnsupportedError, match="cannot be read"):
        parse_mathematics(text)
