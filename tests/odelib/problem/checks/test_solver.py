"""Refusals of solver settings, with their pointers written by hand."""

from __future__ import annotations

import pytest

from tests.odelib.problem.requests import assert_refused


@pytest.mark.parametrize(
    ("solver", "pointer", "detail"),
    [
        ({"engine": "compiled", "method": "dopri8"}, "/solver/method", "one of dopri5, tsit5, dop853, kvaerno5"),
        ({"engine": "torchdiffeq", "method": "kvaerno5"}, "/solver/method", "one of dopri5, dopri8"),
        ({"engine": "compiled", "device": "cuda"}, "/solver/device", "requires the engine 'torchdiffeq'"),
        ({"method": "tsit5", "device": "cuda"}, "/solver/device", "requires the engine 'torchdiffeq'"),
    ],
)
def test_a_combination_that_no_engine_supports(solver: dict[str, str], pointer: str, detail: str) -> None:
    assert_refused({"/solver": solver}, pointer, detail=detail)
