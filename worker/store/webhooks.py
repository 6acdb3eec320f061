"""Webhooks that are due: at the end of each fit that has one, and again after a failure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from worker.settings import WorkerSettings
from worker.store.connection import connect
from worker.store.fits import microseconds
from worker.store.scripts import Scripts

_LEASE_SECONDS = 60.0  # longer than a delivery takes
_FIRST_PAUSE, _MAX_PAUSE = 5.0, 3_600.0  # seconds between two attempts, doubled each time
_TRIED_SECONDS = 86_400.0


@dataclass(frozen=True)
class Delivery:
    """A webhook of an ended fit. attempt: counted from 1."""

    fit_id: str
    status: str
    url: str
    secret: str | None
    attempt: int


class WebhookStore:
    """Webhooks in the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._scripts = Scripts(connect(settings.redis_url, retries=1))

    def is_due(self) -> bool:
        """Return whether any webhook is due."""
        return bool(self._scripts.run("webhooks_due"))

    def next(self) -> Delivery | None:
        """Take the webhook that has been due longest, under a lease; None if none is due."""
        fields = self._scripts.run("next_webhook", microseconds(_LEASE_SECONDS))
        if not fields:
            return None
        fit_id, status, webhook, attempt = fields
        asked = json.loads(webhook)
        return Delivery(fit_id.decode(), status.decode(), asked["url"], asked.get("secret"), int(attempt))

    def delivered(self, delivery: Delivery) -> None:
        """Record that a webhook was delivered."""
        self._scripts.run("end_webhook", delivery.fit_id, "", "")

    def failed(self, delivery: Delivery) -> bool:
        """Record a failure. Returns whether the webhook is tried again."""
        pause = min(_FIRST_PAUSE * 2.0 ** (delivery.attempt - 1), _MAX_PAUSE)
        again = self._scripts.run("end_webhook", delivery.fit_id, microseconds(pause), microseconds(_TRIED_SECONDS))
        return bool(again)
