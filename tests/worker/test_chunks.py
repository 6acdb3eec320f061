"""Fitting the series of a chunk: each gets the answer that it would get as a fit of its own, or its own error."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from odelib.batches.fitting import fit_batch
from odelib.errors import StopRequested
from odelib.fitting import fit
from odelib.monitor import Monitor
from odelib.problem.request import parse_problem
from tests.worker.batches import REQUEST, well
from worker.batches import chunk
from worker.batches.chunk import ChunkRun
from worker.batches.rows import Row
from worker.batches.updates import ChunkUpdates
from worker.store.batches import Refusal, rows_in
from worker.store.leases import Claim, ClaimedChunk

COVARIANCE = REQUEST | {"uncertainty": "covariance"}


def chunk_run(
    series: list[Any], *, deaths: int = 0, rows: dict[int, Row] | None = None, singly: bool = False
) -> tuple[ChunkRun, ChunkUpdates]:
    lines = [entry if isinstance(entry, bytes) else json.dumps(entry).encode() for entry in series]
    claimed = ClaimedChunk(10, zlib.compress(b"\n".join(lines)), None, deaths)
    claim = Claim("batch/0", "1", 0.0, b"", None, None, None, claimed)
    updates = ChunkUpdates(rows or {}, singly=singly, every=0.0)
    return ChunkRun(COVARIANCE, claim, claimed, updates, 3, 1000), updates


def test_every_series_gets_the_answer_of_a_single_fit() -> None:
    run, _ = chunk_run([well("a", 0.4), well("b", 0.9) | {"parameters": {"k": 0.8}}])
    ending = run.run(Monitor())
    assert ending.status == "succeeded"
    assert json.loads(ending.stages) == {"status:succeeded": 2, "outcome:converged": 2}
    assert isinstance(ending.result, bytes)
    for row, k in zip(rows_in(ending.result).values(), (0.4, 0.9), strict=True):
        alone = fit(parse_problem(COVARIANCE | {"data": well(row["name"], k)}))
        assert row["outcome"] == "converged"
        assert row["loss"] == pytest.approx(alone.loss, rel=1e-6, abs=1e-12)
        single = alone.parameters["k"]
        assert row["parameters"]["k"]["value"] == pytest.approx(single.value, rel=1e-6)
        assert row["parameters"]["k"]["standard_error"] == pytest.approx(single.standard_error, rel=1e-3)
        assert row["initial_state"]["x"] == {"value": 2.0, "fixed": True}


def test_bad_series_fail_alone() -> None:
    unsolvable = well("c") | {"parameters": {"k": -1e300}}
    series = [well("a"), Refusal(None, "/x", "not JSON").line(), unsolvable, well("d") | {"times": [0.0]}, well("e")]
    run, updates = chunk_run(series)
    assert run.run(Monitor()).status == "succeeded"
    rows = [updates.rows[place] for place in range(5)]
    assert [row["status"] for row in rows] == ["succeeded", "failed", "failed", "failed", "succeeded"]
    assert [row.get("name") for row in rows] == ["a", None, "c", "d", "e"]
    assert rows[1]["error"]["errors"] == [{"pointer": "/series/11/x", "detail": "not JSON"}]
    assert rows[2]["error"]["type"].startswith("urn:odefit:error:guess_")
    assert rows[3]["error"]["errors"][0]["pointer"] == "/series/13/values/x"


def test_a_series_at_which_workers_die_is_given_up() -> None:
    done = {0: {"name": "a", "status": "succeeded"}}
    run, updates = chunk_run([well("a"), well("b"), well("c")], deaths=2, rows=done, singly=True)
    run.run(Monitor())
    assert [updates.rows[place]["status"] for place in range(3)] == ["succeeded", "failed", "succeeded"]
    assert updates.rows[1]["error"]["type"] == "urn:odefit:error:worker_died"

    run, updates = chunk_run([well("b")], deaths=1)  # not yet
    run.run(Monitor())
    assert updates.rows[0]["status"] == "succeeded"


def test_after_an_unforeseen_error_series_are_fitted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: Any, series: list[Any], **options: Any) -> Iterator[Any]:
        if any(entry["name"] == "b" for entry in series):
            raise RuntimeError("a fault")
        yield from fit_batch(request, series, **options)

    monkeypatch.setattr(chunk, "fit_batch", broken)
    run, updates = chunk_run([well("a"), well("b"), well("c")])
    assert run.run(Monitor()).status == "succeeded"
    assert [updates.rows[place]["status"] for place in range(3)] == ["succeeded", "failed", "succeeded"]
    assert updates.rows[1]["error"]["type"] == "urn:odefit:error:internal"


def test_a_chunk_that_is_interrupted_keeps_its_rows() -> None:
    run, updates = chunk_run([well("a"), well("b")])
    monitor = Monitor()
    monitor.stop = "interrupted"
    with pytest.raises(StopRequested):
        run.run(monitor)
    assert updates.rows == {}
