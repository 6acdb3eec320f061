"""A running service agrees with its OpenAPI document: schemathesis with all its checks.

    make schemathesis [CASES=1000]

The requests are generated from the document that the service returns: cases for each operation, sequences of calls,
and with `make` also the boundary values of every field, which takes minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ApiProcess, WorkerProcess, redis_server, wait_for
from tests.service.requests import MINIMAL

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
CASES = os.environ.get("SCHEMATHESIS_CASES")
KEY = "a key for the test"


@pytest.mark.timeout(3600)
def test_all_checks_hold(tmp_path: Path) -> None:
    cases = int(CASES or 20)
    phases = ["examples", *(["coverage"] if CASES else []), "fuzzing", "stateful"]
    with redis_server() as redis, ApiProcess(redis.url, api_key=KEY) as api, WorkerProcess(redis.url):
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
            *("run", f"{api.url}/openapi.json", "--checks", "all"),
            *("--request-timeout", "60"),
            *("--phases", ",".join(phases), "--max-examples", str(cases)),
            *("--header", f"Authorization: Bearer {KEY}", "--continue-on-failure", "--seed", "1"),
        ]
        # The process for simulations starts with the first one, which may take longer than it may.
        headers = {"Authorization": f"Bearer {KEY}"}
        with api.client(headers=headers) as client:
            wait_for(lambda: client.post("/simulations", json=MINIMAL).status_code == 200, 300, "a simulation")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        log = api.log()
    if CASES:
        sys.stdout.write(done.stdout)

    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    generated = re.search(r"(\d[\d,]*) generated", done.stdout)
    assert generated is not None
    assert int(generated[1].replace(",", "")) > cases
    assert '"level": "error"' not in log
