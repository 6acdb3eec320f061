"""Server-sent events, parsed line by line."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from odefit.errors import ServiceUnavailable

_PATIENCE_SECONDS = 60.0  # for which a stream that breaks is opened again


@dataclass(frozen=True)
class Event:
    """An event of a fit. kind: `progress` or `finished`; later versions may add others. id: for resuming."""

    id: str
    kind: str
    data: Mapping[str, Any]

    @property
    def is_last(self) -> bool:
        """Whether the fit has ended."""
        return self.kind == "finished"


class EventParser:
    """Makes events of lines, by the rules of the HTML standard that the service uses.

    >>> parser = EventParser()
    >>> [parser.feed(line) for line in ["id: 3", "event: progress", 'data: {"step": 3}']]
    [None, None, None]
    >>> parser.feed("")
    Event(id='3', kind='progress', data={'step': 3})
    """

    def __init__(self) -> None:
        self._id = ""
        self._kind = "message"
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take a line without its end. Returns the event that it completes, if any."""
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self._id = value
            elif name == "event":
                self._kind = value
            elif name == "data":
                self._data.append(value)
            return None
        if not self._data:
            return None
        event = Event(self._id, self._kind, json.loads("\n".join(self._data)))
        self._kind, self._data = "message", []
        return event


class EventStream:
    """The events of one fit, over all connections that it takes.

    last_id: of the last event, where the next connection resumes.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self._parser = EventParser()
        self._failed_since: float | None = None

    def feed(self, line: str) -> Event | None:
        """Take a line of a connection. Returns the event that it completes, if any."""
        self._failed_since = None
        event = self._parser.feed(line)
        if event is not None:
            self.last_id = event.id
        return event

    def broke(self, error: ServiceUnavailable | None) -> None:
        """Note that a connection ended before the fit. Raises the error if none has worked for a minute."""
        self._parser = EventParser()
        now = time.monotonic()
        if self._failed_since is None:
            self._failed_since = now
        if error is not None and now - self._failed_since > _PATIENCE_SECONDS:
            raise error
