"""The runner goes on where it was interrupted; the demo starts the service, fits, draws and leaves nothing running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from examples import demo, run_all
from odelib.fitting import fit
from odelib.monitor import Checkpoint, Monitor
from odelib.result import FitResult
from service.cli.errors import NO_SERVICE, CommandError
from tests.problems import decay_request
from tests.processes import wait_for

ROOT = Path(__file__).parents[2]
REQUEST = decay_request(stages=[{"kind": "adam", "steps": 3}, {"kind": "lbfgsb", "steps": 50}])


@pytest.fixture
def requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of requests with one small one."""
    folder = tmp_path / "requests"
    folder.mkdir()
    (folder / "lynx-hare.json").write_text(json.dumps(REQUEST), "utf-8")
    monkeypatch.setattr(run_all, "REQUESTS", folder)
    monkeypatch.setattr(demo, "REQUESTS", folder)
    return folder


def run(output: Path) -> int:
    return run_all.main(["--only", "lynx-hare", "--output", str(output)])


def replace_fit(monkeypatch: pytest.MonkeyPatch, function: Callable[..., FitResult]) -> None:
    monkeypatch.setattr(run_all, "fit", function)


@pytest.mark.usefixtures("requests")
def test_what_is_finished_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path) == 0
    assert (tmp_path / "lynx-hare.png").stat().st_size > 10_000
    (tmp_path / "lynx-hare.png").unlink()

    def refuse(*_: Any, **__: Any) -> FitResult:
        raise AssertionError("fitted again")

    replace_fit(monkeypatch, refuse)
    assert run(tmp_path) == 0
    assert (tmp_path / "lynx-hare.png").exists()


@pytest.mark.usefixtures("requests")
def test_an_interrupted_fit_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_all, "LOOK_SECONDS", 0.01)
    resumed: list[Checkpoint | None] = []

    def interrupt(problem: Any, *, monitor: Monitor, resume: Checkpoint | None) -> FitResult:
        resumed.append(resume)
        fit(problem, monitor=monitor)
        while not list(tmp_path.glob("*.checkpoint.json")):
            assert monitor.checkpoint is not None
        raise KeyboardInterrupt

    def go_on(problem: Any, *, monitor: Monitor, resume: Checkpoint | None) -> FitResult:
        resumed.append(resume)
        return fit(problem, monitor=monitor, resume=resume)

    replace_fit(monkeypatch, interrupt)
    assert run(tmp_path) == 130
    replace_fit(monkeypatch, go_on)
    assert run(tmp_path) == 0
    assert resumed[0] is None
    assert resumed[1] is not None
    assert list(tmp_path.glob("*.checkpoint.json")) == []


def test_a_fit_that_cannot_succeed_says_so(requests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    explosion = {"states": ["x"], "parameters": ["k"], "equations": {"x": "k*x**2"}}
    request = {**REQUEST, "system": explosion, "parameters": {"k": {"guess": 50.0, "lower": 40.0}}}
    (requests / "lynx-hare.json").write_text(json.dumps(request), "utf-8")
    assert run(tmp_path) == 1
    assert "lynx-hare failed. The model cannot be evaluated at the guess" in " ".join(capsys.readouterr().out.split())


def test_orbits_are_drawn_where_the_article_has_them(tmp_path: Path) -> None:
    assert run_all.draw_orbits("lynx-hare", tmp_path) is None
    path = run_all.draw_orbits("stuart-landau", tmp_path)
    assert path is not None
    assert path.stat().st_size > 10_000


def test_the_demo_leaves_a_picture_and_nothing_running(requests: Path, tmp_path: Path) -> None:
    mark = f"demo-{uuid.uuid4()}"
    script = f"import sys; from pathlib import Path; from examples import demo; demo.REQUESTS = Path({str(requests)!r})"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; sys.exit(demo.main())"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "MARK": mark, "ODEFIT_API_KEY": "another service's"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "demo-output" / "lynx-hare.png").stat().st_size > 10_000
    assert "converged" in done.stdout
    assert "demo-output/lynx-hare.png" in done.stdout
    wait_for(lambda: processes_with(mark) == [], 30, "the end of all that it started")


def processes_with(mark: str) -> list[str]:
    """The command lines of the processes that have inherited `mark`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("MARK") == mark:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.usefixtures("requests")
def test_a_service_that_does_not_come_up_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no luck today\nexit 7\n", "utf-8")
    broken.chmod(0o755)
    monkeypatch.setattr(demo.sys, "executable", str(broken))
    with pytest.raises(CommandError) as caught:
        demo.run(Console())
    assert caught.value.status == NO_SERVICE
    assert "exit status 7" in str(caught.value)
    assert "no luck today" in str(caught.value)
