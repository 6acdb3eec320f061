"""The log."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from worker.log import password_of, where, where_is_the_main_thread

LINES = """
import logging, structlog
from worker.log import configure_logging
configure_logging("unix://:p%40ss@/tmp/redis.sock?db=0")
structlog.get_logger("a").info("ours", fit="f", reason="p@ss")
logging.getLogger("b").warning("theirs %s", "p@ss")
logging.getLogger("b").debug("not shown")
"""
MISTAKES = """
import logging, structlog
from worker.log import configure_logging
configure_logging("redis://127.0.0.1/0")

def go_wrong(how):
    try:
        {}["the caller's data"]
    except KeyError as error:
        how(error)

go_wrong(lambda error: structlog.get_logger("a").error("ours", exc_info=True))
go_wrong(lambda error: structlog.get_logger("a").exception("ours"))
go_wrong(lambda error: logging.getLogger("b").error("theirs", exc_info=error))
logging.getLogger("b").error("no error", exc_info=True)
"""


def test_lines_are_json_without_the_password() -> None:
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert [line["event"] for line in lines] == ["ours", "theirs ***"]
    assert (lines[0]["fit"], lines[0]["reason"], lines[0]["level"], lines[0]["logger"]) == ("f", "***", "info", "a")
    assert lines[1]["level"] == "warning"
    assert "p@ss" not in done.stderr
    assert done.stdout == ""


def test_exceptions_are_logged_without_their_messages() -> None:
    done = subprocess.run([sys.executable, "-c", MISTAKES], capture_output=True, text=True, check=True)
    *lines, without = [json.loads(line) for line in done.stderr.splitlines()]

    assert [line["event"] for line in lines] == ["ours", "ours", "theirs"]
    assert {line["kind"] for line in lines} == {"KeyError"}
    assert all(line["at"][-1].endswith("go_wrong") for line in lines)
    assert "caller's data" not in done.stderr
    assert "kind" not in without


def test_password_of_a_url() -> None:
    assert password_of("redis://:a%2Fb@host:1/0") == "a/b"
    assert password_of("redis://host:1/0") == ""
    assert password_of("unix://:x@/a.sock") == "x"


def test_what_the_main_thread_does() -> None:
    with ThreadPoolExecutor() as pool:
        places = pool.submit(where_is_the_main_thread).result()
    assert any(place.endswith("test_what_the_main_thread_does") for place in places)


def test_where_leaves_the_message_out() -> None:
    try:
        raise ValueError("the caller's data")
    except ValueError as error:
        places = where(error)
    assert len(places) == 1
    assert places[0].endswith("test_where_leaves_the_message_out")
    assert "data" not in places[0]
