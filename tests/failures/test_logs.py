"""Logs contain nothing that a caller sends: names, numbers, texts, keys, addresses."""

from __future__ import annotations

import json
from typing import Any

from tests.failures.conftest import Stack
from tests.failures.requests import decay
from tests.processes import ApiProcess

WORD, NUMBER = "Pseudonym", "31.4159265358"  # words of the caller's


def private(**more: Any) -> dict[str, Any]:
    """A request with the caller's own words everywhere."""
    return {
        "system": {
            "states": [f"{WORD}_state"],
            "parameters": [f"{WORD}_rate"],
            "constants": {f"{WORD}_constant": float(NUMBER)},
            "equations": {f"{WORD}_state": f"-{WORD}_rate*{WORD}_state*{NUMBER}/{WORD}_constant"},
            "observables": {f"{WORD}_seen": f"{WORD}_state"},
        },
        "data": {"name": f"{WORD} series", "times": [0.0, 1.0], "values": {f"{WORD}_seen": [float(NUMBER), 20.0]}},
        "parameters": {f"{WORD}_rate": 1.0},
        "initial_state": {f"{WORD}_state": float(NUMBER)},
        "labels": {WORD: f"{WORD} {NUMBER}"},
        "stages": [{"kind": "adam", "steps": 3}],
        **more,
    }


def refused() -> list[bytes]:
    """Bodies that get a 4xx each."""
    unknown = private()
    unknown["system"]["equations"] = {f"{WORD}_state": f"{WORD}_nobody + __import__('{WORD}')"}
    text = json.dumps(private())
    return [
        json.dumps(unknown).encode(),
        json.dumps(private(**{WORD: NUMBER})).encode(),
        text[:-10].encode(),
        text.replace(NUMBER, "NaN", 1).encode(),
        text.replace(f'"{WORD} series"', f'"{WORD}\\ud800"').encode(),
        text.encode("utf-16"),
        f'{{"{WORD}": {NUMBER}, "{WORD}": {NUMBER}}}'.encode(),
        b"[" * 1000 + text.encode() + b"]" * 1000,
    ]


def failing() -> list[dict[str, Any]]:
    """Fits that are accepted and end `failed`."""
    blows_up, names = private(), [f"{WORD}{i}" for i in range(700)]
    blows_up["system"]["equations"] = {f"{WORD}_state": f"1/({WORD}_state - {WORD}_constant)"}
    blows_up["initial_state"] = {f"{WORD}_state": {"guess": float(NUMBER), "fixed": True}}
    product = decay(3) | {"system": {"states": ["y"], "parameters": names, "equations": {"y": "*".join(names)}}}
    product |= {"parameters": dict.fromkeys(names, 1.0), "solver": {"engine": "compiled"}}
    return [
        blows_up,
        product,
        private(
            solver={"max_steps": 1},  # of which a search for other points would find enough, were anything free
            parameters={f"{WORD}_rate": {"guess": 1.0, "fixed": True}},
            initial_state={f"{WORD}_state": {"guess": float(NUMBER), "fixed": True}},
        ),
        private(time_limit_seconds=1e-9),
    ]


def test_logs_contain_nothing_that_callers_send(stack: Stack) -> None:
    with stack.worker() as worker, ApiProcess(stack.server.url) as api, api.client() as http:
        json_type = {"Content-Type": "application/json", "Idempotency-Key": WORD, "X-Word": WORD}
        for body in refused():
            assert http.post("/fits", content=body, headers=json_type).status_code in (400, 422)
        for method, path in (
            ("GET", f"/fits/{WORD}"),
            ("GET", f"/fits?cursor={WORD}&{WORD}={WORD}"),
            ("GET", f"/systems/{WORD}"),
            ("PUT", f"/{WORD}"),
            ("POST", f"/fits/{WORD}/cancel"),
        ):
            assert http.request(method, path, headers={"Authorization": f"Bearer {WORD}"}).status_code in (
                404,
                405,
                422,
            )
        accepted = [http.post("/fits", json=body) for body in (private(), *failing())]
        records = [stack.ended(answer.json()["id"]) for answer in accepted]
        logs = api.log() + worker.log()

    assert [record.status for record in records] == ["succeeded", "failed", "failed", "failed", "failed"]
    assert all(f'"fit": "{record.id}"' in logs for record in records)  # it is their log
    assert [line for line in logs.splitlines() if WORD in line or NUMBER in line or NUMBER[:8] in line] == []
