"""Waiting for the end of fits."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.processes import kill_redis, redis_server
from tests.worker.conftest import Store, open_store
from worker.attempt_endings import Ending
from worker.fit_listener import FitListener
from worker.store.records import FitFilter

LONG = 60.0


async def end(store: Store, *, after: float) -> None:
    await asyncio.sleep(after)
    claim = await asyncio.to_thread(store.claim)
    await asyncio.to_thread(store.leases.finish, claim, Ending("succeeded", "{}"), "")


async def waited(listener: FitListener, fit_id: str, timeout: float) -> float:
    began = time.monotonic()
    await listener.wait(fit_id, timeout)
    return time.monotonic() - began


@pytest.mark.parametrize("after", [0.0, 0.5])
def test_all_waiters_are_notified_of_the_end(store: Store, after: float) -> None:
    async def main() -> None:
        listener = FitListener(store.settings)
        await listener.start()
        fit_id = store.submit().record.id
        *times, _ = await asyncio.gather(*(waited(listener, fit_id, LONG) for _ in range(20)), end(store, after=after))
        assert max(times) < LONG
        await listener.stop()

    asyncio.run(main())
    assert store.fits.list(FitFilter(status="succeeded"), limit=1, cursor=None).fits != []


def test_ended_and_unknown_fits_are_not_waited_for(store: Store) -> None:
    async def main() -> None:
        listener = FitListener(store.settings)
        await listener.start()
        fit_id = store.submit().record.id
        await end(store, after=0)
        assert await waited(listener, fit_id, LONG) < LONG
        assert await waited(listener, "no such fit", LONG) < LONG
        await listener.stop()

    asyncio.run(main())


def test_the_timeout_ends_the_wait(store: Store) -> None:
    async def main() -> None:
        listener = FitListener(store.settings)
        await listener.start()
        fit_id = store.submit().record.id
        assert 0.3 <= await waited(listener, fit_id, 0.3) < LONG
        await listener.stop()
        assert 0.3 <= await waited(listener, fit_id, 0.3) < LONG

    asyncio.run(main())


def test_an_end_while_redis_was_away_is_not_missed() -> None:
    with redis_server() as server:
        store = open_store(server.url)

        async def main() -> None:
            listener = FitListener(store.settings)
            await listener.start()
            fit_id = store.submit().record.id
            wait = asyncio.create_task(waited(listener, fit_id, LONG))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(kill_redis, server)
            late = asyncio.create_task(waited(listener, fit_id, LONG))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
            await end(store, after=0)
            assert await wait < LONG
            assert await late < LONG
            await listener.stop()

        asyncio.run(main())


def test_without_redis_it_waits() -> None:
    async def main() -> None:
        listener = FitListener(open_store("unix:///no/such/socket").settings)
        await listener.start()
        assert 0.3 <= await waited(listener, "x", 0.3) < LONG
        await listener.stop()

    asyncio.run(main())
