"""A process killed in the middle of any kind of stage, or of profiles: the fit resumes and ends as if undisturbed."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from odelib.fitting import fit
from odelib.monitor import Checkpoint
from odelib.optimisers.registry import build_optimiser
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import seasons
from tests.optimisers import SLOW
from tests.processes import WorkerProcess, wait_for, wait_for_end
from worker.queue import FitRecord
from worker.states import ENDED

STAGES = get_args(get_type_hints(build_optimiser)["settings"])
KINDS = [get_args(stage.model_fields["kind"].annotation)[0] for stage in STAGES]
PROFILED = 250  # cycles of the seasons with which the profiles take some seconds

Shared = tuple[Stack, WorkerProcess]


def request_of(kind: str, work: int) -> dict[str, Any]:
    cycles, stage = SLOW[kind]
    return seasons(cycles * work, [stage])


def taken_over(stack: Stack, fit_id: str, checkpoint: Checkpoint) -> FitRecord:
    """The fit at its end; on the way there, the second attempt is never behind the checkpoint."""

    def look() -> FitRecord | None:
        record = stack.get(fit_id)
        assert record.progress is not None
        if record.attempts > 1:
            assert record.progress["step"] >= checkpoint.step
            assert record.progress["loss"] <= checkpoint.loss * (1 + 1e-9)
        return record if record.status in ENDED else None

    record = wait_for(look, END_SECONDS, "the end of the fit")
    assert record is not None
    assert (record.status, record.attempts, stack.times_ended(fit_id)) == ("succeeded", 2, 1)
    return record


def check(record: FitRecord, checkpoint: Checkpoint, whole: FitResult) -> None:
    """That the stage's work is counted over both attempts, and that the optimum is the undisturbed fit's."""
    result = result_of(record)
    [before], [stage], [undisturbed] = checkpoint.reports, result["stages"], whole.stages
    assert 0 < before["steps"] <= undisturbed.steps
    assert stage["kind"] == undisturbed.kind
    assert stage["steps"] >= before["steps"]
    assert stage["gradients"] > before["gradients"]
    assert stage["seconds"] >= before["seconds"]
    assert stage["stopped"]["code"] == undisturbed.stopped.code
    assert result["outcome"]["code"] == whole.outcome.code
    assert result["loss"] == pytest.approx(whole.loss, rel=1e-6)
    if checkpoint.optimiser is not None:  # nothing is lost but the step that was under way, and nothing done twice
        assert stage["steps"] == undisturbed.steps
        assert stage["gradients"] == pytest.approx(undisturbed.gradients, abs=3)
    if undisturbed.start_losses is not None:
        assert stage["start_losses"] == pytest.approx(undisturbed.start_losses, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_child_killed_in_the_middle_of_a_stage(shared: Shared, kind: str) -> None:
    stack, worker = shared
    caught = stack.caught(worker, lambda work: request_of(kind, work))
    caught.kill()
    checkpoint = stack.checkpoint(caught.fit_id)
    whole = fit(parse_problem(caught.request))  # while the lease lapses
    check(taken_over(stack, caught.fit_id, checkpoint), checkpoint, whole)


def test_worker_killed_in_the_middle_of_a_stage(stack: Stack) -> None:
    with stack.worker() as worker:
        caught = stack.caught(worker, lambda work: request_of("multiple_shooting", work))
        children = worker.children()
        worker.kill()
        wait_for_end(*children)
    checkpoint = stack.checkpoint(caught.fit_id)
    with stack.worker():
        whole = fit(parse_problem(caught.request))
        check(taken_over(stack, caught.fit_id, checkpoint), checkpoint, whole)


def test_child_killed_while_it_profiles(shared: Shared) -> None:
    """The second attempt takes up the profiles that are done."""

    def request_of(work: int) -> dict[str, Any]:
        free = {"initial_state": {"prey": 1.0, "predator": 1.0}}
        return seasons(PROFILED * work, [{"kind": "least_squares"}], uncertainty="profile", **free)

    stack, worker = shared
    caught = stack.caught(worker, request_of, stage=1)
    caught.kill()
    checkpoint = stack.checkpoint(caught.fit_id)
    assert checkpoint.optimiser is not None
    done = checkpoint.optimiser["profiles"]
    assert len(done) == checkpoint.step > 0
    whole = fit(parse_problem(caught.request))
    assert checkpoint.loss == pytest.approx(whole.loss, rel=1e-6)

    result = result_of(taken_over(stack, caught.fit_id, checkpoint))
    assert (result["stages"][0]["steps"], result["outcome"]["code"]) == (whole.stages[0].steps, whole.outcome.code)
    assert result["warnings"] == whole.warnings == []
    for name, saved in done.items():
        assert result["profiles"][name] == saved["profile"]
    for name, expected in whole.parameters.items():
        found = result["parameters"][name]
        assert expected.lower_95 is not None
        assert expected.upper_95 is not None
        width = expected.upper_95 - expected.lower_95
        ends = (expected.lower_95, expected.upper_95)
        assert (found["lower_95"], found["upper_95"]) == pytest.approx(ends, abs=1e-3 * width)
        assert result["profiles"][name]["values"]
