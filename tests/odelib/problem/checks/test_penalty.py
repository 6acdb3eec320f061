"""Refusals of penalties, with their pointers written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.odelib.problem.requests import FULL, assert_refused


@pytest.mark.parametrize(
    ("penalty", "pointer"),
    [
        ({"l1": -1.0}, "/l1"),
        ({"l2": "1"}, "/l2"),
        ({"l1": None}, "/l1"),
        ({"l1": 10**400}, "/l1"),
        ({"l1": 1.0, "names": []}, "/names"),
        ({"l1": 1.0, "names": "alpha"}, "/names"),
        ({"l1": 1.0, "names": ["alpha", "zeta"]}, "/names/1"),
        ({"l1": 1.0, "names": ["alpha", "alpha"]}, "/names/1"),
        ({"l1": 1.0, "toward": "mean"}, "/toward"),
        ({"zeta": 1.0}, "/zeta"),
        ([], ""),
    ],
)
def test_penalty(penalty: Any, pointer: str) -> None:
    assert_refused({"/penalty": penalty}, f"/penalty{pointer}")


def test_an_initial_value_that_is_an_expression_cannot_be_penalised() -> None:
    assert_refused({"/penalty/names": ["prey"]}, "/penalty/names/0", body=FULL, detail="an expression")
