"""Fits with a Python client that openapi-generator generated: python lynx_hare_of_generator.py URL REQUEST."""

import json
import sys
from pathlib import Path

from generated_odefit_client import ApiClient, Configuration, FitProblem, FitsApi

with ApiClient(Configuration(host=sys.argv[1])) as client:
    fits = FitsApi(client)
    request = FitProblem.from_dict(json.loads(Path(sys.argv[2]).read_text()))
    submitted = fits.submit_fit(request, prefer="wait=60").actual_instance
    fit = fits.get_fit(submitted.id)
sys.stdout.write(
    json.dumps(
        {"status": fit.status, "outcome": fit.result.outcome.code, "alpha": fit.result.parameters["alpha"].value}
    )
)
