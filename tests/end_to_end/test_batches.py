"""Batches from a request to a table: over HTTP with a worker, and by `odefit batch` without a service."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest

from tests.end_to_end.conftest import Stack
from tests.end_to_end.test_contract_commands import SECONDS, command
from tests.processes import wait_for

REQUEST: dict[str, Any] = {
    "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}, "derived": {"half_life": "log(2)/k"}},
    "parameters": {"k": 1.0},
    "initial_state": {"x": {"guess": 2.0, "fixed": True}},
    "noise": {"x": {"distribution": "normal", "sigma": "estimate"}},
    "uncertainty": "covariance",
}
RATES = {"A1": 0.4, "A2": 0.9, "B1": 1.7}
TIMES = [0.0, 0.5, 1.0, 1.5, 2.0]
DISTURBED = [0.01, -0.02, 0.02, -0.01, 0.01]


def well(name: str, rate: float) -> dict[str, Any]:
    values = [2 * math.exp(-rate * time) + error for time, error in zip(TIMES, DISTURBED, strict=True)]
    return {"name": name, "times": TIMES, "values": {"x": values}}


def check_table(rows: list[dict[str, Any]]) -> None:
    assert [row["name"] for row in rows] == list(RATES)
    for row, rate in zip(rows, RATES.values(), strict=True):
        assert row["outcome"] == "converged"
        assert float(row["k"]) == pytest.approx(rate, rel=0.1)
        assert float(row["k_lower_95"]) < rate < float(row["k_upper_95"])
        assert float(row["half_life"]) == pytest.approx(math.log(2) / float(row["k"]))
        assert 0 < float(row["x_sigma"]) < 0.1
        assert float(row["x"]) == 2.0


def test_a_batch_over_http(stack: Stack) -> None:
    client: httpx.Client = stack.client
    series = [well(name, rate) for name, rate in RATES.items()]
    body = "\n".join(json.dumps(line) for line in (REQUEST, *series, {"name": "bad", "times": [0.0]}))
    answer = client.post("/batches", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 202, answer.text
    path = answer.headers["location"]
    wait_for(lambda: client.get(path).json()["status"] == "succeeded", SECONDS, "the end of the batch")

    batch = client.get(path).json()
    assert batch["counts"] == {"status": {"succeeded": 3, "failed": 1}, "outcome": {"converged": 3}}
    rows = [json.loads(line) for line in client.get(f"{path}/results").text.splitlines()]
    assert rows[3]["error"]["errors"][0]["pointer"] == "/series/3/values"
    alone = client.post("/fits", json=REQUEST | {"data": series[0]}, headers={"Prefer": "wait=60"}).json()["result"]
    assert rows[0]["parameters"]["k"] == pytest.approx(alone["parameters"]["k"], rel=1e-4)
    assert rows[0]["noise"]["x"]["sigma"]["value"] == pytest.approx(alone["noise"]["x"]["sigma"]["value"], rel=1e-4)
    table = client.get(f"{path}/results", headers={"Accept": "text/csv"}).text
    check_table(list(csv.DictReader(io.StringIO(table)))[:3])

    def parquet() -> httpx.Response | None:  # the process that makes it may have to start
        found = client.get(f"{path}/results", headers={"Accept": "application/vnd.apache.parquet"})
        return found if found.status_code != 504 else None

    found = wait_for(parquet, SECONDS, "the table")
    assert found is not None
    assert found.headers["content-type"] == "application/vnd.apache.parquet"
    check_table(pyarrow.parquet.read_table(io.BytesIO(found.content)).to_pylist()[:3])
    assert client.delete(path).status_code == 204


def test_a_batch_from_a_table(tmp_path: Path) -> None:
    request, plates, out = tmp_path / "model.json", tmp_path / "plates.csv", tmp_path / "fits.csv"
    request.write_text(json.dumps(REQUEST))
    lines = ["Well,time,x"]
    for name, rate in RATES.items():
        series = well(name, rate)
        lines += [f"{name},{time},{value}" for time, value in zip(TIMES, series["values"]["x"], strict=True)]
    plates.write_text("\n".join(lines))

    picture = tmp_path / "fits.svg"
    arguments = ("batch", request, "--data", plates, "--by", "well", "--out", out, "--plot", picture, "--jobs", "1")
    process = command(*arguments)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert "3 fits: 3 converged" in errors
    assert picture.read_text().startswith("<?xml")
    check_table(list(csv.DictReader(io.StringIO(out.read_text()))))


def test_mistakes_in_a_batch_from_a_table(tmp_path: Path) -> None:
    request, plates = tmp_path / "model.json", tmp_path / "plates.csv"
    plates.write_text("well,time,x\nA1,0,2\nA1,1,1\n")
    for body, column, message in (
        (REQUEST | {"predictions": []}, "plate", "no column 'plate'"),
        (REQUEST | {"solver": {"rtol": 0}}, "well", "/solver/rtol"),
        (REQUEST | {"hold_out": {"after": 1}}, "well", "/hold_out"),
    ):
        request.write_text(json.dumps(body))
        process = command("batch", request, "--data", plates, "--by", column)
        printed, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, printed) == (2, "")
        assert message in errors
