"""Logging: JSON on stderr, one event a line, without any data of the caller."""

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
    """Send the events of structlog and of other libraries to stderr as JSON, with the Redis password masked.

    An exception is logged as its type and the lines it passed through; its message may quote the caller's data.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_message,
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
        _mask(password_of(redis_url)),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def password_of(url: str) -> str:
    """Return the password in a Redis URL, "" if it has none."""
    return unquote(urlsplit(url).password or "")


def where(error: BaseException) -> list[str]:
    """Return the lines that an error passed through, without its message, which may quote the caller's data."""
    return _lines(traceback.extract_tb(error.__traceback__))


def where_is_the_main_thread() -> list[str]:
    """Return the lines that the main thread is executing, from the outermost call to the innermost."""
    return _lines(traceback.extract_stack(sys._current_frames().get(threading.main_thread().ident or 0)))


def _lines(stack: traceback.StackSummary) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in stack]


def _without_message(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else info[1] if isinstance(info, tuple) else sys.exc_info()[1]
    if info and error is not None:
        event.update(kind=type(error).__name__, at=where(error))
    return event


def _mask(password: str) -> structlog.typing.Processor:
    def mask(logger: Any, method: str, line: MutableMapping[str, Any] | str) -> str:
        text = str(line)
        return text.replace(password, "***") if password else text

    return mask
