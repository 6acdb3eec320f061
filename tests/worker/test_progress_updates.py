"""What a running fit sends to the store, and when."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from odelib.fitting import fit
from odelib.monitor import Checkpoint, Monitor
from odelib.problem.request import parse_problem
from tests.failures.requests import decay
from worker.progress_updates import ProgressUpdates
from worker.store.scripts import outcome_json

PROBLEM = parse_problem(decay(3))


@pytest.fixture
def monitor() -> Monitor:
    """As a fit of three steps leaves it."""
    monitor = Monitor()
    fit(PROBLEM, monitor=monitor)
    return monitor


def later(monitor: Monitor, *, stage: int = 0) -> Checkpoint:
    assert monitor.checkpoint is not None
    return replace(monitor.checkpoint, stage=stage, step=monitor.checkpoint.step + 1)


def test_nothing_is_sent_twice(monitor: Monitor) -> None:
    updates = ProgressUpdates(monitor, every=1000.0)
    updates.begin(PROBLEM, None)
    first = updates.build(1.0)
    assert json.loads(first.progress) == vars(monitor.progress)
    assert Checkpoint.from_json(first.checkpoint) == monitor.checkpoint
    assert monitor.checkpoint is not None
    assert first.position == monitor.checkpoint.position
    assert json.loads(first.partial)["parameters"]["k"]["value"] > 0
    assert outcome_json("interrupted") == first.partial_outcome
    assert first.partial.index(first.partial_outcome) < first.partial.index('"parameters"')
    assert updates.build(1.0) == first  # it was not saved

    updates.mark_saved()
    second = updates.build(2.0)
    assert (second.seconds, second.progress, second.checkpoint, second.partial) == (2.0, "", "", "")


def test_checkpoints_are_sent_periodically_but_new_stages_at_once(monitor: Monitor) -> None:
    updates = ProgressUpdates(monitor, every=1000.0)
    updates.begin(PROBLEM, None)
    updates.build(1.0)
    updates.mark_saved()
    monitor.checkpoint = later(monitor)
    assert updates.build(1.0).checkpoint == ""
    assert updates.build(1.0, everything=True).position == monitor.checkpoint.position
    monitor.checkpoint = later(monitor, stage=1)
    assert updates.build(1.0).position == monitor.checkpoint.position

    eager = ProgressUpdates(monitor, every=0.0)
    eager.begin(PROBLEM, None)
    eager.build(1.0)
    eager.mark_saved()
    monitor.checkpoint = later(monitor, stage=1)
    assert eager.build(1.0).position == monitor.checkpoint.position


def test_the_checkpoint_that_the_attempt_began_with_is_not_sent(monitor: Monitor) -> None:
    earlier, empty = monitor.checkpoint, Monitor()
    updates = ProgressUpdates(empty, every=0.0)
    assert updates.partial("cancelled") == ""
    updates.begin(PROBLEM, earlier)

    assert updates.build(1.0, everything=True).checkpoint == ""
    assert json.loads(updates.partial("cancelled"))["outcome"]["code"] == "cancelled"
    assert ProgressUpdates(empty, every=0.0).progress() == ""


def test_a_checkpoint_without_a_result_is_saved_all_the_same(monitor: Monitor) -> None:
    assert monitor.checkpoint is not None
    monitor.checkpoint = replace(monitor.checkpoint, states=[])
    updates = ProgressUpdates(monitor, every=0.0)
    updates.begin(PROBLEM, None)
    update = updates.build(1.0)

    assert update.checkpoint != ""
    assert (update.partial, update.partial_outcome) == ("", "")
