"""Files made of a result, which are kept with it."""

from __future__ import annotations

import json
from typing import Any

from worker.errors import FitNotFound
from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.fits import FitStore
from worker.store.scripts import Scripts

MAX_BYTES = 4 * 2**20  # larger files are made anew each time


class FileStore:
    """Reads what a file is made of, and keeps it. Every method may raise `StoreUnavailable` and `FitNotFound`."""

    def __init__(self, settings: WorkerSettings) -> None:
        client = connect(settings.redis_url, retries=1)
        self._fits = FitStore(client, settings)
        self._scripts = Scripts(client)

    def problem(self, fit_id: str) -> Any:
        """Return the request of a fit, as parsed JSON."""
        return json.loads(self._fits.problem(fit_id))["request"]

    def result(self, fit_id: str) -> bytes:
        """Return the result of a fit as JSON text."""
        result = self._fits.get(fit_id, result=True).result
        if result is None:
            raise FitNotFound(fit_id)
        return result

    def keep(self, fit_id: str, name: str, content: bytes) -> None:
        """Keep a file with the result, for as long as that."""
        if len(content) <= MAX_BYTES:
            self._scripts.run("keep_file", fit_id, name, content)
