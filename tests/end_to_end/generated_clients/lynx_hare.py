"""Fits with a client that openapi-python-client generated: python lynx_hare.py URL REQUEST."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from generated_odefit_client import Client
from generated_odefit_client.api.fits import get_fit, get_fit_events, submit_fit
from generated_odefit_client.models import Fit, FitProblem, Outcome, PartialFit, PartialResult, PartialResultParameters


def main() -> None:
    request = FitProblem.from_dict(json.loads(Path(sys.argv[2]).read_text()))
    with Client(base_url=sys.argv[1]) as client:
        submitted = submit_fit.sync(client=client, body=request, prefer="wait=60")
        assert isinstance(submitted, Fit)
        fit = get_fit.sync(submitted.id, client=client)
        events = get_fit_events.sync(submitted.id, client=client)
    assert isinstance(events, str)
    assert "event: finished" in events
    assert isinstance(fit, PartialFit)
    assert isinstance(fit.result, PartialResult)
    outcome, parameters = fit.result.outcome, fit.result.parameters
    assert isinstance(outcome, Outcome)
    assert isinstance(parameters, PartialResultParameters)
    sys.stdout.write(json.dumps({"status": fit.status, "outcome": outcome.code, "alpha": parameters["alpha"].value}))


main()
