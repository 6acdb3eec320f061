"""`Prefer: wait`, the end states and the shape of a finished fit, over HTTP with a worker."""

from __future__ import annotations

import signal
import threading
import time
from datetime import datetime
from typing import Any

import httpx
import pytest

from service.http.schemas import Fit
from tests.end_to_end.conftest import Stack
from tests.processes import ApiProcess, wait_for
from tests.service.requests import DECAY, Json, changed, problem

ENDLESS = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10_000_000, "learning_rate": 1e-7}])
BLOWS_UP = changed(
    DECAY, "/system/equations/x", "k*x**2", "/parameters/k/lower", 0.3, "/data/times", [0.0, 1.0, 3.0],
    "/predictions", [], "/solver/max_steps", 2000,
)  # fmt: skip
WAIT = {"Prefer": "wait=60"}


def ended(stack: Stack, fit_id: str) -> Json:
    def look() -> Json | None:
        fit: Json = stack.client.get(f"/fits/{fit_id}").json()
        return fit if fit["status"] in ("succeeded", "failed", "cancelled") else None

    return wait_for(look, 180, "the end of the fit") or {}


def running(stack: Stack, fit_id: str) -> Json:
    def look() -> Json | None:
        fit: Json = stack.client.get(f"/fits/{fit_id}").json()
        return fit if "progress" in fit else None

    return wait_for(look, 180, "progress of the fit") or {}


def test_waiting_answers_200_with_the_finished_fit(stack: Stack) -> None:
    answer = stack.client.post("/fits", json=changed(DECAY, "/labels", {"who": "me"}), headers=WAIT)
    fit = answer.json()

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "wait=60"
    assert answer.headers["location"] == f"/fits/{fit['id']}"
    assert (fit["status"], fit["labels"], fit["attempts"], fit["system"]) == ("succeeded", {"who": "me"}, 1, "custom")
    moments = [datetime.fromisoformat(fit[name]) for name in ("created_at", "started_at", "finished_at", "expires_at")]
    assert moments == sorted(moments)
    assert [name for name, value in fit.items() if value is None] == []
    assert "error" not in fit
    assert stack.client.get(answer.headers["location"]).json() == fit


def test_a_result_is_what_its_model_says(stack: Stack) -> None:
    answer = stack.client.post("/fits", json=DECAY, headers=WAIT)

    fit = Fit.model_validate(answer.json())
    assert fit.result is not None
    assert fit.result.parameters["k"].value == pytest.approx(0.72, abs=0.05)
    assert fit.result.initial_state["x"].fixed is True


def test_a_fit_that_cannot_succeed_says_why(stack: Stack) -> None:
    fit = stack.client.post("/fits", json=BLOWS_UP, headers=WAIT).json()

    assert fit["status"] == "failed"
    assert set(fit["error"]) == {"type", "title", "detail"}
    assert fit["error"]["type"].startswith("urn:odefit:error:")
    assert "result" not in fit


def test_a_running_fit_is_cancelled_with_its_best_point(stack: Stack) -> None:
    fit_id = stack.client.post("/fits", json=ENDLESS).json()["id"]
    progress = running(stack, fit_id)["progress"]
    problem(stack.client.delete(f"/fits/{fit_id}"), 409, "fit_not_finished")
    cancelling = stack.client.post(f"/fits/{fit_id}/cancel")
    fit = ended(stack, fit_id)

    assert set(progress) == {"stage", "step", "steps", "loss", "fraction"}
    assert (cancelling.status_code, cancelling.json()["id"]) == (202, fit_id)
    assert (fit["status"], fit["result"]["outcome"]["code"]) == ("cancelled", "cancelled")
    assert stack.client.post(f"/fits/{fit_id}/cancel").status_code == 200


def test_an_ended_fit_cannot_be_cancelled(stack: Stack) -> None:
    fit_id = stack.client.post("/fits", json=DECAY, headers=WAIT).json()["id"]

    problem(stack.client.post(f"/fits/{fit_id}/cancel"), 409, "fit_ended")
    assert stack.client.delete(f"/fits/{fit_id}").status_code == 204
    problem(stack.client.get(f"/fits/{fit_id}"), 404, "fit_not_found")


def test_a_repeat_of_a_finished_request_has_its_result(stack: Stack) -> None:
    headers = {**WAIT, "Idempotency-Key": f"repeat at {time.time()}"}
    first = stack.client.post("/fits", json=DECAY, headers=headers)
    again = stack.client.post("/fits", json=DECAY, headers={"Idempotency-Key": headers["Idempotency-Key"]})

    assert (again.status_code, again.json()) == (200, first.json())


def test_an_api_that_stops_answers_those_who_wait(stack: Stack) -> None:
    """SIGTERM of the API: whoever waits gets the fit as it is, and the fit goes on."""
    answers: list[httpx.Response] = []
    with ApiProcess(stack.redis.url) as api:

        def wait() -> None:
            answers.append(httpx.post(f"{api.url}/fits", json=ENDLESS, headers=WAIT, timeout=90))

        waiting = threading.Thread(target=wait)
        waiting.start()
        fits: list[Any] = wait_for(
            lambda: stack.client.get("/fits", params={"status": "running"}).json()["fits"], 180, "the fit to run"
        )
        assert api.stop() in (0, -signal.SIGTERM)
        waiting.join(30)
    stack.client.post(f"/fits/{fits[0]['id']}/cancel")

    assert [answer.status_code for answer in answers] == [202]
    assert answers[0].json()["status"] == "running"
    assert ended(stack, fits[0]["id"])["status"] == "cancelled"
