"""`odefit fit`, `submit`, `simulate`, `systems`: what they print and write, and their exit statuses."""

from __future__ import annotations

import csv
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from service.cli.commands.fit import fit_locally
from service.cli.options import RequestOptions
from tests.end_to_end.conftest import Stack
from tests.processes import ApiProcess, redis_server, wait_for
from tests.service.requests import DECAY, Json, changed

SECONDS = 180.0
ENDLESS = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10_000_000, "learning_rate": 1e-7}])
BLOWS_UP = changed(
    DECAY, "/system/equations/x", "k*x**2", "/parameters/k/lower", 0.3, "/data/times", [0.0, 1.0, 3.0],
    "/predictions", [], "/solver/max_steps", 2000,
)  # fmt: skip


def command(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ODEFIT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service", *map(str, arguments)],
        env=clean | environment | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    process = command(*arguments, **environment)
    out, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def written(folder: Path, request: Any, name: str = "request.json") -> Path:
    path = folder / name
    path.write_text(request if isinstance(request, str) else json.dumps(request), encoding="utf-8")
    return path


def table(out: str) -> dict[str, list[str]]:
    """The rows of the printed table by their first word."""
    return {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}


def test_fit_prints_and_writes_the_result(tmp_path: Path) -> None:
    request = changed(DECAY, "/parameters/k", {"guess": 0.4, "lower": 0.1, "upper": 0.5})
    out, plot = tmp_path / "result.json", tmp_path / "fit.png"

    status, printed, _ = run("fit", written(tmp_path, request), "--out", out, "--plot", plot)

    result = json.loads(out.read_text(encoding="utf-8"))
    assert status == 0
    assert result["parameters"]["k"]["value"] == pytest.approx(0.5)
    rows = table(printed)
    assert rows["k"] == ["0.5", "0.4", "0.1", "…", "0.5", "at", "its", "bound"]
    assert rows["x(0)"] == ["2", "2", "fixed"]
    assert result["outcome"]["message"] in printed
    assert result["warnings"][0]["message"] in printed
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_submit_prints_and_writes_what_fit_does(tmp_path: Path, stack: Stack) -> None:
    request, here, there = written(tmp_path, DECAY), tmp_path / "here.json", tmp_path / "there.json"

    fitted = run("fit", request, "--out", here)
    submitted = run("submit", request, "--url", stack.url, "--out", there, "--plot", tmp_path / "fit.svg")

    assert (fitted[0], submitted[0]) == (0, 0)
    assert table(submitted[1])["k"] == table(fitted[1])["k"]
    one, other = (json.loads(path.read_text(encoding="utf-8")) for path in (here, there))
    assert one["loss"] == pytest.approx(other["loss"])
    assert (tmp_path / "fit.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize("name", ["fit", "submit"])
def test_a_failed_fit_is_1_and_says_why(tmp_path: Path, stack: Stack, name: str) -> None:
    options = ["--url", stack.url] if name == "submit" else []

    status, _, err = run(name, written(tmp_path, BLOWS_UP), *options)

    assert status == 1
    assert "failed" in err
    assert "t = " in err  # where the solver stood


def test_a_cancelled_fit_is_1(tmp_path: Path, stack: Stack) -> None:
    process = command("submit", written(tmp_path, ENDLESS), "--url", stack.url)
    fits = running(stack)
    stack.client.post(f"/fits/{fits[0]['id']}/cancel")
    out, err = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "cancelled" in err
    assert "k" in table(out)  # the best point


def running(stack: Stack) -> list[Json]:
    def look() -> list[Json]:
        fits: list[Json] = stack.client.get("/fits", params={"status": "running"}).json()["fits"]
        return [fit for fit in fits if "progress" in fit]

    return wait_for(look, SECONDS, "a running fit")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (changed(DECAY, "/parameters/k/guess", 9.0), "/parameters/k/guess: "),
        (changed(DECAY, "/zeta", 1), "/zeta: "),
        ([], "(whole request): "),
        ('{"system": ', "not JSON"),
        ('{"system": "lorenz", "system": "lorenz"}', "duplicate key 'system'"),
        ("[" * 60 + "]" * 60, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("name", ["fit", "submit"])
def test_a_bad_request_is_2_with_its_pointers(
    tmp_path: Path, stack: Stack, name: str, request_: Any, said: str
) -> None:
    options = ["--url", stack.url] if name == "submit" else []

    status, _, err = run(name, written(tmp_path, request_), *options)

    assert status == 2
    assert said in err


@pytest.mark.parametrize("name", ["fit", "submit", "simulate"])
def test_a_missing_file_is_2(tmp_path: Path, name: str) -> None:
    status, _, err = run(name, tmp_path / "none.json")

    assert status == 2
    assert "none.json" in err


@pytest.mark.parametrize(
    ("option", "path"), [("--out", "no/such/folder.json"), ("--plot", "picture.abc"), ("--plot", "no/such/a.png")]
)
def test_what_cannot_be_written_is_said_before_the_fit(tmp_path: Path, option: str, path: str) -> None:
    status, out, err = run("fit", written(tmp_path, ENDLESS), option, tmp_path / path)

    assert (status, out) == (2, "")
    assert path in err


def test_no_service_is_3(tmp_path: Path) -> None:
    status, _, err = run("submit", written(tmp_path, DECAY), "--url", "http://127.0.0.1:9")

    assert status == 3
    assert "odefit serve" in err


@pytest.mark.parametrize("url", ["localhost:8000", "http://127.0.0.1:many", "ftp://127.0.0.1"])
def test_an_address_that_is_none_is_2(tmp_path: Path, url: str) -> None:
    status, _, err = run("submit", written(tmp_path, DECAY), "--url", url)

    assert status == 2
    assert url in err


def test_something_else_at_the_address_is_said(tmp_path: Path) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        status, _, err = run("submit", written(tmp_path, DECAY), "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        serving.join()

    assert status == 3
    assert "is not an odefit service" in err


def test_the_key_is_sent(tmp_path: Path) -> None:
    with redis_server() as redis, ApiProcess(redis.url, api_key="secret") as api:
        without = run("submit", written(tmp_path, DECAY), "--url", api.url)
        process = command("submit", written(tmp_path, DECAY), "--url", api.url, ODEFIT_API_KEY="secret")
        with api.client(headers={"Authorization": "Bearer secret"}) as client:
            fits = wait_for(lambda: client.get("/fits").json()["fits"], SECONDS, "the submitted fit")
        process.kill()
        process.communicate()

    assert without[0] == 2
    assert "401" in without[2]
    assert len(fits) == 1


def test_ctrl_c_leaves_a_submitted_fit_running_and_prints_its_id(tmp_path: Path, stack: Stack) -> None:
    process = command("submit", written(tmp_path, ENDLESS), "--url", stack.url)
    fit_id = running(stack)[0]["id"]
    time.sleep(2)  # by now it has read the answer, and waits
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    fit = stack.client.get(f"/fits/{fit_id}").json()
    stack.client.post(f"/fits/{fit_id}/cancel")
    wait_for(lambda: stack.client.get(f"/fits/{fit_id}").json()["status"] == "cancelled", SECONDS, "its end")

    assert process.returncode == 130
    assert fit_id in err
    assert fit["status"] == "running"


def test_ctrl_c_ends_a_fit_here_with_its_best_point(tmp_path: Path) -> None:
    """In this process, so that Ctrl-C can come as soon as the progress bar shows a point."""
    out, shown = tmp_path / "result.json", io.StringIO()

    def ctrl_c() -> None:
        wait_for(lambda: "loss" in shown.getvalue(), SECONDS, "a point")
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=ctrl_c)
    pressing.start()
    bar = Console(file=shown, force_terminal=True, width=200)
    status = fit_locally(RequestOptions(written(tmp_path, ENDLESS)), out, None, Console(file=io.StringIO()), bar)
    pressing.join()

    assert status == 130
    assert json.loads(out.read_text(encoding="utf-8"))["outcome"]["code"] == "cancelled"


def test_submit_goes_on_through_a_restart_of_the_service(tmp_path: Path, stack: Stack) -> None:
    api = ApiProcess(stack.redis.url)
    with api:
        process = command("submit", written(tmp_path, ENDLESS), "--url", api.url)
        fit_id = running(stack)[0]["id"]
        api.kill()
        api.start()
        stack.client.post(f"/fits/{fit_id}/cancel")
        out, _ = process.communicate(timeout=SECONDS)

    assert process.returncode == 1
    assert "k" in table(out)


def test_simulate_gives_data_that_can_be_fitted(tmp_path: Path) -> None:
    out, sheet = tmp_path / "data.json", tmp_path / "data.csv"

    first = run("simulate", "lotka-volterra", "--noise", "0.1", "--seed", "3", "--out", out)
    same = run("simulate", "lotka-volterra", "--noise", "0.1", "--seed", "3", "--out", sheet)
    other = run("simulate", "lotka-volterra", "--noise", "0.1", "--seed", "4")

    assert (first[0], same[0], other[0]) == (0, 0, 0)
    data = json.loads(out.read_text(encoding="utf-8"))
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == data["times"]
    assert [float(row["prey"]) for row in rows] == data["values"]["prey"]
    assert json.loads(other[1])["values"]["prey"] != data["values"]["prey"]
    request = {
        "system": "lotka-volterra", "data": data, "stages": [{"kind": "lbfgsb", "steps": 1}],
        "parameters": {"alpha": 1.5, "beta": 1, "gamma": 1, "delta": 3}, "initial_state": {"prey": 1, "predator": 1},
    }  # fmt: skip
    assert run("fit", written(tmp_path, request))[0] == 0


def test_simulate_takes_a_request(tmp_path: Path) -> None:
    request = changed(DECAY, "/data/values/seen", [1.0, None, 1.0])

    status, out, _ = run("simulate", written(tmp_path, request))

    assert status == 0
    values = json.loads(out)["values"]["seen"]
    assert values[1] is None
    assert values[0] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["abacus"], "lotka-volterra"),
        (["lorenz", "--noise", "-1"], "noise"),
        (["lorenz", "--out", "data.txt"], ".csv"),
        (["lorenz", "--seed", "-1"], "seed"),
    ],
)
def test_simulate_says_what_is_wrong(arguments: list[str], said: str) -> None:
    status, _, err = run("simulate", *arguments)

    assert status == 2
    assert said in err


def test_systems_lists_the_catalogue() -> None:
    status, out, _ = run("systems")

    assert status == 0
    assert "Lotka–Volterra: predator and prey" in out
    assert "prey'" in out
    assert "alpha*prey - beta*prey*predator" in out
    assert "R*cos(psi)" in out
