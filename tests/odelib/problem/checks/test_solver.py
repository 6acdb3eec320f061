"""Refusals of solver settings, with their pointers written by hand."""

from __future__ import annotations

import pytest

from tests.odelib.problem.requests import assert_refused


@pytest.mark.parametrize(
    ("solver", "pointer", "detail"),
    [
        ({"engine": "compiled", "method": "dopri8"}, "/solver/method", "one of dopri5, tsit5, dop853, kvaerno5"),
        ({"engine": "torchdiffeq", "method": "kvaerno5"}, "/solver/method", "one of dopri5, dopri8"),
        ({"engine": "torchdiffeq", "method": "tsit5", "device": "cuda"}, "/solver/method", "one of dopri5, dopri8"),
        ({"method": "tsit5", "device": "cuda"}, "/solver/device", "requires the engine 'torchdiffeq'"),
    ],
)
def test_a_combination_that_no_engine_supports(solver: dict[str, str], pointer: str, detail: str) -> None:
    assert_refused({"/solver": solver}, pointer, detail=detail)


def test_the_compiled_engine_has_no_events_on_a_gpu() -> None:
    dose = [{"into": "prey", "amount": 1.0, "at": 0.0}]
    changes = {"/solver": {"engine": "compiled", "device": "cuda"}, "/data/doses": dose}
    assert_refused(changes, "/solver/engine", detail="need the engine 'torchdiffeq' on the device 'cuda'")
