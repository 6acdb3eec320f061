"""What a worker process and its children know of each other without asking Redis."""

from __future__ import annotations

import mmap

_STOPPING, _READY = range(2)


class SharedFlags:
    """A page of memory that a worker process and the children it forks later have in common.

    Single bytes need no lock, so a signal handler may set them.
    """

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def stopping(self) -> bool:
        """The worker was asked to stop: children hand their fits back."""
        return bool(self._page[_STOPPING])

    @property
    def ready(self) -> bool:
        """A child has loaded the numerics and can work."""
        return bool(self._page[_READY])

    def set_stopping(self) -> None:
        """Ask the children to hand their fits back."""
        self._page[_STOPPING] = 1

    def set_ready(self) -> None:
        """Say that a child can work."""
        self._page[_READY] = 1
