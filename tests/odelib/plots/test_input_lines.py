"""The lines of inputs: every knot, and jumps as jumps, however coarse the trajectory's grid is."""

from __future__ import annotations

from typing import Any

import pytest

from odelib.plots.input_lines import input_lines
from odelib.problem.inputs import InputKnots
from odelib.result import Dense

KNOTS = {"times": [0, 1, 3], "values": [5, 7, 6]}


def drawn(grid: list[float], on_grid: list[float], changed: set[str] | None = None, **entry: Any) -> Any:
    dense = Dense(times=grid, states={}, values={}, inputs={"u": on_grid})
    times, column = input_lines(dense, {"u": InputKnots.model_validate(KNOTS | entry)}, changed or set())["u"]
    return list(dict.fromkeys(zip(times, column, strict=True)))


@pytest.mark.parametrize(
    ("interpolation", "expected"),
    [
        ("linear", [(0, 5), (1, 7), (3, 6)]),
        ("previous", [(0, 5), (1, 5), (1, 7), (3, 7), (3, 6)]),
        ("next", [(0, 5), (0, 7), (1, 7), (1, 6), (3, 6)]),
        ("cubic", [(0, 5), (3, 6)]),
    ],
)
def test_knots_are_drawn_between_the_times_of_the_grid(interpolation: str, expected: list[Any]) -> None:
    assert drawn([0.0, 3.0], [5.0, 6.0], interpolation=interpolation) == expected


def test_knots_outside_are_left_out_and_those_that_repeat_are_drawn_again() -> None:
    assert drawn([0.5, 2.0], [6.0, 6.5]) == [(0.5, 6), (1, 7), (2, 6.5)]
    repeated = drawn([2.0, 6.5], [6.5, 5.5], outside="repeat")
    assert repeated == [(2, 6.5), (3, 6), (3, 5), (4, 7), (6, 6), (6, 5), (6.5, 5.5)]


def test_what_changes_or_has_expressions_is_drawn_on_the_grid() -> None:
    assert drawn([0.0, 3.0], [5.0, 6.0], {"u"}) == [(0, 5), (3, 6)]
    assert drawn([0.0, 3.0], [5.0, 6.0], values=[5, "k", 6]) == [(0, 5), (3, 6)]
