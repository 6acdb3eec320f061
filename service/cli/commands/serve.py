"""`odefit serve`: a private Redis, workers and the API, started, watched and stopped together."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from service.cli.child_process import Process, Say
from service.cli.errors import BAD_REQUEST, FAILED, INTERRUPTED, SUCCEEDED, CommandError
from service.settings import ServiceSettings, UnprotectedHost, require_key_beyond_loopback
from worker.embedded_redis import EmbeddedRedis
from worker.errors import RedisNotStarted

_LOOK_SECONDS = 0.2
_API_STOP_SECONDS = 12.0
_WORKER_STOP_SECONDS = 30.0  # to leave checkpoints and hand fits back


class Stack:
    """What `odefit serve` starts. `run` returns the exit status once it has been asked to stop."""

    def __init__(self, settings: ServiceSettings, data: Path | None, workers: int, say: Say) -> None:
        self._settings = settings
        self._say = say
        self._listening = listen(settings.host, settings.port)
        self._temporary = data is None
        self._data = Path(tempfile.mkdtemp(prefix="odefit-")) if data is None else data
        self._redis = EmbeddedRedis(self._data)
        environment = os.environ | {"ODEFIT_REDIS_URL": self._redis.url}
        odefit = [sys.executable, "-m", "service"]
        parent = ["--with-parent", str(os.getpid())]
        self._worker = Process("worker", [*odefit, "worker", "--concurrency", str(workers), *parent], environment)
        self._api = Process(
            "API",
            [*odefit, "api", "--host", settings.host, "--socket", str(self._listening.fileno()), *parent],
            environment,
            pass_fds=[self._listening.fileno()],
        )
        self._workers = workers
        self._signals: list[int] = []
        self._ready = False

    @property
    def url(self) -> str:
        """Where the API is, with the port that was taken where 0 was asked for."""
        host, port = self._listening.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> int:
        """Start everything, keep it alive, and stop it on SIGINT, SIGTERM or SIGHUP; at once on a second one.

        Raises `CommandError` where Redis cannot be started.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            while not self._signals:
                self._look_after()
                time.sleep(_LOOK_SECONDS)
            self._say("stopping")
        finally:
            self._stop()
        return INTERRUPTED if self._signals[0] == signal.SIGINT else SUCCEEDED

    def _start(self) -> None:
        try:
            self._redis.start()
        except RedisNotStarted as error:
            raise CommandError(FAILED, str(error)) from None
        self._worker.start()
        self._api.start()
        self._say(f"odefit at {self.url}, documentation at {self.url}/docs; {self._workers} worker processes")
        note = "removed at the end; --data DIR keeps them" if self._temporary else "kept for the next start"
        self._say(f"data in {self._data}, {note}")

    def _look_after(self) -> None:
        if not self._redis.alive():
            self._say("Redis has ended; it is started again")
            with suppress(RedisNotStarted):  # at the next look again
                self._redis.start()
        self._worker.keep_alive(self._say)
        self._api.keep_alive(self._say)
        if not self._ready and _is_ready(*self._listening.getsockname()[:2]):
            self._ready = True
            self._say("ready; Ctrl-C stops it")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)
        if len(self._signals) > 1:
            self._api.kill()
            self._worker.kill()

    def _stop(self) -> None:
        """First who takes requests, then who works, then the store that both need to leave things in order."""
        self._listening.close()
        self._api.stop(_API_STOP_SECONDS)
        self._worker.stop(_WORKER_STOP_SECONDS)
        self._redis.stop()
        if self._temporary:
            shutil.rmtree(self._data, ignore_errors=True)


def serve(settings: ServiceSettings, data: Path | None, workers: int | None, say: Say) -> int:
    """Run the stack until it is asked to stop. Returns the exit status. Raises `CommandError`."""
    try:
        require_key_beyond_loopback(settings)
    except UnprotectedHost as error:
        raise CommandError(BAD_REQUEST, str(error)) from None
    return Stack(settings, data, workers or os.cpu_count() or 1, say).run()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, which outlives the API processes that take requests from it. Raises `CommandError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise CommandError(
            FAILED,
            f"cannot listen on {host} port {port}: {error.strerror}; stop what uses it, or choose another with --port",
        ) from None
    return listening


def _is_ready(host: str, port: int) -> bool:
    """Whether the API answers, and a worker is there."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
        return response.status == 200 and b'"workers":0' not in response.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
