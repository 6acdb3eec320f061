"""The memory limit of a fit, enforced in two ways.

The pulse checks the resident memory several times a second and ends a fit that exceeds its limit, together with its
process, which would not return the memory. The kernel's limit on the process's data, 25 % higher, makes a single larger
allocation fail at once; the fit then ends with a `MemoryError`, and the process lives on.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTE = 2**20
_FRACTION_FOR_FITS = 0.75  # of the machine's memory; the rest is for the processes themselves, Redis and the API
_MIN_MEGABYTES = 512
_KERNEL_LIMIT_FACTOR = 1.25  # times the fit's limit
# The memory limit of a container, in version 2 and version 1 of control groups.
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def default_megabytes(processes: int) -> int:
    """Return the default limit: an equal share of three quarters of the machine's memory."""
    return max(_MIN_MEGABYTES, int(_FRACTION_FOR_FITS * machine_bytes() / MEGABYTE / processes))


def machine_bytes() -> int:
    """Return the memory of the machine, or of the container if that has less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [int(text) for path in _CGROUP_LIMITS if (text := _read(path)).isdecimal()]
    return min([installed, *limits])


def resident_bytes() -> int:
    """Return the resident memory of this process; on macOS, which does not report it, the maximum so far."""
    if pages := _read(Path("/proc/self/statm")):
        return int(pages.split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def tree_bytes() -> int:
    """Return the resident memory of this process and all below it (Linux; elsewhere only its own)."""
    total, pending = resident_bytes(), [os.getpid()]
    while pending:
        process = pending.pop()
        for child in _read(Path(f"/proc/{process}/task/{process}/children")).split():
            pages = _read(Path(f"/proc/{child}/statm")).split()
            total += int(pages[1]) * resource.getpagesize() if len(pages) > 1 else 0
            pending.append(int(child))
    return total


class FitMemory:
    """Limits the memory that a fit uses on top of what its process had before.

    memory = FitMemory(megabytes)
    with memory.limited():
        …                       # memory.exceeded() from another thread
    """

    def __init__(self, megabytes: int) -> None:
        self.megabytes = megabytes
        self._before = resident_bytes()

    def exceeded(self) -> bool:
        """Return whether the fit has exceeded its limit."""
        return resident_bytes() - self._before > self.megabytes * MEGABYTE

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Let allocations far beyond the limit fail meanwhile (Linux only)."""
        before, hard_limit = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (self._soft_limit(before, hard_limit), hard_limit))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (before, hard_limit))

    def _soft_limit(self, before: int, hard_limit: int) -> int:
        data = _data_bytes()
        if data is None:
            return before
        soft_limit = data + int(_KERNEL_LIMIT_FACTOR * self.megabytes * MEGABYTE)
        return min([soft_limit, *(limit for limit in (before, hard_limit) if limit != resource.RLIM_INFINITY)])


def _data_bytes() -> int | None:
    """Return what the kernel counts against `RLIMIT_DATA`, None if the system does not report it."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
