"""Tables and plots of fits over HTTP, made by a worker and kept with the result."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree

import httpx
import pytest

from odelib.problem.plot_kinds import PlotKind
from tests.end_to_end.conftest import Stack
from tests.processes import wait_for
from tests.service.requests import DECAY, REMOVED, Json, changed, problem
from worker.store.connection import connect
from worker.store.keys import KEYS

ROTATING: Json = {
    "system": "stuart-landau",
    "data": {"times": [0.0, 0.5, 1.0, 1.5, 2.0],
             "values": {"psi": [0.0, 0.5, None, 1.4, 2.1], "R": [0.5, 0.6, 0.7, 0.7, 0.8]}},
    "parameters": {"omega0": 1.0, "gamma": 0.5, "beta": 0.1, "K": 2.0},
    "initial_state": {"psi": 0.0, "R": 0.5},
    "stages": [{"kind": "lbfgsb", "steps": 3}],
    "uncertainty": "none",
}  # fmt: skip
PROFILED = changed(
    DECAY, "/stages", [{"kind": "multi_start"}, {"kind": "lbfgsb"}], "/starts", 3, "/uncertainty", "profile",
    "/data/values/seen", [4.0, None, 1.0],
)  # fmt: skip


def fitted(stack: Stack, request: Json) -> str:
    fit = stack.client.post("/fits", json=request, headers={"Prefer": "wait=60"}).json()
    assert fit["status"] == "succeeded", fit
    return str(fit["id"])


@pytest.fixture(scope="module")
def profiled(stack: Stack) -> str:
    return fitted(stack, PROFILED)


@pytest.fixture(scope="module")
def rotating(stack: Stack) -> str:
    return fitted(stack, ROTATING)


def made(stack: Stack, path: str) -> httpx.Response:
    """The answer; the first one may come too late, because the process starts."""

    def ask() -> httpx.Response | None:
        answer = stack.client.get(path)
        return answer if answer.status_code != 504 else None

    answer = wait_for(ask, 300, "an answer in time")
    assert isinstance(answer, httpx.Response)
    return answer


def test_the_table_has_trajectories_measurements_and_residuals(stack: Stack, profiled: str) -> None:
    answer = made(stack, f"/fits/{profiled}/result.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    result = stack.client.get(f"/fits/{profiled}").json()["result"]
    trajectory = result["trajectories"][0]

    assert answer.headers["content-type"].startswith("text/csv")
    assert list(rows[0]) == ["experiment", "time", "x", "seen", "seen_measured", "seen_residual"]
    assert [float(row["x"]) for row in rows] == trajectory["states"]["x"]
    assert [float(row["seen"]) for row in rows] == trajectory["values"]["seen"]
    assert [row["seen_measured"] for row in rows] == ["4.0", "", "1.0"]
    assert [row["seen_residual"] for row in rows][1] == ""


@pytest.mark.parametrize("kind", ["time", "phase", "polar", "residuals", "starts", "profiles"])
def test_plots_are_svg_and_kept(stack: Stack, profiled: str, rotating: str, kind: PlotKind) -> None:
    fit_id = rotating if kind == "polar" else profiled
    if kind == "phase":
        fit_id = fitted(stack, changed(ROTATING, "/system", "lotka-volterra", "/data/values", {"prey": [1.0] * 5},
                                       "/parameters", {"alpha": 1.0, "beta": 1.0, "gamma": 1.0, "delta": 1.0},
                                       "/initial_state", {"prey": 1.0, "predator": 1.2}))  # fmt: skip
    answer = made(stack, f"/fits/{fit_id}/plot.svg?kind={kind}")

    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(answer.content).tag.endswith("svg")
    assert b"<script" not in answer.content
    with connect(stack.redis.url, retries=1) as redis:
        assert redis.hget(KEYS["FIT"] + fit_id, f"file:{kind}.svg") == answer.content
        redis.hset(KEYS["FIT"] + fit_id, f"file:{kind}.svg", "kept")
    assert stack.client.get(f"/fits/{fit_id}/plot.svg?kind={kind}").text == "kept"


@pytest.mark.parametrize("kind", ["phase", "polar"])
def test_what_a_result_does_not_have_is_422(stack: Stack, profiled: str, kind: str) -> None:
    body = problem(made(stack, f"/fits/{profiled}/plot.svg?kind={kind}"), 422, "invalid_parameter")

    assert body["errors"][0]["parameter"] == "kind"


@pytest.mark.parametrize("query", ["kind=pie", "kind=", "kinds=time"])
def test_a_bad_kind_is_422(stack: Stack, profiled: str, query: str) -> None:
    problem(stack.client.get(f"/fits/{profiled}/plot.svg?{query}"), 422, "invalid_parameter")


@pytest.mark.parametrize("file", ["result.csv", "plot.svg"])
def test_without_a_result_or_a_fit(stack: Stack, file: str) -> None:
    endless = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10**9, "learning_rate": 1e-9}])
    fit = stack.client.post("/fits", json=endless).json()

    problem(stack.client.get(f"/fits/{fit['id']}/{file}"), 409, "no_result")
    stack.client.post(f"/fits/{fit['id']}/cancel")
    problem(stack.client.get(f"/fits/no-such-fit/{file}"), 404, "fit_not_found")


def test_names_of_the_caller_are_text_in_the_picture(stack: Stack) -> None:
    data = {"times": [0.0, 1.0], "values": {"x": [1.0, 0.5]}, "name": "</svg><script>alert(1)</script>$\\frac$"}
    request = changed(DECAY, "/data", data, "/predictions", REMOVED, "/system/observables", REMOVED)
    answer = made(stack, f"/fits/{fitted(stack, request)}/plot.svg")

    assert answer.status_code == 200, answer.text
    assert b"<script" not in answer.content
    assert "alert(1)" in "".join(ElementTree.fromstring(answer.content).itertext()), json.dumps(data)
