"""The queue of simulations, between the callers and the processes that answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing

import pytest

from tests.processes import kill_redis, redis_server
from tests.worker.conftest import Store, open_store
from worker.errors import SimulationBroke, SimulationFailed, SimulationTimeout, StoreFull, StoreUnavailable
from worker.settings import WorkerSettings
from worker.simulations.queue import FAILED, SUCCEEDED, SimulationQueue
from worker.store.keys import KEYS
from worker.store.simulations import SimulationStore

SOON = 5.0


@asynccontextmanager
async def queue_of(store: Store) -> AsyncIterator[SimulationQueue]:
    store.redis.zadd(KEYS["WORKERS"], {"pretended": 9e15})
    queue = SimulationQueue(store.settings)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.stop()


@pytest.fixture
def process(store: Store) -> Iterator[SimulationStore]:
    with closing(SimulationStore(store.settings)) as found:
        yield found


def take(process: SimulationStore) -> tuple[str, bytes]:
    found = process.next(SOON)
    assert found is not None
    return found


def remains(store: Store) -> list[bytes]:
    return [*store.redis.scan_iter(KEYS["SIMULATION"] + "*"), *store.redis.scan_iter(KEYS["SIMULATED"] + "*")]


def test_an_answer_reaches_its_caller_and_nothing_is_written_to_disk(store: Store, process: SimulationStore) -> None:
    def written() -> int:
        return int(store.redis.info("persistence")["aof_current_size"])

    async def main() -> None:
        async with queue_of(store) as queue:
            for _ in range(2):  # Redis writes the scripts themselves when they are first used
                before = written()
                asked = asyncio.create_task(queue.run(b"asked"))
                simulation, task = await asyncio.to_thread(take, process)
                assert task == b"asked"
                assert process.is_wanted(simulation)
                process.answer(simulation, SUCCEEDED + b"answered")
                assert await asked == b"answered"
            store.redis.set("the only write", "x")
            assert 0 < written() - before < 100

    asyncio.run(main())
    assert remains(store) == []


@pytest.mark.parametrize(("code", "expected"), [("internal", SimulationBroke), ("cannot_succeed", SimulationFailed)])
def test_a_failure_is_an_error_of_the_caller(
    store: Store, process: SimulationStore, code: str, expected: type[Exception]
) -> None:
    async def main() -> None:
        async with queue_of(store) as queue:
            asked = asyncio.create_task(queue.run(b"asked"))
            simulation, _ = await asyncio.to_thread(take, process)
            process.answer(simulation, FAILED + b'{"code":"%b","detail":"why"}' % code.encode())
            with pytest.raises(expected, match="why"):
                await asked

    asyncio.run(main())


def test_only_one_idle_process_is_woken(store: Store, process: SimulationStore) -> None:
    async def main() -> None:
        async with queue_of(store) as queue:
            waits = [asyncio.create_task(asyncio.to_thread(each.next, SOON)) for each in (process, another)]
            while store.redis.zcard(KEYS["IDLE_SIMULATORS"]) < 2:
                await asyncio.sleep(0.01)
            asked = asyncio.create_task(queue.run(b"asked"))
            done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            assert len(waiting) == 1
            simulation, _ = done.pop().result() or ("", b"")
            assert store.redis.zcard(KEYS["IDLE_SIMULATORS"]) == 1
            process.answer(simulation, SUCCEEDED)
            await asked
            assert await waiting.pop() is None

    with closing(SimulationStore(store.settings)) as another:
        asyncio.run(main())


def test_a_process_that_has_ended_is_passed_over(store: Store, process: SimulationStore) -> None:
    async def main() -> None:
        async with queue_of(store) as queue:
            waits = asyncio.create_task(asyncio.to_thread(process.next, 60.0))
            while not store.redis.zcard(KEYS["IDLE_SIMULATORS"]):
                await asyncio.sleep(0.01)
            store.redis.zadd(KEYS["IDLE_SIMULATORS"], {KEYS["SIMULATOR_CHANNEL"] + "ended": 9e15})
            began = time.monotonic()
            asked = asyncio.create_task(queue.run(b"asked"))
            simulation, _ = await waits or ("", b"")
            assert time.monotonic() - began < SOON
            process.answer(simulation, SUCCEEDED)
            await asked

    asyncio.run(main())


def test_a_caller_that_goes_away_or_waits_in_vain_leaves_nothing(store: Store, process: SimulationStore) -> None:
    patient = WorkerSettings(redis_url=store.settings.redis_url, simulation_seconds=0.2)

    async def main() -> None:
        async with queue_of(store) as queue:
            asked = asyncio.create_task(queue.run(b"asked"))
            simulation, _ = await asyncio.to_thread(take, process)
            asked.cancel()
            await asyncio.wait([asked])
            assert not process.is_wanted(simulation)
            process.answer(simulation, SUCCEEDED)  # nobody reads it
        queue = SimulationQueue(patient)
        with pytest.raises(SimulationTimeout):
            await queue.run(b"asked")
        await queue.stop()

    asyncio.run(main())
    assert remains(store) == []
    assert process.waiting() == 0


def test_full_memory_refuses_simulations_but_no_answers(store: Store, process: SimulationStore) -> None:
    async def main() -> None:
        async with queue_of(store) as queue:
            asked = asyncio.create_task(queue.run(b"asked"))
            simulation, _ = await asyncio.to_thread(take, process)
            store.redis.config_set("maxmemory", "1")
            try:
                with pytest.raises(StoreFull):
                    await queue.run(b"another")
                process.answer(simulation, SUCCEEDED + b"x" * 10_000)
                assert len(await asked) == 10_000
            finally:
                store.redis.config_set("maxmemory", "0")

    asyncio.run(main())
    assert remains(store) == []


def test_a_simulation_that_redis_lost_is_told_at_once() -> None:
    with redis_server() as server:
        store = open_store(server.url)

        async def main() -> None:
            async with queue_of(store) as queue:
                asked = asyncio.create_task(queue.run(b"asked"))
                await asyncio.to_thread(take, process)
                began = time.monotonic()
                await asyncio.to_thread(kill_redis, server)
                with pytest.raises(StoreUnavailable):
                    await asked
                assert time.monotonic() - began < SOON
                with pytest.raises(StoreUnavailable):
                    process.next(0.1)
                await asyncio.to_thread(server.start)
                again = asyncio.create_task(queue.run(b"again"))
                simulation, task = await asyncio.to_thread(take, process)
                assert task == b"again"
                process.answer(simulation, SUCCEEDED + b"answered")
                assert await again == b"answered"

        with closing(SimulationStore(store.settings)) as process:
            asyncio.run(main())
