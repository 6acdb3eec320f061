"""The requests with doses, inputs, changes, events and steady states are accepted, and are what the code makes."""

from __future__ import annotations

import json

import pytest

from examples.experiments import EXPERIMENTS, REQUESTS
from odelib import FitProblem


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_file_is_accepted_and_is_what_the_code_makes(name: str) -> None:
    committed = json.loads((REQUESTS / f"{name}.json").read_text("utf-8"))
    FitProblem.model_validate(committed)
    for one in committed.get("experiments") or [committed["data"]]:
        del one["values"]
    request, _, _ = EXPERIMENTS[name]()
    assert json.loads(json.dumps(request)) == committed
