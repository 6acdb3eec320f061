"""The simulation processes' side of the store: take a simulation, answer it."""

from __future__ import annotations

from typing import Any

from worker.settings import WorkerSettings
from worker.store.connection import RESPONSE_SECONDS, connect, store_errors
from worker.store.keys import KEYS

_ANSWER_KEPT_SECONDS = 30


class SimulationStore:
    """Waiting simulations. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect(settings.redis_url, retries=0)

    def waiting(self) -> int:
        """Return the number of waiting simulations."""
        with store_errors():
            return int(self._client.llen(KEYS["SIMULATIONS"]))

    def next(self, seconds: float) -> tuple[str, bytes] | None:
        """Take the oldest simulation: its id and its request as JSON text; None if none came within `seconds`.

        seconds: less than the client waits for a response.
        """
        assert seconds < RESPONSE_SECONDS
        with store_errors():
            found: Any = self._client.blpop([KEYS["SIMULATIONS"]], timeout=seconds)
            if found is None:
                return None
            simulation: str = found[1].decode()
            request: Any = self._client.get(KEYS["SIMULATION"] + simulation)
        return None if request is None else (simulation, request)

    def is_wanted(self, simulation: str) -> bool:
        """Return whether the caller still waits."""
        with store_errors():
            return bool(self._client.exists(KEYS["SIMULATION"] + simulation))

    def answer(self, simulation: str, answer: bytes) -> None:
        """Send the answer to the caller."""
        key = KEYS["SIMULATED"] + simulation
        with store_errors(), self._client.pipeline() as pipeline:
            pipeline.rpush(key, answer)
            pipeline.expire(key, _ANSWER_KEPT_SECONDS)
            pipeline.execute()
