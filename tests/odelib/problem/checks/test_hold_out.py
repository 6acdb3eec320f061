"""Refusals of held-out data, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import EXPERIMENTS, assert_refused


@pytest.mark.parametrize(
    ("hold_out", "pointer"),
    [
        ({}, ""),
        ({"after": 1.5, "experiments": ["b"]}, ""),
        (5, ""),
        ({"zeta": 1, "after": 1.5}, "/zeta"),
        ({"after": "1"}, "/after"),
        ({"after": None}, "/after"),
        ({"after": -1.0}, "/after"),  # nothing left to fit
        ({"after": 2.0}, "/after"),  # nothing held out
        ({"experiments": []}, "/experiments"),
        ({"experiments": "a"}, "/experiments"),
        ({"experiments": ["c"]}, "/experiments/0"),
        ({"experiments": ["a", "a"]}, "/experiments/1"),
        ({"experiments": ["a", "b"]}, "/experiments"),
    ],
)
def test_hold_out(hold_out: Any, pointer: str) -> None:
    assert_refused({"/hold_out": hold_out}, f"/hold_out{pointer}", body=EXPERIMENTS)


def test_a_single_series_cannot_be_held_out() -> None:
    assert_refused({"/hold_out": {"experiments": ["data"]}}, "/hold_out/experiments/0")
