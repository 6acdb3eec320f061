"""Large hostile bodies, many at a time: the API's memory stays bounded, and others are served meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil

from tests.processes import ApiProcess
from tests.service.requests import MINIMAL

SIZE = 16 * 2**20 - 1000  # the most that is read
MAX_MEGABYTES = 2500  # of two bodies as Python objects, and all that are held as bytes

BODIES = {
    "empty lists": (b"[" + b"[]," * (SIZE // 3) + b"[]]", 422),
    "empty objects": (b'{"data": {"times": [' + b"{}," * (SIZE // 3 - 10) + b"{}]}}", 422),
    "digits": (b'{"seed": ' + b"9" * SIZE + b"}", 422),
    "numbers": (b'{"data": {"times": [' + b"1," * (SIZE // 2 - 20) + b"1]}}", 422),
    "fields": (b'{"a0": 0' + b"".join(b', "a%d": 0' % i for i in range(1, 10**6)) + b"}", 422),
    "brackets": (b"[" * SIZE, 422),
    "spaces": (b" " * SIZE, 400),
    "text": (b'{"labels": {"a": "' + b"\\u00e9" * (SIZE // 6 - 10) + b'"}}', 422),
}


def test_the_memory_of_the_api_is_bounded(redis_url: str) -> None:
    with ApiProcess(redis_url) as api, api.client() as client, ThreadPoolExecutor(16) as pool:
        process, most = psutil.Process(api.pid), 0.0

        def post(body: bytes) -> int:
            headers = {"Content-Type": "application/json"}
            return httpx.post(f"{api.url}/fits", content=body, headers=headers, timeout=300).status_code

        answers = [(pool.submit(post, body), status) for body, status in [*BODIES.values()] * 2]
        while not all(answer.done() for answer, _ in answers):
            most = max(most, process.memory_info().rss / 2**20)
            assert client.get("/health/ready").status_code == 200
            assert client.post("/fits", json=MINIMAL).status_code == 202
        statuses = [answer.result() for answer, _ in answers]

    assert statuses == [status for _, status in answers]
    assert most < MAX_MEGABYTES
