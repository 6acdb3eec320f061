"""The whole service in one command: start it, fit the lynx–hare record over HTTP, plot the result, stop it.

    python -m examples.demo        (`make demo`)

Writes `demo-output/lynx-hare.png` and `demo-output/lynx-hare.json`. The exit status is 0 only if the fit succeeded
and converged.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

import httpx
from rich.console import Console
from rich.markup import escape

from examples.article import REQUESTS
from service.cli.commands.submit import fit_on_service
from service.cli.errors import FAILED, INTERRUPTED, NO_SERVICE, SUCCEEDED, CommandError
from service.cli.options import RequestOptions
from worker.parent_death import end_with_parent

OUTPUT = Path("demo-output")
START_SECONDS = 180.0  # the first start compiles every module, which takes long on a cold disk or a busy machine
STOP_SECONDS = 60.0
LOG_LINES = 30


@contextmanager
def service() -> Iterator[str]:
    """Run `odefit serve` on a free port with a temporary folder; yields its address when it can run fits.

    Raises `CommandError` with the end of its log if it does not start.
    """
    url = f"http://127.0.0.1:{_free_port()}"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        serve = [sys.executable, "-m", "service", "serve", "--workers", "1", "--port", url.rpartition(":")[2]]
        own = {name: value for name, value in os.environ.items() if not name.startswith("ODEFIT_")}
        process = subprocess.Popen(
            serve,
            env=own,  # without the settings of any other service of the caller
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches only this process, which then stops the service
            preexec_fn=partial(end_with_parent, os.getpid()),  # noqa: PLW1509 - no thread has been started yet
        )
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            _stop(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _has_worker(url):
        if (status := process.poll()) is not None:
            raise CommandError(
                NO_SERVICE, f"odefit serve ended with exit status {status}. The end of its log:\n{_end_of(log)}"
            )
        if time.monotonic() > deadline:
            end = _end_of(log)
            message = f"odefit serve was not ready after {START_SECONDS:g} s. The end of its log:\n{end}"
            raise CommandError(NO_SERVICE, message)
        time.sleep(0.1)


def _has_worker(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["workers"] > 0


def _end_of(log: IO[str]) -> str:
    log.seek(0)
    return "\n".join(log.read().splitlines()[-LOG_LINES:]) or "(nothing)"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # at a second signal it kills what it started
        process.wait(STOP_SECONDS)


def run(console: Console) -> int:
    """Start the service, fit, report, plot, and stop it. Returns the exit status. Raises `CommandError`."""
    OUTPUT.mkdir(exist_ok=True)
    picture, result = OUTPUT / "lynx-hare.png", OUTPUT / "lynx-hare.json"
    picture.unlink(missing_ok=True)  # so that a picture at the end is from this run
    console.print("Starting the API, a worker and a private Redis …")
    with service() as url:
        console.print(f"The service runs at {url}. Fitting 21 years of lynx and hare pelts over HTTP …\n")
        request = RequestOptions(REQUESTS / "lynx-hare.json")
        status = fit_on_service(request, url, None, result, picture, console, console)
        console.print("\nStopping the service …")
    if status != SUCCEEDED:
        raise CommandError(status, "the fit did not succeed")
    outcome = json.loads(result.read_text("utf-8"))["outcome"]["code"]
    console.print("The same in a browser: run `make serve` and open http://127.0.0.1:8000")
    console.print(f"Plot: {picture}\nResult: {result}", soft_wrap=True)
    return SUCCEEDED if outcome == "converged" else FAILED


def main() -> int:
    """Run the demo. Failures are printed as sentences, not as tracebacks."""
    console = Console()
    signal.signal(signal.SIGTERM, _leave)
    try:
        return run(console)
    except CommandError as error:
        for line in ("The demo failed.", *error.lines()):
            console.print(escape(line), style="red", soft_wrap=True, highlight=False)
        return error.status
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
