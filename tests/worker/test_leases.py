"""The workers' side of the store: leases, tokens, updates."""

from __future__ import annotations

import pytest

from odelib.result import OutcomeCode
from tests.worker.conftest import Store
from worker.attempt_endings import Ending
from worker.states import Status
from worker.store.keys import KEYS
from worker.store.leases import AttemptUpdate, Claim, PulseReply
from worker.store.scripts import outcome_json


def partial(code: OutcomeCode) -> str:
    return f'{{"loss":1.0,"outcome":{outcome_json(code)},"parameters":{{"outcome":2}}}}'


def update(step: int = 1, *, stage: int = 0, seconds: float = 1.0) -> AttemptUpdate:
    checkpoint = f'{{"stage":{stage},"step":{step}}}'
    progress = f'{{"step":{step}}}'
    return AttemptUpdate(
        seconds, progress, checkpoint, (stage, step), partial("interrupted"), outcome_json("interrupted")
    )


def deaths(store: Store, fit_id: str) -> int:
    return int(store.redis.hget(KEYS["FIT"] + fit_id, "deaths") or 0)


def die(store: Store, fit_id: str) -> None:
    store.lapse(fit_id)
    store.upkeep.sweep_leases('{"type":"died"}')


def test_the_oldest_fit_of_the_queue_is_claimed(store: Store) -> None:
    first = store.submit(fit_id="b").record.id
    second = store.submit(fit_id="a").record.id
    on_gpu = store.submit(queue="gpu").record.id

    assert store.claim() == Claim(first, "1", 0.0, b'{"request":{"a":1}}', None)
    assert store.claim().fit_id == second
    assert store.leases.claim("cpu") is None
    assert store.claim("gpu").fit_id == on_gpu
    fit = store.get(first)
    assert (fit.status, fit.attempts) == ("running", 1)


def test_updates_are_shown_and_kept_for_the_next_attempt(store: Store) -> None:
    claim = store.submit_and_claim()
    started_at = store.get(claim.fit_id).started_at
    assert store.leases.pulse(claim, update(3, seconds=1.25)) is PulseReply.HELD
    assert store.leases.pulse(claim, AttemptUpdate(1.5)) is PulseReply.HELD
    assert store.get(claim.fit_id).progress == {"step": 3}

    die(store, claim.fit_id)
    waiting = store.get(claim.fit_id)
    assert (waiting.status, waiting.attempts, waiting.started_at) == ("running", 1, started_at)

    second = store.claim()
    assert second == Claim(claim.fit_id, "2", 1.5, b'{"request":{"a":1}}', b'{"stage":0,"step":3}')
    store.leases.pulse(second, AttemptUpdate(2.0))
    die(store, claim.fit_id)
    assert store.claim().elapsed == 3.5
    assert store.get(claim.fit_id).attempts == 3
    assert store.get(claim.fit_id).started_at == started_at


def test_a_lapsed_lease_is_taken_back_if_nobody_has_it(store: Store) -> None:
    claim = store.submit_and_claim()
    die(store, claim.fit_id)
    assert deaths(store, claim.fit_id) == 1

    assert store.leases.pulse(claim, AttemptUpdate(1.0)) is PulseReply.HELD
    assert deaths(store, claim.fit_id) == 0
    assert store.leases.claim("cpu") is None
    assert store.leases.finish(claim, Ending("succeeded", "{}"), "")


def test_an_end_is_saved_without_a_lease_if_nobody_has_it(store: Store) -> None:
    claim = store.submit_and_claim()
    die(store, claim.fit_id)

    assert store.leases.finish(claim, Ending("succeeded", "{}"), "")
    assert store.leases.claim("cpu") is None
    assert store.get(claim.fit_id).status == "succeeded"


def test_a_stale_token_writes_nothing(store: Store) -> None:
    stale = store.submit_and_claim()
    die(store, stale.fit_id)
    current = store.claim()
    before = store.get(stale.fit_id)

    assert store.leases.pulse(stale, update(9)) is PulseReply.LOST
    assert not store.leases.finish(stale, Ending("failed", "stale", "{}"), "{}")
    assert not store.leases.hand_back(stale, update(9))
    assert store.get(stale.fit_id) == before
    assert store.leases.pulse(current, AttemptUpdate(0.1)) is PulseReply.HELD


def test_an_end_is_final(store: Store) -> None:
    claim = store.submit_and_claim()
    assert store.leases.finish(claim, Ending("succeeded", '{"loss":1}'), "")
    fit = store.get(claim.fit_id)

    assert store.leases.finish(claim, Ending("succeeded", '{"loss":2}'), "")  # the same call, its answer was lost
    assert not store.leases.finish(claim, Ending("failed", "", "{}"), "")
    assert store.leases.pulse(claim, update(5)) is PulseReply.LOST
    assert not store.leases.hand_back(claim, update(5))
    assert store.get(claim.fit_id) == fit


def test_handing_back_costs_nothing(store: Store) -> None:
    claim = store.submit_and_claim()
    younger = store.submit().record.id
    assert store.leases.hand_back(claim, update(4, seconds=0.5))

    assert deaths(store, claim.fit_id) == 0
    assert store.leases.pulse(claim, AttemptUpdate(0.6)) is PulseReply.LOST  # given is given
    assert store.claim() == Claim(claim.fit_id, "2", 0.5, b'{"request":{"a":1}}', b'{"stage":0,"step":4}')
    assert store.claim().fit_id == younger


def test_a_running_fit_is_asked_to_stop(store: Store) -> None:
    claim = store.submit_and_claim()
    asked = store.fits.cancel(claim.fit_id)

    assert (asked.accepted, asked.record.status) == (True, "running")
    assert store.fits.cancel(claim.fit_id).accepted
    assert store.leases.pulse(claim, AttemptUpdate(1.0)) is PulseReply.CANCEL
    assert store.leases.finish(claim, Ending("cancelled", "{}"), "")
    assert not store.fits.cancel(claim.fit_id).accepted


def test_a_fit_that_ends_before_the_request_reaches_it_keeps_its_end(store: Store) -> None:
    claim = store.submit_and_claim()
    store.fits.cancel(claim.fit_id)
    assert store.leases.finish(claim, Ending("succeeded", "{}"), "")

    assert store.get(claim.fit_id).status == "succeeded"
    assert store.redis.zcard(KEYS["CANCELLING"]) == 0


@pytest.mark.parametrize("how", ["waiting", "handed_back", "lapsed", "overdue"])
def test_cancelled_without_a_worker_it_has_the_best_point(store: Store, how: str) -> None:
    claim = store.submit_and_claim()
    store.leases.pulse(claim, update(3))
    if how == "waiting":
        die(store, claim.fit_id)
        store.fits.cancel(claim.fit_id)
    elif how == "handed_back":
        store.fits.cancel(claim.fit_id)
        assert not store.leases.hand_back(claim, AttemptUpdate(2.0))
    elif how == "lapsed":
        store.fits.cancel(claim.fit_id)
        store.lapse(claim.fit_id)
        assert store.upkeep.sweep_leases("{}").cancelled == [claim.fit_id]
    else:
        store.fits.cancel(claim.fit_id)
        assert store.upkeep.sweep_cancellations() == []
        store.age_cancellation(claim.fit_id)
        assert store.upkeep.sweep_cancellations() == [claim.fit_id]

    fit = store.get(claim.fit_id)
    assert (fit.status, fit.error) == ("cancelled", None)
    assert fit.result == partial("cancelled").encode()
    assert store.leases.pulse(claim, AttemptUpdate(3.0)) is PulseReply.LOST
    assert store.leases.claim("cpu") is None


def test_three_deaths_without_progress_end_the_fit(store: Store) -> None:
    fit_id = store.submit().record.id
    store.leases.pulse(store.claim(), update(3))
    die(store, fit_id)
    store.leases.pulse(store.claim(), update(3))
    die(store, fit_id)
    store.claim()
    assert store.get(fit_id).status == "running"
    store.lapse(fit_id)
    assert store.upkeep.sweep_leases('{"type":"died"}').failed == [fit_id]

    fit = store.get(fit_id)
    assert (fit.status, fit.attempts, fit.error) == ("failed", 3, {"type": "died"})
    assert fit.result == partial("interrupted").encode()
    assert store.leases.claim("cpu") is None


@pytest.mark.parametrize("further", [(0, 4), (1, 0)])
def test_progress_resets_the_count_of_deaths(store: Store, further: tuple[int, int]) -> None:
    stage, step = further
    fit_id = store.submit().record.id
    store.leases.pulse(store.claim(), update(3))
    die(store, fit_id)
    store.leases.pulse(store.claim(), update(2))
    die(store, fit_id)
    assert deaths(store, fit_id) == 2
    store.leases.pulse(store.claim(), update(step, stage=stage))

    assert deaths(store, fit_id) == 0
    die(store, fit_id)
    assert store.get(fit_id).status == "running"


@pytest.mark.parametrize(("status", "code"), [("cancelled", "cancelled"), ("failed", "interrupted")])
def test_an_end_without_a_result_has_that_of_the_last_checkpoint(
    store: Store, status: Status, code: OutcomeCode
) -> None:
    claim = store.submit_and_claim()
    store.leases.pulse(claim, update(3))
    store.leases.finish(claim, Ending(status), "")

    assert store.get(claim.fit_id).result == partial(code).encode()
