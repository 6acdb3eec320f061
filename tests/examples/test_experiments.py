"""The requests with doses, inputs, changes, events and steady states: their files, and what a fit of them finds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from examples.experiments import EXPERIMENTS, REQUESTS, simulated
from odelib import FitProblem, fit


def measured(request: dict[str, Any]) -> list[float]:
    series = request.get("experiments") or [request["data"]]
    return [value for one in series for column in one["values"].values() for value in column]


def without_values(request: dict[str, Any]) -> Any:
    copy = json.loads(json.dumps(request))
    for one in copy.get("experiments") or [copy["data"]]:
        del one["values"]
    return copy


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_file_is_accepted_and_is_what_the_code_makes(name: str) -> None:
    committed = json.loads((REQUESTS / f"{name}.json").read_text("utf-8"))
    request, _ = simulated(name)
    assert without_values(request) == without_values(committed)
    np.testing.assert_allclose(measured(request), measured(committed), rtol=2e-5, atol=1e-6)
    FitProblem.model_validate(committed)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_true_values_are_found_within_their_errors(name: str) -> None:
    request, truth = simulated(name, seed=1)
    result = fit(FitProblem.model_validate(request))
    assert result.outcome.code == "converged"
    assert result.warnings == []
    estimates = {**result.parameters, **result.trajectories[0].initial_state}
    free = {unknown for unknown, estimate in estimates.items() if not estimate.fixed} & truth.keys()
    assert free >= set(request["parameters"]) - {"reported"}
    for unknown in free:
        error = estimates[unknown].standard_error
        assert error is not None
        assert abs(estimates[unknown].value - truth[unknown]) < 4 * error, unknown
    assert [prediction.error for prediction in result.predictions or []] == [None] * len(request.get("predictions", []))
