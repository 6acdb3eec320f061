"""Processes that end with their parent, however that ends. On Linux only.

Run as a script, `parent_death.py PARENT COMMAND…`, it becomes COMMAND, which then ends with the process PARENT. That
takes no code between fork and exec, which is unsafe in a parent with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have this process receive SIGTERM when the thread of `parent` that started it ends. Survives exec."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def ending_with_this_process(command: Sequence[str]) -> list[str]:
    """Return a command that runs `command` until this process ends."""
    if sys.platform != "linux":
        return list(command)
    # isolated and without site-packages: a start takes some hundredths of a second
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
