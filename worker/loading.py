"""Loading code in less time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Load modules meanwhile.

    Modules, classes and functions stay until the process ends, so searching them for garbage only costs time: a sixth
    of the API's start, and a tenth of a second in each full collection later. Garbage is not collected meanwhile, and
    what exists at the end is not searched again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
