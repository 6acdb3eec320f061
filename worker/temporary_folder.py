"""A temporary folder that does not outlive the process that made it, however that ends.

Run as a script, `temporary_folder.py FOLDER`, it waits until its standard input ends, which it does when the process at
the other end of the pipe ends, and removes the folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_REMOVE_SECONDS = 20.0  # a server in it may still create files
_RETRY_SECONDS = 0.1


class TemporaryFolder:
    """A new temporary folder. A process of its own removes it if this one is killed."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="odefit-"))
        self._remover = subprocess.Popen(
            # isolated and without site-packages: it takes a few megabytes
            [sys.executable, "-I", "-S", __file__, str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal reaches all processes of the session
        )

    def remove(self) -> None:
        """Remove the folder."""
        if self._remover.stdin is not None:
            self._remover.stdin.close()
        self._remover.wait()
        shutil.rmtree(self.path, ignore_errors=True)  # if the other process was killed


def _remove(folder: str) -> None:
    deadline = time.monotonic() + _REMOVE_SECONDS
    while Path(folder).exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    _remove(sys.argv[1])
