"""A random walk through everything that can happen to fits, compared with a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from odelib.result import OutcomeCode
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.errors import FitEnded, FitNotFinished, FitNotFound, QueueFull
from worker.states import ENDED, MOVES, STATUSES, Queue, Status
from worker.store.keys import KEYS
from worker.store.leases import AttemptUpdate, Claim, PulseReply
from worker.store.records import FitFilter, FitRecord
from worker.store.scripts import outcome_json

MAX_DEATHS = 3
MAX_QUEUED = 6


@dataclass
class Model:
    """The expected state of one fit."""

    id: str
    queue: Queue
    sequence: int
    status: Status = "queued"
    attempts: int = 0
    token: str | None = None
    leased: bool = False
    asked: bool = False
    deaths: int = 0
    position: tuple[int, int] = (-1, -1)
    result: str | None = None
    error: bool = False
    final: FitRecord | None = field(default=None)

    def end(self, status: Status, result: str | None, *, error: bool = False) -> None:
        assert status in MOVES[self.status]
        self.status, self.result, self.error, self.leased = status, result, error, False

    def partial(self, code: OutcomeCode) -> str | None:
        if self.position == (-1, -1):
            return None
        return f'{{"outcome":{outcome_json(code)},"at":{self.position[1]}}}'


class RandomWalk(RuleBasedStateMachine):
    """Submit, claim, pulse, finish, hand back, lapse, cancel, forget, expire: in any order, with any token."""

    fits: Bundle[str] = Bundle("fits")
    claims: Bundle[Claim] = Bundle("claims")
    url: str

    @initialize()
    def begin(self) -> None:
        self.store: Store = open_store(self.url, max_queued_fits=MAX_QUEUED, lease_seconds=1000, sweep_seconds=1000)
        self.store.redis.flushdb()
        self.models: dict[str, Model] = {}
        self.gone: set[str] = set()
        self.count = 0

    # Owners

    @rule(target=fits, queue=st.sampled_from(["cpu", "gpu"]))
    def submit(self, queue: Queue) -> str | MultipleResults[str]:
        waiting = [m for m in self.models.values() if m.status not in ENDED and not m.leased]
        if len(waiting) >= MAX_QUEUED:
            with pytest.raises(QueueFull):
                self.store.submit(queue=queue)
            return multiple()
        self.count += 1
        fit_id = self.store.submit(queue=queue, system="lorenz").record.id
        self.models[fit_id] = Model(fit_id, queue, self.count)
        return fit_id

    @rule(fit_id=fits)
    def cancel(self, fit_id: str) -> None:
        model = self.models.get(fit_id)
        if model is None:
            with pytest.raises(FitNotFound):
                self.store.fits.cancel(fit_id)
        elif model.status in ENDED and model.status != "cancelled":
            with pytest.raises(FitEnded):
                self.store.fits.cancel(fit_id)
        else:
            assert self.store.fits.cancel(fit_id).accepted == (model.status != "cancelled")
            if model.leased:
                model.asked = True
            elif model.status not in ENDED:
                model.end("cancelled", model.partial("cancelled"))

    @rule(fit_id=fits)
    def forget(self, fit_id: str) -> None:
        model = self.models.get(fit_id)
        if model is None:
            with pytest.raises(FitNotFound):
                self.store.fits.forget(fit_id)
        elif model.status not in ENDED:
            with pytest.raises(FitNotFinished):
                self.store.fits.forget(fit_id)
        else:
            self.store.fits.forget(fit_id)
            self._gone(fit_id)

    @rule(fit_id=fits, swept=st.booleans())
    def expire(self, fit_id: str, swept: bool) -> None:
        if fit_id in self.models and self.models[fit_id].status in ENDED:
            self.store.expire(fit_id)
            self._gone(fit_id)
            if swept:
                assert self.store.upkeep.sweep_expired() >= 1

    # Workers

    @rule(target=claims, queue=st.sampled_from(["cpu", "gpu"]))
    def claim(self, queue: Queue) -> Claim | MultipleResults[Claim]:
        waiting = [m for m in self.models.values() if m.queue == queue and m.status not in ENDED and not m.leased]
        claim = self.store.leases.claim(queue)
        if not waiting:
            assert claim is None
            return multiple()
        assert claim is not None
        model = min(waiting, key=lambda m: m.sequence)
        model.attempts += 1
        model.status, model.leased, model.token = "running", True, str(model.attempts)
        assert (claim.fit_id, claim.token) == (model.id, model.token)
        assert claim.checkpoint == (None if model.position == (-1, -1) else f"checkpoint-{model.position}".encode())
        return claim

    @rule(claim=claims, position=st.none() | st.tuples(st.integers(0, 1), st.integers(0, 3)))
    def pulse(self, claim: Claim, position: tuple[int, int] | None) -> None:
        reply = self.store.leases.pulse(claim, self._update(position))
        model = self._holder(claim)
        if model is None:
            assert reply is PulseReply.LOST
            return
        assert reply is (PulseReply.CANCEL if model.asked else PulseReply.HELD)
        if not model.leased:
            model.leased, model.deaths = True, model.deaths - 1
        self._saved(model, position)

    @rule(claim=consumes(claims), status=st.sampled_from(["succeeded", "failed", "cancelled"]))
    def finish(self, claim: Claim, status: Status) -> None:
        error = '{"type":"t"}' if status == "failed" else ""
        done = self.store.leases.finish(claim, Ending(status, f"result-{claim.token}", error), "")
        model = self._holder(claim)
        if model is not None:
            assert done
            model.end(status, f"result-{claim.token}", error=bool(error))
        elif (fit := self.models.get(claim.fit_id)) is not None:
            # The same call again returns True; any other call returns False.
            assert done == (fit.status == status and fit.token == claim.token)
        else:
            assert not done

    @rule(claim=claims, position=st.none() | st.tuples(st.integers(0, 1), st.integers(0, 3)))
    def hand_back(self, claim: Claim, position: tuple[int, int] | None) -> None:
        done = self.store.leases.hand_back(claim, self._update(position))
        model = self._holder(claim)
        if model is None:
            assert not done
            return
        self._saved(model, position)
        if model.asked:
            assert not done
            model.end("cancelled", model.partial("cancelled"))
        else:
            assert done
            model.leased, model.token = False, None

    @precondition(lambda self: any(model.leased for model in self.models.values()))
    @rule(data=st.data())
    def lapse(self, data: st.DataObject) -> None:
        model = data.draw(st.sampled_from([model for model in self.models.values() if model.leased]))
        self.store.lapse(model.id)
        lapsed = self.store.upkeep.sweep_leases('{"type":"died"}')
        if model.asked:
            model.end("cancelled", model.partial("cancelled"))
            assert lapsed.cancelled == [model.id]
            return
        model.deaths += 1
        if model.deaths >= MAX_DEATHS:
            model.end("failed", model.partial("interrupted"), error=True)
            assert lapsed.failed == [model.id]
        else:
            model.leased = False
            assert lapsed.again == [(model.id, model.queue)]

    # What must be true at any time

    @invariant()
    def records_are_as_the_model_says(self) -> None:
        for model in self.models.values():
            record = self.store.get(model.id)
            result = None if model.result is None else model.result.encode()
            assert (record.status, record.attempts, record.result) == (model.status, model.attempts, result)
            assert (record.error is not None) == model.error
            assert (record.finished_at is not None) == (model.status in ENDED)
            if model.status in ENDED:
                model.final = model.final or record
                assert record == model.final
        for fit_id in self.gone:
            with pytest.raises(FitNotFound):
                self.store.get(fit_id)

    @invariant()
    def every_fit_that_has_not_ended_is_in_one_place(self) -> None:
        ready = {m.id for m in self.models.values() if m.status not in ENDED and not m.leased}
        leased = {m.id for m in self.models.values() if m.leased}
        asked = {m.id for m in self.models.values() if m.asked and m.status not in ENDED}
        assert self._members(KEYS["READY"] + "cpu") | self._members(KEYS["READY"] + "gpu") == ready
        assert self._members(KEYS["LEASES"]) == leased
        assert self._members(KEYS["CANCELLING"]) == asked

    @invariant()
    def lists_are_complete_and_in_order(self) -> None:
        for status in (None, *STATUSES):
            fits = [m for m in self.models.values() if status in (None, m.status)]
            expected = [m.id for m in sorted(fits, key=lambda m: -m.sequence)]
            for system in (None, "lorenz"):
                page = self.store.fits.list(FitFilter(status=status, system=system), limit=100, cursor=None)
                assert [fit.id for fit in page.fits] == expected

    def _holder(self, claim: Claim) -> Model | None:
        model = self.models.get(claim.fit_id)
        return model if model is not None and model.status not in ENDED and model.token == claim.token else None

    def _update(self, position: tuple[int, int] | None) -> AttemptUpdate:
        if position is None:
            return AttemptUpdate(0.5)
        interrupted = outcome_json("interrupted")
        partial = f'{{"outcome":{interrupted},"at":{position[1]}}}'
        return AttemptUpdate(0.5, "", f"checkpoint-{position}", position, partial, interrupted)

    def _saved(self, model: Model, position: tuple[int, int] | None) -> None:
        if position is not None and position > model.position:
            model.deaths, model.position = 0, position

    def _gone(self, fit_id: str) -> None:
        del self.models[fit_id]
        self.gone.add(fit_id)

    def _members(self, key: str) -> set[str]:
        return {member.decode() for member in self.store.redis.zrange(key, 0, -1)}


def test_random_walk(redis_url: str) -> None:
    RandomWalk.url = redis_url
    run_state_machine_as_test(RandomWalk, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
