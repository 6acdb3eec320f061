"""The Python client on a real service with a worker."""

from __future__ import annotations

import asyncio
import doctest
import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import odefit.events
import odefit.result
from odefit import AsyncClient, Client, ClientClosed, FitFailed, InvalidRequest, NotFound, ServiceUnavailable
from odefit.requests import plain
from tests.end_to_end.conftest import Stack, stack  # noqa: F401
from tests.service.requests import DECAY, REMOVED, changed

LONG = changed(
    DECAY, "/stages", [{"kind": "adam", "steps": 150, "learning_rate": 1e-4}], "/solver", {"engine": "torchdiffeq"}
)  # fmt: skip
ENDLESS = changed(DECAY, "/stages", [{"kind": "adam", "steps": 10**8, "learning_rate": 1e-9}])


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:  # noqa: F811
    with Client(stack.url, retry_seconds=300) as found:  # the first plot waits for the process that draws
        yield found


def test_importing_it_loads_no_numerics() -> None:
    program = "import odefit, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    forbidden = {"numpy", "pandas", "torch", "scipy", "matplotlib", "odelib", "service", "worker", "pydantic", "redis"}

    assert forbidden & set(json.loads(loaded.stdout)) == set()


def test_a_fit_is_waited_for_and_read(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    fit = client.fit(changed(DECAY, "/uncertainty", "covariance", "/labels", {"who": "client"})).wait(progress=True)
    result = fit.result

    assert (fit.status, fit.has_ended, result.converged) == ("succeeded", True, True)
    assert result.parameters["k"] == pytest.approx(0.734, abs=0.01)
    arrays = result.arrays()
    assert arrays["times"].tolist() == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(arrays["seen"], 2 * arrays["x"])
    frame = result.frame(dense=True)
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == ["x", "seen"]
    assert result.estimates().loc[("parameters", "k"), "value"] == result.parameters["k"]
    assert result.covariance().shape == (1, 1)
    assert result.plot().axes
    assert client.get(fit.id).result == result
    assert [found.id for found in client.fits(labels={"who": "client"})] == [fit.id]
    assert fit.csv().startswith("experiment,time,x,")
    assert "<svg" in fit.svg("residuals")
    fit.delete()
    with pytest.raises(NotFound):
        client.get(fit.id)


def test_arrays_of_numpy_can_be_sent(client: Client) -> None:
    times, values = np.array([0.0, 1.0, 2.0]), np.array([4.0, np.nan, 1.0])
    fit = client.fit(changed(DECAY, "/data", {"times": times, "values": {"seen": pd.Series(values)}}))

    assert fit.problem()["request"]["data"]["values"]["seen"] == [4.0, None, 1.0]
    assert plain({"a": (1, np.float64(2.0))}) == {"a": [1, 2.0]}


def test_mistakes_have_pointers(client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.fit(changed(DECAY, "/parameters/k/guess", 9.0, "/data/times/2", 0.5))

    assert sorted(caught.value.pointers) == ["/data/times/2", "/parameters/k/guess"]
    assert "/data/times/2: times must not decrease" in str(caught.value)
    assert client.validate(DECAY)["seed"] == 0


def test_events_are_iterated_to_the_end(client: Client) -> None:
    events = list(client.fit(LONG).events())

    assert [event.kind for event in events][-1] == "finished"
    steps = [step for event in events[:-1] for step, _ in event.data["losses"]]
    assert steps == list(range(1, 151))


def test_a_cancelled_fit_is_an_exception(client: Client) -> None:
    fit = client.fit(ENDLESS)
    with pytest.raises(TimeoutError):
        fit.wait(timeout=0.3)
    fit.cancel()
    with pytest.raises(FitFailed) as caught:
        fit.wait(timeout=60)
    assert caught.value.fit["status"] == "cancelled"


def test_simulations_and_systems(client: Client) -> None:
    [trajectory] = client.simulate(changed(DECAY, "/data/values", REMOVED, "/data/sigma", REMOVED))["trajectories"]

    assert trajectory["states"]["x"][0] == 2.0
    assert "lorenz" in [system["name"] for system in client.systems()]


def test_without_a_service() -> None:
    with Client("http://127.0.0.1:9", retry_seconds=0.1) as nobody, pytest.raises(ServiceUnavailable):
        nobody.systems()


def test_a_result_outlives_its_client_and_a_closed_client_says_so(stack: Stack) -> None:  # noqa: F811
    with Client(stack.url) as closed:
        fit = closed.fit(DECAY).wait(60)

    assert fit.result.converged
    for ask in (fit.refresh, fit.result.plot, lambda: next(fit.events()), closed.systems):
        with pytest.raises(ClientClosed, match="this client is closed"):
            ask()


def test_lists_have_any_length(client: Client) -> None:
    ids = [client.fit(changed(DECAY, "/labels", {"list": "1"}, "/seed", seed)).id for seed in range(3)]

    assert [fit.id for fit in client.fits(labels={"list": "1"})] == ids[::-1]
    assert [fit.id for fit in client.fits(labels={"list": "1"}, limit=2)] == ids[:0:-1]


def test_the_client_for_asyncio_has_the_same_methods(stack: Stack) -> None:  # noqa: F811
    async def main() -> None:
        async with AsyncClient(stack.url) as client:
            fits = [await client.fit(changed(DECAY, "/seed", seed)) for seed in range(3)]
            await asyncio.gather(*(fit.wait(60) for fit in fits))
            assert {(await fit.result()).converged for fit in fits} == {True}
            kinds = [event.kind async for event in (await client.fit(LONG)).events()]
            assert kinds[-1] == "finished"
            with pytest.raises(InvalidRequest):
                await client.fit({"system": "lorenz"})
            cancelled = await (await client.fit(ENDLESS)).cancel()
            with pytest.raises(FitFailed):
                await cancelled.wait(60)
            assert [fit.id async for fit in client.fits(limit=1)] == [cancelled.id]

    asyncio.run(main())


def test_the_examples_in_the_docstrings_work() -> None:
    assert doctest.testmod(odefit.events).failed == 0
    assert doctest.testmod(odefit.result).failed == 0
