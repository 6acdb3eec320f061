"""The private Redis server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import kill_redis, redis_server, wait_for_end
from worker.embedded_redis import EmbeddedRedis, find_server
from worker.errors import RedisNotStarted
from worker.store.connection import connect


def test_it_keeps_every_write_and_listens_on_no_port() -> None:
    with redis_server(durable=True) as server:
        client = connect(server.url, retries=0)
        config = client.config_get()
        assert {name: config[name] for name in ("port", "appendonly", "appendfsync", "maxmemory-policy")} == {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        assert server.socket.stat().st_mode & 0o077 == 0
        client.set("a", "1")
        kill_redis(server)
        assert not server.is_alive()
        server.start()
        assert client.get("a") == b"1"
        server.stop()
        server.start()
        assert client.get("a") == b"1"


def test_start_and_stop_may_be_called_twice() -> None:
    with redis_server() as server:
        process = server.process
        server.start()
        assert server.process is process
        server.stop()
        server.stop()
        assert not server.is_alive()


def test_only_one_server_at_a_time_uses_a_folder() -> None:
    with redis_server() as server, pytest.raises(RedisNotStarted, match="in use by another process"):
        EmbeddedRedis(server.directory).start()


IMPORT = "import os, signal, sys; from pathlib import Path; from worker.embedded_redis import EmbeddedRedis\n"
START = "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print(server.process.pid, flush=True)\n"


def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    code = IMPORT + START + "signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert "redis-server" in " ".join(server.cmdline())
        parent.kill()
        wait_for_end(server)


def test_an_orphaned_server_is_stopped_first(tmp_path: Path) -> None:
    """Where a server can outlive its parent."""
    code = (
        IMPORT
        + "import worker.embedded_redis as module; module.ending_with_this_process = list\n"
        + START
        + "os._exit(9)"
    )
    left = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    orphan = int(left.stdout)
    assert psutil.pid_exists(orphan)
    with EmbeddedRedis(tmp_path) as server:
        assert server.process is not None
        assert server.process.pid != orphan
        assert connect(server.url, retries=0).ping()
        assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE


def test_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 30) / "data"
    with EmbeddedRedis(folder) as server:
        assert connect(server.url, retries=0).ping()
        assert (folder / "redis.log").exists()
        assert len(str(server.socket)) < 100


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"this is no append-only file")
    with pytest.raises(RedisNotStarted, match=r"(?s)did not start; the end of its log:.*Bad file format"):
        EmbeddedRedis(tmp_path).start()
    (tmp_path / "appendonly.aof").unlink()
    with EmbeddedRedis(tmp_path) as server:
        assert server.is_alive()


def test_an_old_server_on_the_path_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, taken in (("5.0.7", False), ("6.2.0", True), ("10.0.1", True)):
        fake = tmp_path / "redis-server"
        fake.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=libc bits=64 build=0'\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        assert (find_server() == str(fake)) == taken
