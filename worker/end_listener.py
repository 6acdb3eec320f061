"""Waiting for the end of fits without asking again and again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

import structlog
from redis.exceptions import RedisError

from worker.settings import WorkerSettings
from worker.states import ENDED
from worker.store.connection import connect_async
from worker.store.keys import KEYS

_RECONNECT_SECONDS = 0.5
_ENDED = frozenset(status.encode() for status in ENDED)

log = structlog.get_logger(__name__)


class EndListener:
    """One subscription to the ends of fits, shared by all who wait in this event loop.

    It survives restarts of Redis: whenever it has subscribed again, it looks whether what is waited for ended
    meanwhile.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect_async(settings.redis_url)
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Begin to listen, whether Redis is there yet or not."""
        self._stopped = False
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop listening; those who still wait, wait until their timeout is over."""
        self._stopped = True
        if self._listening is not None:
            while not self._listening.done():
                # More than once: redis-py swallows a cancellation that comes while it connects.
                self._listening.cancel()
                await asyncio.wait([self._listening], timeout=0.1)
            self._listening = None
        await self._client.aclose()

    async def wait(self, fit_id: str, timeout: float) -> None:
        """Return when the fit has ended (or is gone), at the latest after `timeout` seconds."""
        ended = asyncio.Event()
        self._waiting[fit_id].add(ended)
        try:
            async with asyncio.timeout(timeout):
                await self._look([fit_id])
                await ended.wait()
        except TimeoutError:
            return
        finally:
            self._waiting[fit_id].discard(ended)
            if not self._waiting[fit_id]:
                del self._waiting[fit_id]

    async def _listen(self) -> None:
        while not self._stopped:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(KEYS["ENDED_CHANNEL"])
                    await self._look(list(self._waiting))
                    async for message in subscription.listen():
                        self._tell(message["data"].decode())
            except (RedisError, OSError) as error:
                log.warning("ended_listener_lost", reason=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _look(self, fit_ids: Iterable[str]) -> None:
        """Tell those who wait for fits that have ended already; what Redis does not answer, `_listen` asks again."""
        try:
            for fit_id in fit_ids:
                if self._stopped:
                    return
                status = await self._client.hget(KEYS["FIT"] + fit_id, "status")
                if status is None or status in _ENDED:
                    self._tell(fit_id)
        except (RedisError, OSError) as error:
            log.warning("ended_listener_cannot_look", reason=type(error).__name__)

    def _tell(self, fit_id: str) -> None:
        for ended in self._waiting.get(fit_id, ()):
            ended.set()
