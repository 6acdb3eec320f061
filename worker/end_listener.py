"""Waiting for fits to end, without polling."""

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
    """One subscription to the ends of fits, shared by all waiters of an event loop.

    It survives restarts of Redis: after subscribing again it checks which of the awaited fits ended meanwhile.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect_async(settings.redis_url)
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Begin to listen, whether Redis is available yet or not."""
        self._is_stopped = False
        if self._task is None:
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop listening; remaining waiters wait until their timeout."""
        self._is_stopped = True
        if self._task is not None:
            while not self._task.done():
                # More than once: redis-py swallows a cancellation that arrives while it connects.
                self._task.cancel()
                await asyncio.wait([self._task], timeout=0.1)
            self._task = None
        await self._client.aclose()

    async def wait(self, fit_id: str, timeout: float) -> None:
        """Return when the fit has ended or does not exist, at the latest after `timeout` seconds."""
        ended = asyncio.Event()
        self._waiters[fit_id].add(ended)
        try:
            async with asyncio.timeout(timeout):
                await self._check([fit_id])
                await ended.wait()
        except TimeoutError:
            return
        finally:
            self._waiters[fit_id].discard(ended)
            if not self._waiters[fit_id]:
                del self._waiters[fit_id]

    async def _listen(self) -> None:
        while not self._is_stopped:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(KEYS["ENDED_CHANNEL"])
                    await self._check(list(self._waiters))
                    async for message in subscription.listen():
                        self._notify(message["data"].decode())
            except (RedisError, OSError) as error:
                log.warning("ended_listener_lost", reason=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _check(self, fit_ids: Iterable[str]) -> None:
        """Notify the waiters of fits that have ended already. If Redis does not respond, `_listen` checks again."""
        try:
            for fit_id in fit_ids:
                if self._is_stopped:
                    return
                status = await self._client.hget(KEYS["FIT"] + fit_id, "status")
                if status is None or status in _ENDED:
                    self._notify(fit_id)
        except (RedisError, OSError) as error:
            log.warning("ended_listener_cannot_look", reason=type(error).__name__)

    def _notify(self, fit_id: str) -> None:
        for ended in self._waiters.get(fit_id, ()):
            ended.set()
