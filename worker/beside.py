"""A thread beside the main one, which looks after what runs there."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Beside(ABC):
    """Calls `_beat` every `seconds` from a thread of its own, while its `with` block runs.

    name: of the thread. A missed beat is not made up for.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._seconds_between_beats = seconds
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + self._seconds_between_beats, time.monotonic())
            if self._is_over.wait(due - time.monotonic()):
                return
            self._beat()

    @abstractmethod
    def _beat(self) -> None:
        """Look once. An exception ends the thread."""
