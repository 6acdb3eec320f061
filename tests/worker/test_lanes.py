"""Small fits before long ones, keys in turns, and nothing starves."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from odelib.problem.request import parse_problem, request_of
from tests.odelib.problem.requests import MINIMAL
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.costs import estimated_seconds, kind_of
from worker.store.keys import KEYS
from worker.store.leases import AttemptUpdate, PulseReply

Submit = Callable[..., str]


@pytest.fixture
def lanes(redis_url: str) -> Store:
    return open_store(redis_url)


@pytest.fixture
def submit(lanes: Store) -> Submit:
    def one(seconds: float = 0.1, owner: str = "", kind: str = "") -> str:
        fit_id = str(uuid.uuid4())
        lanes.fits.submit(
            fit_id, b"{}", system="x", labels=b"{}", queue="cpu", idempotency="", digest="", message=("cpu", b"m"),
            owner=owner, kind=kind, seconds=seconds,
        )  # fmt: skip
        return fit_id

    return one


def started(store: Store, count: int) -> list[str]:
    return [store.claim().fit_id for _ in range(count)]


def age(store: Store, fit_id: str) -> None:
    """Let the fit have waited for long."""
    store.redis.hset(KEYS["FIT"] + fit_id, "ready_at", 1)


def test_small_fits_start_before_long_ones(lanes: Store, submit: Submit) -> None:
    long, small, other = submit(1000), submit(1), submit(2)

    assert started(lanes, 3) == [small, other, long]


def test_keys_take_turns(lanes: Store, submit: Submit) -> None:
    many = [submit(owner="many") for _ in range(4)]
    first = started(lanes, 1)
    few = [submit(owner="few") for _ in range(2)]

    assert first == many[:1]
    assert set(started(lanes, 2)) == {many[1], few[0]}
    assert set(started(lanes, 2)) == {many[2], few[1]}
    assert started(lanes, 1) == many[3:]


def test_a_key_gains_nothing_by_having_waited(lanes: Store, submit: Submit) -> None:
    for _ in range(5):
        submit(owner="old")
    started(lanes, 5)
    old, new = [submit(owner="old") for _ in range(2)], [submit(owner="new") for _ in range(2)]

    order = started(lanes, 4)
    assert order.index(new[0]) < order.index(old[1])
    assert order.index(old[0]) < order.index(new[1])


def test_a_long_fit_does_not_starve(lanes: Store, submit: Submit) -> None:
    long, other = submit(1000), submit(1000)
    small = [submit() for _ in range(3)]
    age(lanes, long)
    age(lanes, other)

    assert started(lanes, 3) == [long, *small[:2]]  # one long fit is enough for a while
    lanes.redis.hset(KEYS["TURNS"], "cpu:long_started_at", 1)
    assert started(lanes, 2) == [other, small[2]]


def test_a_running_fit_makes_way_for_a_small_one_that_waits(lanes: Store, submit: Submit) -> None:
    submit()
    submit()
    running, also = lanes.claim(), lanes.claim()
    small = submit()
    assert lanes.leases.pulse(running, AttemptUpdate(60.0)) is PulseReply.HELD  # it has just come
    age(lanes, small)
    assert lanes.leases.pulse(running, AttemptUpdate(1.0)) is PulseReply.HELD  # this one has just begun
    assert lanes.leases.pulse(running, AttemptUpdate(60.0)) is PulseReply.YIELD
    assert lanes.leases.pulse(also, AttemptUpdate(60.0)) is PulseReply.HELD  # one at a time

    assert lanes.leases.hand_back(running, AttemptUpdate(60.0))
    assert started(lanes, 2) == [small, running.fit_id]


def test_a_running_fit_does_not_make_way_for_a_long_one(lanes: Store, submit: Submit) -> None:
    submit()
    running = lanes.claim()
    age(lanes, submit(1000))

    assert lanes.leases.pulse(running, AttemptUpdate(60.0)) is PulseReply.HELD


def test_a_fit_of_a_stopped_worker_keeps_its_place(lanes: Store, submit: Submit) -> None:
    first, second = submit(), submit()
    claim = lanes.claim()
    lanes.leases.hand_back(claim, AttemptUpdate(0.5))

    assert started(lanes, 2) == [first, second]


def test_what_a_kind_took_decides_over_the_estimate(lanes: Store, submit: Submit) -> None:
    submit(seconds=0.1, kind="slow")
    claim = lanes.claim()
    lanes.leases.pulse(claim, AttemptUpdate(500.0))
    assert lanes.leases.finish(claim, Ending("succeeded", "{}"), "")
    slow, small = submit(seconds=0.1, kind="slow"), submit(seconds=5.0, kind="unknown")

    assert started(lanes, 2) == [small, slow]


def test_fits_that_an_earlier_version_accepted_go_on(lanes: Store, submit: Submit) -> None:
    old = [submit() for _ in range(3)]
    for place, fit_id in enumerate(old):
        lanes.redis.hdel(KEYS["FIT"] + fit_id, "lane", "place", "ready_at")
        lanes.redis.zadd(KEYS["READY"] + "cpu", {fit_id: place + 1})
    claim = lanes.claim()
    assert lanes.leases.pulse(claim, AttemptUpdate(60.0)) in (PulseReply.HELD, PulseReply.YIELD)
    lanes.lapse(claim.fit_id)
    assert [fit_id for fit_id, _ in lanes.upkeep.sweep_leases("{}").again] == [old[0]]

    assert started(lanes, 3) == old


def test_estimates_grow_with_the_work() -> None:
    small = parse_problem(MINIMAL)
    times = [0.01 * i for i in range(20_000)]
    data = {"times": times, "values": {"prey": [1.0] * len(times)}}
    large = parse_problem(MINIMAL | {"data": data})
    profiled = parse_problem(MINIMAL | {"uncertainty": "profile"})
    slow = parse_problem(MINIMAL | {"solver": {"engine": "torchdiffeq"}})

    assert estimated_seconds(small) < 1
    assert estimated_seconds(large) > 10
    assert estimated_seconds(small) < estimated_seconds(profiled)
    assert estimated_seconds(slow) > 10 * estimated_seconds(small)


def test_a_kind_has_fits_of_one_size() -> None:
    base = request_of(parse_problem(MINIMAL))
    other_guesses = request_of(parse_problem(MINIMAL | {"parameters": dict.fromkeys(base["parameters"], 1.5)}))
    other_stages = request_of(parse_problem(MINIMAL | {"stages": [{"kind": "adam", "steps": 7}]}))

    assert kind_of(base) == kind_of(other_guesses) != kind_of(other_stages)
