"""The memory limit of a fit: its default, and how it is enforced."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from worker import memory
from worker.memory import MEGABYTE, FitMemory, default_megabytes, machine_bytes, resident_bytes


def test_resident_memory_grows_with_touched_memory() -> None:
    before = resident_bytes()
    block = np.ones(100 * MEGABYTE // 8)

    assert resident_bytes() - before >= 90 * MEGABYTE
    assert block[-1] == 1.0


def test_memory_counts_from_the_start_of_the_fit() -> None:
    held = FitMemory(50)
    assert not held.exceeded()
    block = np.ones(100 * MEGABYTE // 8)

    assert held.exceeded()
    assert not FitMemory(50).exceeded()  # what was there before is not the next fit's
    assert block[-1] == 1.0


def test_a_large_allocation_fails_while_the_limit_applies() -> None:
    held, before = FitMemory(64), resource.getrlimit(resource.RLIMIT_DATA)
    with held.limited():
        np.ones(10 * MEGABYTE // 8)
        with pytest.raises(MemoryError):
            np.empty(1000 * MEGABYTE // 8)
        with pytest.raises(RuntimeError, match="allocate memory"):
            torch.empty(1000 * MEGABYTE // 8, dtype=torch.float64)

    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    np.empty(1000 * MEGABYTE // 8)


def test_processes_share_the_machine_down_to_a_minimum() -> None:
    one, four = default_megabytes(1), default_megabytes(4)

    assert one * MEGABYTE < machine_bytes()
    assert four == max(512, one // 4)
    assert default_megabytes(10**6) == 512


@pytest.mark.parametrize(("text", "bound"), [("1073741824\n", 2**30), ("max\n", None), ("9223372036854771712", None)])
def test_a_container_may_have_less_than_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, bound: int | None
) -> None:
    (tmp_path / "memory.max").write_text(text)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (tmp_path / "memory.max", tmp_path / "no such file"))

    assert machine_bytes() == (bound or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
