"""The simulation processes' side of the store: take a simulation, answer it."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from redis.client import PubSub
from redis.exceptions import RedisError

from worker.settings import WorkerSettings
from worker.store.connection import RESPONSE_SECONDS, connect, store_errors
from worker.store.keys import KEYS
from worker.store.scripts import Scripts

_ANSWER_KEPT_SECONDS = 30


class SimulationStore:
    """Waiting simulations. Every method may raise `StoreUnavailable` or `StoreFull`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect(settings.redis_url, retries=0)
        self._scripts = Scripts(self._client)
        self._channel = KEYS["SIMULATOR_CHANNEL"] + str(uuid.uuid4())
        self._arrivals: PubSub | None = None

    def waiting(self) -> int:
        """Return the number of waiting simulations."""
        with store_errors():
            return int(self._client.llen(KEYS["SIMULATIONS"]))

    def next(self, seconds: float) -> tuple[str, bytes] | None:
        """Take the oldest simulation: its id and its task as JSON text; None if none came within `seconds`."""
        try:
            with store_errors():
                arrivals = self._listen()
                found = self._take()
                if found is None and arrivals.get_message(timeout=seconds) is not None:
                    found = self._take()
                return found
        except BaseException:
            self._hang_up()
            raise

    def is_wanted(self, simulation: str) -> bool:
        """Return whether the caller still waits."""
        with store_errors():
            return bool(self._client.exists(KEYS["SIMULATION"] + simulation))

    def answer(self, simulation: str, answer: bytes) -> None:
        """Send the answer to the caller."""
        self._scripts.run("simulation_answer", simulation, answer, _ANSWER_KEPT_SECONDS)

    def close(self) -> None:
        """Close all connections."""
        self._hang_up()
        self._client.close()

    def _take(self) -> tuple[str, bytes] | None:
        found: Any = self._scripts.run("simulation_next", self._channel)
        return None if found is None else (found[0].decode(), found[1])

    def _listen(self) -> PubSub:
        if self._arrivals is None:
            self._arrivals = self._client.pubsub()  # type: ignore[no-untyped-call]
            self._arrivals.subscribe(self._channel)
            self._arrivals.get_message(timeout=RESPONSE_SECONDS)  # the subscription is confirmed
        return self._arrivals

    def _hang_up(self) -> None:
        """Subscribe again with the next call."""
        if self._arrivals is not None:
            with suppress(RedisError, OSError):
                self._arrivals.close()
        self._arrivals = None
