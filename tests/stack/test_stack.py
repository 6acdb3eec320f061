"""The compose stack as a user starts it: fits over the published port, and containers killed under them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.problems import article_problem, decay_request
from tests.processes import wait_for
from tests.stack.containers import ComposeStack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1800, func_only=True)]

FIT_SECONDS = 600.0
ENDED = {"succeeded", "failed", "cancelled"}


def submit(client: httpx.Client, request: dict[str, Any]) -> str:
    answer = client.post("/fits", json=request)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(client: httpx.Client, fit_id: str) -> dict[str, Any]:
    answer = client.get(f"/fits/{fit_id}")
    assert answer.status_code == 200, answer.text
    fit: dict[str, Any] = answer.json()
    return fit


def finished(client: httpx.Client, fit_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        fit = read(client, fit_id)
        return fit if fit["status"] in ENDED else None

    fit = wait_for(ended, FIT_SECONDS, f"the end of fit {fit_id}")
    assert fit is not None
    return fit


def test_without_the_key_nobody_fits(stack: ComposeStack, client: httpx.Client) -> None:
    answer = httpx.post(f"{stack.url}/fits", json=decay_request(), timeout=30)

    assert answer.status_code == 401
    assert httpx.get(f"{stack.url}/health/live", timeout=30).status_code == 200


def test_the_api_and_the_worker_do_not_run_as_root(stack: ComposeStack) -> None:
    assert stack.execute("api", "id", "-u").strip() == "10001"
    assert stack.execute("worker", "id", "-u").strip() == "10001"


@pytest.mark.parametrize("service", ["api", "worker", "redis"])
def test_only_temporary_files_and_volumes_can_be_written(stack: ComposeStack, service: str) -> None:
    for folder in ("/etc", "/usr/bin"):
        attempt = f"(echo x > {folder}/x) 2>&1 || true"
        assert "Read-only file system" in stack.execute(service, "sh", "-c", attempt)


def test_the_page_the_documentation_and_the_document_are_served(client: httpx.Client) -> None:
    for path, kind in {"/": "text/html", "/docs": "text/html", "/openapi.json": "application/json"}.items():
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)


def test_what_a_worker_compiles_stays_in_a_volume(stack: ComposeStack, client: httpx.Client) -> None:
    fit = finished(client, submit(client, article_problem("lotka-volterra").request))
    assert fit["status"] == "succeeded"
    assert client.get(f"/fits/{fit['id']}/plot.svg").status_code == 200

    found = stack.execute("worker", "find", "/var/lib/odefit/.cache", "-name", "*.nbc").split()
    assert any("/odefit/kernels/" in path for path in found), "the equations"
    assert any("/numba/" in path for path in found), "the solvers"
    mounts = [line.split() for line in stack.execute("worker", "cat", "/proc/mounts").splitlines()]
    kinds = {mount[1]: mount[2] for mount in mounts}
    assert "/var/lib/odefit" in kinds
    assert kinds["/tmp"] == "tmpfs"


def test_redis_asks_for_the_password_and_writes_every_fit_to_disk(stack: ComposeStack) -> None:
    assert "NOAUTH" in stack.execute("redis", "env", "-u", "REDISCLI_AUTH", "redis-cli", "ping")
    for setting, value in {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}.items():
        assert stack.execute("redis", "redis-cli", "config", "get", setting).split() == [setting, value]


def test_a_worker_killed_in_the_middle_of_its_fits_loses_nothing(stack: ComposeStack, client: httpx.Client) -> None:
    steps = 200
    slowly = {"solver": {"engine": "torchdiffeq"}, "stages": [{"kind": "adam", "steps": steps}]}
    request = article_problem("lotka-volterra").request | slowly
    running = submit(client, request)
    waiting = [submit(client, decay_request(labels={"number": str(number)})) for number in range(40)]
    wait_for(lambda: read(client, running).get("progress", {}).get("step", 0) >= steps // 2, FIT_SECONDS, "a half")

    stack.kill("worker")
    others = [submit(client, decay_request()) for _ in range(5)]
    assert read(client, running)["status"] in {"running", "queued"}
    stack.start("worker")

    seen: list[int] = []

    def has_ended() -> bool:
        fit = read(client, running)
        if fit["attempts"] == 2 and fit["status"] == "running" and "progress" in fit:
            seen.append(fit["progress"]["step"])
        return fit["status"] in ENDED

    wait_for(has_ended, FIT_SECONDS, "the end of the fit whose worker was killed")
    fit = read(client, running)
    assert (fit["status"], fit["attempts"]) == ("succeeded", 2)
    assert fit["result"]["stages"][0]["steps"] == steps
    assert min(seen) >= steps // 4, "the second attempt did not go on from the checkpoint"
    assert {finished(client, fit_id)["status"] for fit_id in waiting + others} == {"succeeded"}


def test_redis_killed_and_started_again_has_every_fit(stack: ComposeStack, client: httpx.Client) -> None:
    before = finished(client, submit(client, decay_request()))
    accepted = [submit(client, decay_request()) for _ in range(20)]

    stack.kill("redis")
    assert client.get("/health/ready").status_code == 503
    stack.start("redis")
    wait_for(lambda: client.get("/health/ready").status_code == 200, FIT_SECONDS, "a ready service")

    assert read(client, before["id"]) == before
    assert {finished(client, fit_id)["status"] for fit_id in accepted} == {"succeeded"}
