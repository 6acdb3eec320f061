"""Server-sent events, parsed line by line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
