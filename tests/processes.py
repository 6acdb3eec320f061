"""Real processes for tests: Redis, workers and the API, each on its own socket or port, so that tests can run in
parallel.

Each is a context manager; `log()` returns what the process wrote.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx
import psutil

from worker.embedded_redis import EmbeddedRedis
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.keys import KEYS

T = TypeVar("T")

# Wide: the machine may be busy with other tests.
START_SECONDS = 300.0
STOP_SECONDS = 30.0


def wait_for(condition: Callable[[], T], seconds: float, what: str = "the condition") -> T:
    """Call `condition` until it returns something true, and return that. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:g} s"
        time.sleep(0.02)
    return answer


def forget_settings() -> None:
    """Remove all settings from the environment: they may be those of another service."""
    for name in [name for name in os.environ if name.startswith("ODEFIT_")]:
        del os.environ[name]


def is_alive(process: psutil.Process) -> bool:
    """Whether it has not ended. A dead process remains in the list of processes until its parent has waited for it,
    which may take seconds."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(*processes: psutil.Process, seconds: float = START_SECONDS) -> None:
    """Return once all of them are dead."""
    wait_for(lambda: not any(map(is_alive, processes)), seconds, "the end of the processes")


@contextmanager
def redis_server(*, durable: bool = False) -> Iterator[EmbeddedRedis]:
    """A Redis server with its own empty folder.

    Unless durable it does not wait for the disk, which may be busy with other things for seconds; what it has accepted
    survives a kill -9 all the same.
    """
    with tempfile.TemporaryDirectory(prefix="odefit-", dir="/tmp") as folder, EmbeddedRedis(Path(folder)) as server:
        if not durable:
            with connect(server.url, retries=1) as client:
                client.config_set("appendfsync", "no")
        yield server


def kill_redis(server: EmbeddedRedis) -> None:
    """kill -9, which leaves only what is on disk; `server.start()` restarts it."""
    assert server.process is not None
    server.process.kill()
    server.process.wait()


class _Process:
    """A process with the environment of this one, `settings` (names without ODEFIT_) added."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self.environment = os.environ | {f"ODEFIT_{name.upper()}": str(value) for name, value in settings.items()}
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115  closed in __exit__
        self.process: subprocess.Popen[bytes] | None = None

    def _start(self, command: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        raise NotImplementedError

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM and return the exit status. Fails, and kills the process, if it does not end in time."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds:g} s of SIGTERM:\n{self.log()}") from None
        finally:
            self.kill()

    def kill(self) -> None:
        """kill -9 of the process; its children die with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        """Return what it has written so far."""
        number = self._log.fileno()  # whose position is the process's as well, and must not move
        return os.pread(number, os.fstat(number).st_size, 0).decode("utf-8", "replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            sys.stderr.write(f"--- log of {type(self).__name__}\n{self.log()}\n")
        self.kill()
        self._log.close()


class WorkerProcess(_Process):
    """A Celery worker with its children. `start` returns when it is ready to work."""

    def __init__(self, redis_url: str, *, queue: str = "cpu", concurrency: int = 1, **settings: object) -> None:
        super().__init__({"redis_url": redis_url, **settings})
        self.queue = queue
        self.concurrency = concurrency
        values = {"redis_url": redis_url, **settings}
        self.settings = WorkerSettings(**values)  # type: ignore[arg-type]

    def start(self) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "worker.celery_app", "worker"]
        options = ["--queues", self.queue, "--concurrency", str(self.concurrency), "--loglevel", "INFO"]
        self._start([*celery, *options, "--without-gossip", "--without-mingle", "--without-heartbeat"])
        try:
            wait_for(lambda: self._is_ready() or self._has_ended(), START_SECONDS, "a live worker")
            assert not self._has_ended(), "the worker ended at once"
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log:\n{self.log()}") from None

    def children(self) -> list[psutil.Process]:
        """Return the live processes in which fits run."""
        return [child for child in psutil.Process(self.pid).children() if is_alive(child)]

    def computing(self) -> list[psutil.Process]:
        """Return the children that are running a fit: those with a limit on their memory."""
        return [child for child in self.children() if child.rlimit(psutil.RLIMIT_DATA)[0] != psutil.RLIM_INFINITY]

    def computing_child(self) -> psutil.Process:
        """Return the only child that runs a fit, once there is one."""
        [child] = wait_for(self.computing, START_SECONDS, "a child that runs a fit")
        return child

    def events(self, fit_id: str) -> list[str]:
        """Return the log events of a fit."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line["event"] for line in lines if line.get("fit") == fit_id]

    def _is_ready(self) -> bool:
        """Whether its heartbeat has begun, which is once a child can work."""
        client = connect(self.settings.redis_url, retries=1)
        try:
            return any(f":{self.pid}:" in name.decode() for name in client.zrange(KEYS["WORKERS"], 0, -1))
        finally:
            client.close()

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


class ApiProcess(_Process):
    """The HTTP service on its own port. `start` returns when it responds."""

    def __init__(self, redis_url: str, **settings: object) -> None:
        super().__init__({"redis_url": redis_url, **settings})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        fd = self._socket.fileno()
        self._start([sys.executable, "-m", "service", "api", "--socket", str(fd)], pass_fds=(fd,))
        try:
            wait_for(self._responds, START_SECONDS, "a response of the API")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}; its log:\n{self.log()}") from None

    def client(self, **options: object) -> httpx.Client:
        """Return an HTTP client for it."""
        return httpx.Client(base_url=self.url, timeout=90, **options)  # type: ignore[arg-type]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._socket.close()

    def _responds(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the API ended with status {self.process.returncode}")
        try:
            return httpx.get(f"{self.url}/health/live", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
