"""Log lines: JSON on stderr, one event a line, with names and numbers of ours and never the caller's data."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote, urlsplit

import structlog


def configure_logging(redis_url: str, level: int = logging.INFO) -> None:
    """Send structlog's events and those of other libraries to stderr as JSON; the Redis password is blanked.

    Of an exception only its kind and the places it came through are told.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _kind_and_place,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
        _blank(password_of(redis_url)),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def password_of(url: str) -> str:
    """The password in a Redis URL, "" if it has none."""
    return unquote(urlsplit(url).password or "")


def where(error: BaseException) -> list[str]:
    """The places an error came through. Its message is left out: it may quote the caller's data."""
    return _places(traceback.extract_tb(error.__traceback__))


def where_is_the_main_thread() -> list[str]:
    """What the main thread is doing, from the outermost call to the innermost."""
    return _places(traceback.extract_stack(sys._current_frames().get(threading.main_thread().ident or 0)))


def _places(stack: traceback.StackSummary) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack]


def _kind_and_place(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if info and error is not None:
        event.update(kind=type(error).__name__, at=where(error))
    return event


def _blank(password: str) -> structlog.typing.Processor:
    def blank(logger: Any, method: str, line: MutableMapping[str, Any] | str) -> str:
        text = str(line)
        return text.replace(password, "***") if password else text

    return blank
