"""`odefit list`, `show`, `watch`, `cancel` on a service, and `plot`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.conftest import Stack
from tests.service.requests import DECAY, changed


def odefit(stack: Stack | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = ["--url", stack.url] if stack else []
    command = [sys.executable, "-m", "service", *arguments, *url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_fit_is_listed_shown_watched_and_drawn(stack: Stack, tmp_path: Path) -> None:
    request = changed(DECAY, "/labels", {"who": "[bold]me"})
    fit_id = stack.client.post("/fits", json=request, headers={"Prefer": "wait=60"}).json()["id"]
    (tmp_path / "request.json").write_text(json.dumps(request))
    result, picture = tmp_path / "result.json", tmp_path / "fit.svg"

    listed = odefit(stack, "list", "--label", "who:[bold]me", "--limit", "5")
    assert (listed.returncode, fit_id[:8] in listed.stdout, "[bold]me" in listed.stdout) == (0, True, True), listed
    shown = odefit(stack, "show", fit_id, "--out", str(result))
    assert shown.returncode == 0, shown
    assert "converged" in shown.stdout
    watched = odefit(stack, "watch", fit_id)
    assert (watched.returncode, watched.stdout.strip()) == (0, "succeeded: converged")
    drawn = odefit(None, "plot", str(tmp_path / "request.json"), "--result", str(result), "--out", str(picture))
    assert drawn.returncode == 0, drawn
    assert picture.read_text().startswith("<?xml")
    bad = odefit(
        None, "plot", str(tmp_path / "request.json"), "--result", str(tmp_path / "request.json"), "--out", str(picture)
    )
    assert bad.returncode == 2
    assert "is not a result" in bad.stderr


def test_a_fit_is_cancelled(stack: Stack) -> None:
    endless = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10**8, "learning_rate": 1e-9}])
    fit_id = stack.client.post("/fits", json=endless).json()["id"]

    assert odefit(stack, "cancel", fit_id).returncode == 0
    assert odefit(stack, "watch", fit_id).returncode == 1


def test_mistakes_end_with_the_right_status(stack: Stack) -> None:
    assert odefit(stack, "show", "no-such-fit").returncode == 1
    assert odefit(stack, "list", "--status", "odd").returncode == 2
    assert odefit(stack, "list", "--label", "odd").returncode == 2
    nobody = subprocess.run(
        [sys.executable, "-m", "service", "list", "--url", "http://127.0.0.1:9"], capture_output=True, check=False
    )
    assert nobody.returncode == 3
