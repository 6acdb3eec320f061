"""How much memory a fit may take, and how that is held.

Two measures together. A look at the memory that is resident, several times a second, ends a fit that grows beyond
its limit; the process is ended with it, for what it has taken would not come back. A limit of the kernel on the
process's data, a quarter higher, makes a single demand beyond it fail at once; the fit ends then by `MemoryError`, and
the process lives on.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTE = 2**20
_PART_FOR_FITS = 0.75  # of the machine; the rest is for the processes themselves, Redis and the API
_LEAST_MEGABYTES = 512
_ABOVE = 1.25  # the kernel's limit over ours
# Where a container's own limit stands, under version 2 and version 1 of control groups.
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def default_megabytes(processes: int) -> int:
    """What a fit may take where nobody said: an even part of three quarters of the machine's memory."""
    return max(_LEAST_MEGABYTES, int(_PART_FOR_FITS * machine_bytes() / MEGABYTE / processes))


def machine_bytes() -> int:
    """The memory of the machine, or of the container where that has less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(text) for path in _CGROUP_LIMITS if (text := _read(path)).isdecimal()]
    return min([installed, *limits])


def resident_bytes() -> int:
    """The memory that this process has now; the most it has had so far where the system (macOS) tells no more."""
    if pages := _read(Path("/proc/self/statm")):
        return int(pages.split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class FitMemory:
    """Watches what a fit takes on top of what its process had before.

    memory = FitMemory(megabytes)
    with memory.limited():
        …                       # memory.exceeded() from another thread
    """

    def __init__(self, megabytes: int) -> None:
        self.megabytes = megabytes
        self._before = resident_bytes()

    def exceeded(self) -> bool:
        """Whether the fit has taken more than it may."""
        return resident_bytes() - self._before > self.megabytes * MEGABYTE

    @contextmanager
    def limited(self) -> Iterator[None]:
        """While it lasts, a demand far beyond the limit fails (Linux; elsewhere the watch is alone)."""
        before, hardest = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (self._ceiling(before, hardest), hardest))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (before, hardest))

    def _ceiling(self, before: int, hardest: int) -> int:
        data = _data_bytes()
        if data is None:
            return before
        wanted = data + int(_ABOVE * self.megabytes * MEGABYTE)
        return min([wanted, *(limit for limit in (before, hardest) if limit != resource.RLIM_INFINITY)])


def _data_bytes() -> int | None:
    """What the kernel counts against `RLIMIT_DATA`; None where the system does not tell."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
