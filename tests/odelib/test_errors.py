"""Errors cross processes whole."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from odelib.errors import FieldError, FitError, OdelibError, ProblemError, SolveError, StopRequested


@pytest.mark.parametrize(
    "error",
    [
        ProblemError([FieldError("/data", "is required"), FieldError("", "nothing")]),
        SolveError("max_steps", 1.5, 100, "plot 3"),
        FitError("no_gpu", "No GPU", "none was seen"),
        StopRequested("cancelled"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: OdelibError) -> None:
    other: Any = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
