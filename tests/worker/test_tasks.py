"""All endings of a fit in a child: in this process, on a real store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from odelib.errors import FitError, StopRequested
from odelib.fitting import fit
from odelib.monitor import Monitor
from odelib.problem.request import FitProblem, parse_problem, request_of
from tests.failures.requests import decay
from tests.processes import kill_redis, redis_server, wait_for
from tests.worker.conftest import Store, open_store
from worker import tasks
from worker.errors import StoreUnavailable
from worker.shared_flags import SharedFlags
from worker.states import Queue
from worker.store.keys import KEYS
from worker.store.records import FitFilter
from worker.tasks import FitRunner

REQUEST = request_of(parse_problem(decay(3)))
PROBLEM = json.dumps({"request": REQUEST}).encode()


class Bench:
    """A runner whose fits behave as the test needs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.flags = SharedFlags()
        self.woken: list[tuple[Queue, str]] = []
        self.runner = FitRunner(store.settings, lambda queue, fit_id: self.woken.append((queue, fit_id)), self.flags)

    def run(self) -> str:
        fit_id = self.store.submit(problem=PROBLEM).record.id
        self.runner.run_next_fit("cpu", fit_id)
        return fit_id


@pytest.fixture
def bench(redis_url: str) -> Bench:
    patient = {"stop_grace_seconds": 60.0, "cancel_grace_seconds": 60.0}
    return Bench(open_store(redis_url, pulse_seconds=0.05, checkpoint_seconds=0.0, **patient))


def after_a_point(then: Callable[[Monitor], Any]) -> Callable[..., Any]:
    """A fit that leaves a checkpoint and then does `then`."""

    def fit_and_then(problem: FitProblem, *, monitor: Monitor, **_: Any) -> Any:
        fit(problem, monitor=monitor)
        time.sleep(0.3)
        return then(monitor)

    return fit_and_then


def fails(error: BaseException) -> Callable[..., Any]:
    def fit_fails(*_: Any, **__: Any) -> Any:
        raise error

    return fit_fails


def listens(monitor: Monitor) -> Any:
    wait_for(lambda: monitor.stop, 30)
    assert monitor.stop is not None
    raise StopRequested(monitor.stop)


def test_a_fit(bench: Bench) -> None:
    record = bench.store.get(bench.run())

    assert (record.status, record.attempts, record.error) == ("succeeded", 1, None)
    assert record.progress is not None
    assert (record.progress["stage"], record.progress["steps"]) == ("adam", 3)
    assert record.result is not None
    assert json.loads(record.result)["outcome"]["code"] == "step_limit"


def test_nothing_to_do(bench: Bench) -> None:
    bench.runner.run_next_fit("cpu", "gone")
    bench.runner.run_next_fit("gpu", "gone")
    assert bench.store.fits.list(FitFilter(), limit=1, cursor=None).fits == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FitError("guess_not_finite", "The guess", "Change it."), "guess_not_finite"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("the caller's data"), "internal"),
        (ZeroDivisionError("the caller's data"), "internal"),
    ],
)
@pytest.mark.parametrize("had_a_point", [True, False])
def test_a_fit_that_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, had_a_point: bool
) -> None:
    failing = fails(error)
    monkeypatch.setattr(tasks, "fit", after_a_point(lambda _: failing()) if had_a_point else failing)
    record = bench.store.get(bench.run())

    assert record.status == "failed"
    assert record.error is not None
    assert record.error["type"] == f"urn:odefit:error:{kind}"
    assert set(record.error) == {"type", "title", "detail"}
    assert "caller's data" not in json.dumps(record.error)
    assert (record.result is not None) == had_a_point
    if record.result is not None:
        assert json.loads(record.result)["outcome"]["code"] == "interrupted"


def test_an_invalid_request_fails(bench: Bench) -> None:
    fit_id = bench.store.submit(problem=b'{"request":{"a":1}}').record.id
    bench.runner.run_next_fit("cpu", fit_id)
    assert bench.store.get(fit_id).status == "failed"


def test_a_cancelled_fit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel_and_listen(monitor: Monitor) -> Any:
        running = bench.store.fits.list(FitFilter(status="running"), limit=1, cursor=None).fits
        assert bench.store.fits.cancel(running[0].id).accepted
        return listens(monitor)

    monkeypatch.setattr(tasks, "fit", after_a_point(cancel_and_listen))
    record = bench.store.get(bench.run())

    assert (record.status, record.error) == ("cancelled", None)
    assert record.result is not None
    assert json.loads(record.result)["outcome"]["code"] == "cancelled"


def test_a_time_limit_without_a_point_in_this_attempt(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    error = FitError("time_limit", "The time limit came first", "Raise it.")
    monkeypatch.setattr(tasks, "fit", fails(error))
    record = bench.store.get(bench.run())
    assert (record.status, record.result) == ("failed", None)
    assert record.error is not None
    assert record.error["type"] == "urn:odefit:error:time_limit"

    monkeypatch.setattr(tasks, "fit", after_a_point(lambda _: fails(error)()))
    record = bench.store.get(bench.run())
    assert (record.status, record.error) == ("succeeded", None)
    assert record.result is not None
    assert json.loads(record.result)["outcome"]["code"] == "time_limit"


def test_a_worker_that_stops_hands_back_and_wakes_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_and_listen(monitor: Monitor) -> Any:
        bench.flags.set_stopping()
        return listens(monitor)

    monkeypatch.setattr(tasks, "fit", after_a_point(stop_and_listen))
    fit_id = bench.run()
    claim = bench.store.claim()

    assert (claim.fit_id, claim.token) == (fit_id, "2")
    assert claim.checkpoint is not None
    assert claim.elapsed > 0.3
    assert bench.woken == [("cpu", fit_id)]
    waiting = bench.run()
    assert bench.store.get(waiting).status == "queued"
    assert bench.woken == [("cpu", fit_id), ("cpu", waiting)]


def test_a_fit_taken_by_another_attempt_is_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_and_listen(monitor: Monitor) -> Any:
        running = bench.store.fits.list(FitFilter(status="running"), limit=1, cursor=None).fits[0]
        # Between two pulses, or it is taken back.
        while bench.store.leases.claim("cpu") is None:
            bench.store.lapse(running.id)
            bench.store.upkeep.sweep_leases("{}")
        return listens(monitor)

    monkeypatch.setattr(tasks, "fit", after_a_point(lose_and_listen))
    record = bench.store.get(bench.run())
    assert (record.status, record.attempts) == ("running", 2)


def test_the_next_attempt_goes_on_from_the_checkpoint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def note(problem: FitProblem, *, monitor: Monitor, resume: Any, elapsed: float) -> Any:
        seen.append((resume, elapsed))
        return fit(problem, monitor=monitor, resume=resume, elapsed=elapsed)

    def dies_once_saved(_: Monitor) -> Any:
        store = bench.store
        [key] = store.redis.keys(KEYS["FIT"] + "*")
        wait_for(lambda: float(store.redis.hget(key, "attempt_seconds") or 0) > 0.2, 30)
        wait_for(lambda: int(store.redis.hget(key, "step") or 0) > 0, 30)
        raise SystemExit

    monkeypatch.setattr(tasks, "fit", after_a_point(dies_once_saved))
    with pytest.raises(SystemExit):  # as if the process died
        bench.run()
    fit_id = bench.store.fits.list(FitFilter(status="running"), limit=1, cursor=None).fits[0].id
    bench.store.lapse(fit_id)
    bench.store.upkeep.sweep_leases("{}")
    monkeypatch.setattr(tasks, "fit", note)
    bench.runner.run_next_fit("cpu", fit_id)

    (resume, elapsed), record = seen[0], bench.store.get(fit_id)
    assert resume.stage == 0
    assert resume.step > 0
    assert elapsed > 0.2
    assert (record.status, record.attempts) == ("succeeded", 2)


def test_a_checkpoint_of_another_version_is_ignored(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fit_id = bench.store.submit(problem=PROBLEM).record.id
    bench.store.redis.hset(f"odefit:fit:{fit_id}", "checkpoint", '{"of": "another version"}')
    bench.runner.run_next_fit("cpu", fit_id)
    assert bench.store.get(fit_id).status == "succeeded"


def test_without_redis_nothing_is_claimed() -> None:
    def wake(queue: Queue, fit_id: str) -> None:
        raise StoreUnavailable("away")

    flags = SharedFlags()
    runner = FitRunner(open_store("unix:///no/such/socket").settings, wake, flags)
    runner.warm_up()
    runner.run_next_fit("cpu", "x")
    flags.set_stopping()
    runner.run_next_fit("cpu", "x")


def test_the_end_is_saved_when_redis_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with redis_server() as server:
        bench = Bench(open_store(server.url, pulse_seconds=0.05, checkpoint_seconds=0.0))

        saved = threading.Event()

        def start_later() -> None:
            time.sleep(0.5)
            server.start()
            saved.wait()  # the server ends with the thread that started it

        starting = threading.Thread(target=start_later)

        def without_redis(monitor: Monitor) -> Any:
            kill_redis(server)
            starting.start()
            return fit(parse_problem(REQUEST), monitor=monitor)

        monkeypatch.setattr(tasks, "fit", after_a_point(without_redis))
        fit_id = bench.run()
        record = bench.store.get(fit_id)
        saved.set()
        starting.join()
        assert (record.status, record.attempts) == ("succeeded", 1)
