"""`odefit serve`: starts everything, keeps it alive, leaves nothing running; data survive in `--data DIR`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from tests.processes import wait_for, wait_for_end
from tests.service.requests import DECAY, changed

SECONDS = 180.0
ENDLESS = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10_000_000, "learning_rate": 1e-7}])


class Serve:
    """`odefit serve` with one worker on a free port."""

    def __init__(self, *options: str, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ODEFIT_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", "0", "--workers", "1", *options],
            env=clean | environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.url = self.first_line.split()[2].rstrip(",")
        self.client = httpx.Client(base_url=self.url, timeout=90)

    def ready(self) -> None:
        wait_for(self._is_ready, SECONDS, "a ready service")

    def _is_ready(self) -> bool:
        try:
            answer = self.client.get("/health/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["workers"] > 0

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def part(self, word: str) -> psutil.Process:
        """The child whose command line has `word` in it."""

        def find() -> psutil.Process | None:
            for child in psutil.Process(self.process.pid).children():
                with suppress(psutil.Error):  # it ends just now
                    command = " ".join(child.cmdline())
                    if word in command and "--version" not in command:
                        return child
            return None

        found = wait_for(find, SECONDS, f"a process with {word!r}")
        assert found is not None
        return found

    def stop(self, *signals: signal.Signals) -> int:
        """Send the signals; returns the exit status, once nothing of it runs any more."""
        started = self.descendants()
        for number in signals:
            self.process.send_signal(number)
        status = self.process.wait(SECONDS)
        wait_for_end(*started, seconds=10)
        return status


@contextmanager
def serve(*options: str, **environment: str) -> Iterator[Serve]:
    running = Serve(*options, **environment)
    try:
        yield running
    finally:
        running.client.close()
        for child in running.descendants() if running.process.poll() is None else []:
            child.kill()
        running.process.kill()
        running.process.wait()
        assert running.process.stdout is not None
        running.process.stdout.close()


def test_what_was_accepted_survives_a_restart_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with serve("--data", data) as first:
        first.ready()
        finished = first.client.post("/fits", json=DECAY, headers={"Prefer": "wait=60"}).json()
        endless = first.client.post("/fits", json=ENDLESS).json()
        assert first.stop(signal.SIGINT) == 130
    with serve("--data", data) as second:
        second.ready()
        assert second.client.get(f"/fits/{finished['id']}").json() == finished
        wait_for(
            lambda: second.client.get(f"/fits/{endless['id']}").json()["status"] == "running",
            SECONDS,
            "the fit to go on",
        )
        assert second.stop(signal.SIGTERM) == 0


def test_what_dies_is_started_again() -> None:
    with serve() as running:
        running.ready()
        fit = running.client.post("/fits", json=DECAY, headers={"Prefer": "wait=60"}).json()
        for word in ("redis-server", "service worker", "service api"):
            process = running.part(word)
            process.kill()
            process.wait(SECONDS)
            assert running.part(word).pid != process.pid
            running.ready()
        again = running.client.post("/fits", json=changed(DECAY, "/seed", 1), headers={"Prefer": "wait=60"})

        assert running.client.get(f"/fits/{fit['id']}").json() == fit
        assert (again.status_code, again.json()["status"]) == (200, "succeeded")
        assert running.stop(signal.SIGTERM) == 0


def test_a_second_ctrl_c_stops_it_at_once_and_leaves_nothing() -> None:
    with serve() as running:
        running.ready()
        running.client.post("/fits", json=ENDLESS)
        assert running.stop(signal.SIGINT, signal.SIGINT) == 130


def test_without_data_the_folder_is_removed(tmp_path: Path) -> None:
    with serve(TMPDIR=str(tmp_path)) as running:
        assert list(tmp_path.iterdir()) != []
        running.ready()
        running.stop(signal.SIGTERM)

    assert list(tmp_path.iterdir()) == []


def test_nor_does_a_killed_one_leave_its_folder(tmp_path: Path) -> None:
    with serve(TMPDIR=str(tmp_path)) as running:
        running.ready()
        started = running.descendants()
        assert any("redis-server" in " ".join(process.cmdline()) for process in started)
        running.process.kill()
        wait_for_end(*started, seconds=60)

    assert list(tmp_path.iterdir()) == []


def test_it_leaves_nothing_when_it_is_killed_and_its_fits_go_on_afterwards(tmp_path: Path) -> None:
    with serve("--data", str(tmp_path)) as running:
        running.ready()
        endless = running.client.post("/fits", json=ENDLESS).json()
        wait_for(lambda: running.client.get(f"/fits/{endless['id']}").json()["status"] == "running", SECONDS)
        started = running.descendants()
        assert any("redis-server" in " ".join(process.cmdline()) for process in started)
        running.process.kill()
        wait_for_end(*started, seconds=60)
    with serve("--data", str(tmp_path)) as again:
        again.ready()
        wait_for(lambda: again.client.get(f"/fits/{endless['id']}").json()["status"] == "running", SECONDS)
        assert again.stop(signal.SIGINT) == 130


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ODEFIT_")}
    return subprocess.run(
        [sys.executable, "-m", "service", *options],
        env=clean | environment, capture_output=True, text=True, check=False, timeout=SECONDS,
    )  # fmt: skip


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run("serve", "--port", str(taken.getsockname()[1]))

    assert ended.returncode == 1
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_in_use_is_said(tmp_path: Path) -> None:
    with serve("--data", str(tmp_path)) as running:
        ended = run("serve", "--port", "0", "--data", str(tmp_path))
        running.stop(signal.SIGTERM)

    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_beyond_loopback_without_a_key_is_refused() -> None:
    for command in ("serve", "api"):
        ended = run(command, "--host", "0.0.0.0", "--port", "0")

        assert ended.returncode == 2
        assert "ODEFIT_API_KEY" in ended.stderr


def test_a_wrong_setting_is_named() -> None:
    ended = run("serve", ODEFIT_PORT="many")

    assert ended.returncode == 2
    assert "ODEFIT_PORT" in ended.stderr
