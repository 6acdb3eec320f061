"""`odefit submit`: a fit by a service, with a progress bar, through its restarts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from odelib.errors import FieldError
from service.cli.errors import BAD_REQUEST, FAILED, INTERRUPTED, NO_SERVICE, SUCCEEDED, CommandError
from service.cli.files import check_writable
from service.cli.report.outputs import check_picture, finish
from service.cli.report.progress_bar import ProgressBar
from service.cli.request.build import Asked, gather
from worker.states import ENDED

FIRST_PATIENCE = 5.0  # seconds for the service to answer at all: who forgot to start it should soon know
LATER_PATIENCE = 300.0  # seconds for it to come back once it has accepted the fit
_PAUSE = 0.5
_RETRIED = (429, 502, 503, 504)

Json = dict[str, Any]


class Client:
    """Talks to one service; tries again while it does not answer, is restarting or is full."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(30.0, connect=5.0)
        try:
            self.http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)
        except httpx.InvalidURL as error:
            raise CommandError(BAD_REQUEST, f"{url!r} is not the address of a service: {error}") from None
        self.patience = FIRST_PATIENCE
        self.say: Callable[[str], None] = lambda text: None

    def submit(self, body: bytes) -> Json:
        """The accepted fit. Raises `CommandError` with the service's own words if it refuses."""
        # One key for all tries: a fit whose acceptance was lost on the way back is not accepted twice.
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        fit = self._request("POST", "/fits", content=body, headers=headers)
        self.patience = LATER_PATIENCE
        return fit

    def get(self, path: str) -> Json:
        """The JSON at `path`."""
        return self._request("GET", path)

    def _request(self, method: str, path: str, **options: Any) -> Json:
        deadline = time.monotonic() + self.patience
        while True:
            try:
                response = self.http.request(method, path, **options)
            except httpx.UnsupportedProtocol as error:
                raise CommandError(BAD_REQUEST, f"{self.url!r} is not the address of a service: {error}") from None
            except httpx.TransportError as error:
                problem = f"no service answers at {self.url} ({error}); start one with: odefit serve"
            else:
                if response.status_code not in _RETRIED:
                    return self._content(response)
                problem = f"the service at {self.url} cannot take the fit now: {_detail(response)}"
            if time.monotonic() + _PAUSE > deadline:
                raise CommandError(NO_SERVICE, problem)
            self.say("waiting for the service")
            time.sleep(_PAUSE)

    def _content(self, response: httpx.Response) -> Json:
        if response.is_error:
            status = FAILED if response.status_code in (404, 500) else BAD_REQUEST
            raise CommandError(status, f"the service says {_detail(response)}", _places(response))
        if _media_type(response) != "application/json":
            raise CommandError(NO_SERVICE, f"what answers at {self.url} is no odefit service")
        content: Json = response.json()
        return content


def submit(
    asked: Asked, url: str, key: str | None, out: Path | None, plot: Path | None, console: Console, errors: Console
) -> int:
    """Submit what is asked and follow it to its end. Returns the exit status.

    Ctrl-C leaves the fit running and prints its id.
    """
    check_writable(out, plot)
    check_picture(plot)
    client = Client(url, key)
    body, _, places = gather(asked)
    fit_id = None
    try:
        with ProgressBar(errors) as bar:
            client.say = bar.say
            fit_id = client.submit(body)["id"]
            fit = _follow(client, fit_id, bar)
    except KeyboardInterrupt:
        errors.print(_left(client, fit_id), soft_wrap=True, highlight=False)
        return INTERRUPTED
    except CommandError as error:
        told = error.message if fit_id is None else f"{error.message}\nthe fit's id is {fit_id}"
        raise CommandError(error.status, told, places.translated(error.errors)) from None
    return _report(client, fit, out, plot, console, errors)


def _follow(client: Client, fit_id: str, bar: ProgressBar) -> Json:
    bar.say("queued")
    pause = 0.05
    while (fit := client.get(f"/fits/{fit_id}"))["status"] not in ENDED:
        if progress := fit.get("progress"):
            bar.update(*(progress[name] for name in ("stage", "step", "steps", "loss", "fraction")))
        time.sleep(pause)
        pause = min(1.5 * pause, _PAUSE)
    return fit


def _report(client: Client, fit: Json, out: Path | None, plot: Path | None, console: Console, errors: Console) -> int:
    if error := fit.get("error"):
        errors.print(f"[bold red]{fit['status']}[/]: {error['title']}")
        errors.print(error["detail"], markup=False, highlight=False)
    elif fit["status"] != "succeeded":
        errors.print(f"[bold yellow]{fit['status']}[/]")
    if "result" in fit:
        request = client.get(f"/fits/{fit['id']}/problem")["request"]
        finish(console, request, fit["result"], out, plot)
    return SUCCEEDED if fit["status"] == "succeeded" else FAILED


def _left(client: Client, fit_id: str | None) -> str:
    if fit_id is None:
        return "interrupted before the service answered; if it has accepted the fit, the fit goes on"
    return f"the fit goes on; its id is {fit_id}, and it stands at {client.url}/fits/{fit_id}"


def _media_type(response: httpx.Response) -> str:
    media_type: str = response.headers.get("content-type", "").partition(";")[0]
    return media_type


def _problem(response: httpx.Response) -> Json:
    if _media_type(response) != "application/problem+json":
        return {}  # something else answers at this address, or stands between
    problem: Json = response.json()
    return problem


def _detail(response: httpx.Response) -> str:
    problem = _problem(response)
    if "errors" in problem:
        return f"{response.status_code}: {problem['title']}"
    return f"{response.status_code}: {problem.get('detail', response.reason_phrase)}"


def _places(response: httpx.Response) -> list[FieldError]:
    return [
        FieldError(entry.get("pointer", entry.get("parameter", "")), entry["detail"])
        for entry in _problem(response).get("errors", [])
    ]
