"""Waiting for fits to end, and following their progress, without polling.

A process has one subscription in Redis, however many listeners wait for however many fits.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.exceptions import RedisError

from worker.settings import WorkerSettings
from worker.states import ENDED
from worker.store.connection import connect_async
from worker.store.keys import KEYS
from worker.store.scripts import script_text
from worker.subscription import RECONNECT_SECONDS, Subscription, end

_ENDED = frozenset(status.encode() for status in ENDED)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FitState:
    """What followers of a fit see.

    best: the best `parameters` and `initial_state` so far. losses: `[step, loss]`, by step. outcome: None without a
    result.
    """

    status: str
    progress: dict[str, Any] | None
    best: dict[str, dict[str, float]]
    losses: list[tuple[int, float]]
    outcome: str | None

    @property
    def has_ended(self) -> bool:
        """Whether this is the last state."""
        return self.status in ENDED


@dataclass
class Feed:
    """A fit that is followed. state: the latest; None if it is not known yet. is_gone: the fit was deleted.

    Followers share it, so that each needs only a little memory, however slowly it reads.
    """

    state: FitState | None = None
    is_gone: bool = False
    wakers: set[Callable[[], None]] = field(default_factory=set)

    def wake(self) -> None:
        """Tell all followers that the state is new."""
        for waker in list(self.wakers):
            waker()


class FitListener:
    """One subscription to the progress and the ends of fits, shared by all listeners of an event loop.

    It survives restarts of Redis: after subscribing again it reads all fits that are listened to.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._client = connect_async(settings.redis_url)
        self._follow = self._client.register_script(script_text("follow"))
        self._waiters: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._feeds: dict[str, Feed] = {}
        self._stale: dict[str, None] = {}  # followed fits whose state is to be read, in this order
        self._has_stale = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._is_stopped = False
        channels = (KEYS["ENDED_CHANNEL"], KEYS["PROGRESS_CHANNEL"])
        self._subscription = Subscription(
            self._client, channels, receive=self._receive, subscribed=self._read_what_was_missed
        )

    async def start(self) -> None:
        """Begin to listen, whether Redis is available yet or not."""
        self._is_stopped = False
        self._subscription.start()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_stale())

    async def stop(self) -> None:
        """Stop listening; remaining waiters wait until their timeout."""
        self._is_stopped = True
        await self._subscription.stop()
        if self._reading is not None:
            await end(self._reading)
        self._reading = None
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

    @contextmanager
    def follow(self, fit_id: str, wake: Callable[[], None]) -> Iterator[Feed]:
        """Yield the feed of a fit. wake: called, in the event loop, whenever its state is new."""
        feed = self._feeds.setdefault(fit_id, Feed())
        feed.wakers.add(wake)
        if feed.state is None:
            self._mark_stale([fit_id])
        else:
            wake()
        try:
            yield feed
        finally:
            feed.wakers.discard(wake)
            if not feed.wakers and self._feeds.get(fit_id) is feed:
                del self._feeds[fit_id]

    def wake_followers(self) -> None:
        """Wake all followers, because the service shuts down."""
        for feed in list(self._feeds.values()):
            feed.wake()

    def _receive(self, channel: str, fit_id: str) -> None:
        self._mark_stale([fit_id])
        if channel == KEYS["ENDED_CHANNEL"]:
            self._notify(fit_id)

    async def _read_what_was_missed(self) -> None:
        self._mark_stale(self._feeds)
        await self._check(list(self._waiters))

    async def _check(self, fit_ids: Iterable[str]) -> None:
        """Notify the waiters of fits that have ended already.

        If Redis does not respond, they are checked with the next subscription.
        """
        try:
            for fit_id in fit_ids:
                if self._is_stopped:
                    return
                status = await self._client.hget(KEYS["FIT"] + fit_id, "status")
                if status is None or status in _ENDED:
                    self._notify(fit_id)
        except (RedisError, OSError) as error:
            log.warning("fit_listener_cannot_look", reason=type(error).__name__)

    def _notify(self, fit_id: str) -> None:
        for ended in self._waiters.get(fit_id, ()):
            ended.set()

    def _mark_stale(self, fit_ids: Iterable[str]) -> None:
        self._stale |= dict.fromkeys(fit_id for fit_id in fit_ids if fit_id in self._feeds)
        if self._stale:
            self._has_stale.set()

    async def _read_stale(self) -> None:
        """Read the state of stale fits, once for all their followers."""
        while not self._is_stopped:
            await self._has_stale.wait()
            fit_id = next(iter(self._stale), None)
            if fit_id is None:
                self._has_stale.clear()
                continue
            del self._stale[fit_id]
            if (feed := self._feeds.get(fit_id)) is None:
                continue
            try:
                fields = await self._follow(args=[fit_id])
            except (RedisError, OSError) as error:
                log.warning("fit_listener_cannot_look", reason=type(error).__name__)
                self._stale[fit_id] = None
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            feed.state, feed.is_gone = _state_of(fields), not fields
            feed.wake()


def _state_of(fields: list[bytes | None] | None) -> FitState | None:
    if not fields:
        return None
    status, progress, best, losses, outcome = fields
    return FitState(
        status=(status or b"").decode(),
        progress=json.loads(progress) if progress else None,
        best=json.loads(best) if best else {"parameters": {}, "initial_state": {}},
        losses=json.loads(b"[%b]" % losses) if losses else [],
        outcome=outcome.decode() if outcome else None,
    )
