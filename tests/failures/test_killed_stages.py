"""A process killed in the middle of any kind of stage, or of profiles: the fit goes on, and ends as without that."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import psutil
import pytest

from odelib.fitting import fit
from odelib.monitor import Checkpoint
from odelib.problem.request import parse_problem
from odelib.result import FitResult
from odelib.stages.registry import build_stage
from tests.failures.conftest import END_SECONDS, Stack, result_of
from tests.failures.requests import seasons
from tests.processes import WorkerProcess, wait_for
from worker.queue import FitRecord
from worker.states import ENDED
from worker.store.keys import KEYS

STAGES = get_args(get_type_hints(build_stage)["settings"])
KINDS = [get_args(stage.model_fields["kind"].annotation)[0] for stage in STAGES]
# Each alone takes some seconds, in many steps: cycles of the seasons, and the stage.
SLOW: dict[str, tuple[float, dict[str, Any]]] = {
    "adam": (700, {"kind": "adam", "steps": 60, "learning_rate": 0.01}),
    "lbfgsb": (1200, {"kind": "lbfgsb"}),
    "least_squares": (3000, {"kind": "least_squares"}),
    "multiple_shooting": (2000, {"kind": "multiple_shooting"}),
    "multi_start": (100, {"kind": "multi_start", "starts": 6}),
}
PROFILED = 500  # cycles of the seasons with which the profiles take some seconds

Shared = tuple[Stack, WorkerProcess]


def request_of(kind: str) -> dict[str, Any]:
    cycles, stage = SLOW[kind]
    return seasons(cycles, [stage])


def kill_child(worker: WorkerProcess) -> None:
    """kill -9 of the process that computes: the one that has a limit on its memory."""
    [child] = [child for child in worker.children() if child.rlimit(psutil.RLIMIT_DATA)[0] != psutil.RLIM_INFINITY]
    child.kill()
    child.wait(END_SECONDS)


def stands_at(stack: Stack, fit_id: str) -> int:
    """The step of the running fit's checkpoint."""
    record = stack.get(fit_id)
    assert record.status not in ENDED, f"the fit ended before it could be disturbed: {record.progress}, {record.error}"
    return stack.saved_step(fit_id)


def in_the_middle(stack: Stack, fit_id: str) -> None:
    """Returns once a step of the fit's only stage is in its checkpoint."""
    wait_for(lambda: stands_at(stack, fit_id) > 0, END_SECONDS, "a step in the checkpoint")


def saved(stack: Stack, fit_id: str) -> Checkpoint:
    """The checkpoint from which the next attempt goes on; to be asked for when the last one is dead."""
    text = stack.redis.hget(KEYS["FIT"] + fit_id, "checkpoint")
    assert text is not None, "the fit ended before it could be disturbed"
    return Checkpoint.from_json(text)


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
    assert 0 < before["steps"] < undisturbed.steps
    assert stage["kind"] == undisturbed.kind
    assert stage["steps"] > before["steps"]
    assert stage["gradients"] > before["gradients"]
    assert stage["seconds"] > before["seconds"]
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
    request = request_of(kind)
    fit_id = stack.submit(request)
    in_the_middle(stack, fit_id)
    kill_child(worker)
    checkpoint = saved(stack, fit_id)
    whole = fit(parse_problem(request))  # while the lease lapses
    check(taken_over(stack, fit_id, checkpoint), checkpoint, whole)


def test_worker_killed_in_the_middle_of_a_stage(stack: Stack) -> None:
    request = request_of("multiple_shooting")
    with stack.worker() as worker:
        fit_id = stack.submit(request)
        in_the_middle(stack, fit_id)
        children = worker.children()
        worker.kill()
        wait_for(lambda: not any(child.is_running() for child in children), END_SECONDS, "the end of the children")
    checkpoint = saved(stack, fit_id)
    with stack.worker():
        whole = fit(parse_problem(request))
        check(taken_over(stack, fit_id, checkpoint), checkpoint, whole)


def test_child_killed_while_it_profiles(shared: Shared) -> None:
    """Profiles leave no checkpoint of their own: they begin again at the optimum."""
    stack, worker = shared
    request = seasons(PROFILED, [{"kind": "least_squares"}], uncertainty="profile")
    whole = fit(parse_problem(request))
    fit_id = stack.submit(request)
    wait_for(lambda: stands_at(stack, fit_id) == whole.stages[0].steps, END_SECONDS, "the last step of the stage")
    kill_child(worker)
    checkpoint = saved(stack, fit_id)
    assert checkpoint.loss == pytest.approx(whole.loss, rel=1e-6)

    result = result_of(taken_over(stack, fit_id, checkpoint))
    assert (result["stages"][0]["steps"], result["outcome"]["code"]) == (whole.stages[0].steps, whole.outcome.code)
    assert result["warnings"] == whole.warnings == []
    for name, expected in whole.parameters.items():
        found = result["parameters"][name]
        assert expected.lower_95 is not None
        assert expected.upper_95 is not None
        width = expected.upper_95 - expected.lower_95
        ends = (expected.lower_95, expected.upper_95)
        assert (found["lower_95"], found["upper_95"]) == pytest.approx(ends, abs=1e-4 * width)
        assert result["profiles"][name]["values"]
