"""`odefit serve`: a private Redis, workers and the API, started, kept alive and stopped together."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from service.cli.child_process import ChildProcess, Notify
from service.cli.consoles import OUT
from service.cli.errors import BAD_REQUEST, FAILED, INTERRUPTED, SUCCEEDED, CommandError
from service.cli.options import Host, load_settings

if TYPE_CHECKING:
    from service.settings import ServiceSettings

_CHECK_SECONDS = 0.2
_API_STOP_SECONDS = 12.0
_WORKER_STOP_SECONDS = 30.0  # to save checkpoints and hand fits back


def serve(
    host: Host = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen on; 0 chooses a free one."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Directory that keeps fits and results; without it they are deleted on exit."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of fits that run at a time [default: number of cores]."),
    ] = None,
) -> None:
    """Run the API, workers and a private Redis until Ctrl-C."""
    from service.settings import UnprotectedHost, require_key_beyond_loopback

    settings = load_settings(host, port)
    try:
        require_key_beyond_loopback(settings)
    except UnprotectedHost as error:
        raise CommandError(BAD_REQUEST, str(error)) from None
    processes = workers or os.cpu_count() or 1
    stack = Stack(settings, data, processes, lambda text: OUT.print(escape(text), soft_wrap=True))
    raise typer.Exit(stack.run())


class Stack:
    """The processes of `odefit serve`.

    data: the folder of Redis; None for a temporary one. workers: number of fits that run at a time. notify: shows a
    line to the user.
    """

    def __init__(self, settings: ServiceSettings, data: Path | None, workers: int, notify: Notify) -> None:
        from worker.embedded_redis import EmbeddedRedis
        from worker.temporary_folder import TemporaryFolder

        self._notify = notify
        self._listener = listen(settings.host, settings.port)
        self._temporary: TemporaryFolder | None = None
        if data is None:
            self._temporary = TemporaryFolder()
            data = self._temporary.path
        self._data = data
        self._redis = EmbeddedRedis(self._data)
        environment = os.environ | {"ODEFIT_REDIS_URL": self._redis.url}
        odefit = [sys.executable, "-m", "service"]
        parent = ["--with-parent", str(os.getpid())]
        self._worker = ChildProcess("worker", [*odefit, "worker", "--concurrency", str(workers), *parent], environment)
        self._api = ChildProcess(
            "API",
            [*odefit, "api", "--host", settings.host, "--socket", str(self._listener.fileno()), *parent],
            environment,
            pass_fds=[self._listener.fileno()],
        )
        self._workers = workers
        self._signals: list[int] = []
        self._is_ready = False

    @property
    def url(self) -> str:
        """URL of the API, with the actual port."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> int:
        """Start everything, keep it alive, and stop it on SIGINT, SIGTERM or SIGHUP; kill it on a second signal.

        Returns the exit status. Raises `CommandError` if Redis cannot be started.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            while not self._signals:
                self._keep_alive()
                time.sleep(_CHECK_SECONDS)
            self._notify("stopping")
        finally:
            self._stop()
        return INTERRUPTED if self._signals[0] == signal.SIGINT else SUCCEEDED

    def _start(self) -> None:
        from worker.errors import RedisNotStarted

        try:
            self._redis.start()
        except RedisNotStarted as error:
            raise CommandError(FAILED, str(error)) from None
        self._worker.start()
        self._api.start()
        self._notify(f"odefit at {self.url}, documentation at {self.url}/docs; {self._workers} worker processes")
        self._notify(f"open {self.url} in a browser, or send requests to it")
        note = "deleted on exit; use --data DIR to keep them" if self._temporary else "kept on exit"
        self._notify(f"data in {self._data}, {note}")

    def _keep_alive(self) -> None:
        from worker.errors import RedisNotStarted

        if not self._redis.is_alive():
            self._notify("Redis ended unexpectedly; restarting it")
            with suppress(RedisNotStarted):  # the next check tries again
                self._redis.start()
        self._worker.keep_alive(self._notify)
        self._api.keep_alive(self._notify)
        if not self._is_ready and _is_ready(*self._listener.getsockname()[:2]):
            self._is_ready = True
            self._notify("ready; press Ctrl-C to stop")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            self._api.kill()
            self._worker.kill()

    def _stop(self) -> None:
        """Stop the API, then the worker, then Redis, which both need until they have ended."""
        self._listener.close()
        self._api.stop(_API_STOP_SECONDS)
        self._worker.stop(_WORKER_STOP_SECONDS)
        self._redis.stop()
        if self._temporary:
            self._temporary.remove()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, which outlives the API processes that accept from it. Raises `CommandError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        raise CommandError(
            FAILED,
            f"cannot listen on {host} port {port}: {error.strerror}; free the port, or choose another with --port",
        ) from None
    return listener


def _is_ready(host: str, port: int) -> bool:
    """Return whether the API responds and a worker is live."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        return response.status == 200 and b'"workers":0' not in response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
