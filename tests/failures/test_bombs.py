"""Expressions that would be vast if anybody computed them exactly: each fit ends soon, and the worker is as before."""

from __future__ import annotations

from tests.failures.conftest import Stack
from tests.failures.test_memory import memory_of
from tests.processes import WorkerProcess
from tests.service.hostile.expressions import BOMBS
from tests.service.requests import DECAY, changed

Shared = tuple[Stack, WorkerProcess]
# The long ones take a minute each, all of it in the compiler; tests of that stand in test_compiling.py.
SHORT_BOMBS = [bomb for bomb in BOMBS if len(bomb) < 100]
KNOWN = {"guess_not_finite", "guess_max_steps", "guess_step_too_small", "time_limit"}


def test_fits_of_bombs_end_and_the_worker_survives(shared: Shared) -> None:
    stack, worker = shared
    before, children = memory_of(worker), {child.pid for child in worker.children()}
    short = changed(DECAY, "/time_limit_seconds", 60.0, "/solver", {"engine": "compiled"})
    fits = {bomb: stack.submit(changed(short, "/system/equations/x", bomb)) for bomb in SHORT_BOMBS}
    ends = {bomb: stack.ended(fit_id) for bomb, fit_id in fits.items()}

    for bomb, record in ends.items():
        made_way = worker.events(record.id).count("makes_way")  # to others that waited, on a slow machine
        assert record.attempts == 1 + made_way, bomb
        if record.status == "failed":
            assert record.error is not None
            assert record.error["type"].rpartition(":")[2] in KNOWN, (bomb, record.error)
        else:
            assert record.status == "succeeded", bomb
    assert children <= {child.pid for child in worker.children()}
    assert memory_of(worker) - before < 1500
