"""A subscription to channels of Redis, in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import redis.asyncio
import structlog
from redis.exceptions import RedisError

RECONNECT_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Subscription:
    """Receives the messages of some channels, and subscribes again when Redis was away.

    receive: called with the channel and the text of each message. subscribed: called whenever messages begin to arrive;
    those of before may have been missed. lost: called when the connection breaks.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        channels: Sequence[str],
        *,
        receive: Callable[[str, str], None],
        subscribed: Callable[[], Awaitable[None]],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._channels = channels
        self._receive = receive
        self._subscribed = subscribed
        self._lost = lost
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen, whether Redis is available yet or not."""
        if self._task is None:
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            await end(self._task)
        self._task = None

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(*self._channels)
                    await self._subscribed()
                    async for message in subscription.listen():
                        self._receive(message["channel"].decode(), message["data"].decode())
            except (RedisError, OSError) as error:
                log.warning("subscription_lost", channels=list(self._channels), reason=type(error).__name__)
                self._lost()
            await asyncio.sleep(RECONNECT_SECONDS)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task that uses Redis, and wait for its end."""
    # More than once: redis-py swallows a cancellation that arrives while it connects.
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
