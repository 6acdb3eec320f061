"""Flags that a worker process and its children share without Redis."""

from __future__ import annotations

import mmap

_STOPPING, _READY = range(2)


class SharedFlags:
    """A page of memory shared by a worker process and the children that it forks later.

    Single bytes need no lock, so a signal handler may set them.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def stopping(self) -> bool:
        """Whether the worker is stopping; its children then hand their fits back."""
        return bool(self._page[_STOPPING])

    @property
    def ready(self) -> bool:
        """Whether a child has loaded the numerics and can run fits."""
        return bool(self._page[_READY])

    def set_stopping(self) -> None:
        """Ask the children to hand their fits back."""
        self._page[_STOPPING] = 1

    def set_ready(self) -> None:
        """Mark a child as ready to run fits."""
        self._page[_READY] = 1
