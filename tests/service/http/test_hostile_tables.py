"""Hostile bodies by category, each with the status and the pointers it must get.

The tables under `hostile/` are written by hand from the description of the interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service.hostile import expressions, letters, likelihoods, names, numbers, shapes
from tests.service.hostile.case import Case
from tests.service.requests import MINIMAL, pointers, problem

MODULES = (letters, numbers, expressions, names, shapes, likelihoods)
CODES = {400: "malformed_json", 422: "invalid_request"}
CATEGORIES = {
    f"{module.__name__.rpartition('.')[2]}.{name.lower()}": table
    for module in MODULES
    for name, table in vars(module).items()
    if name.isupper() and name != "CASES" and isinstance(table, list)
    if table and isinstance(table[0], Case)
}


def test_every_case_is_in_a_category_and_there_are_enough_of_them() -> None:
    cases = [case for module in MODULES for case in module.CASES]

    assert sum(map(len, CATEGORIES.values())) == len(cases) >= 300
    assert len({case.body for case in cases}) > len(cases) - 20  # hardly one stands in two tables


@pytest.mark.parametrize("cases", CATEGORIES.values(), ids=CATEGORIES)
def test_each_gets_its_status_and_its_pointers(client: httpx.Client, cases: Sequence[Case]) -> None:
    wrong = [f"{case.body[:300]!r}: {said}" for case in cases if (said := mismatch(client, case))]

    assert wrong == []
    assert client.get("/health/ready").status_code == 200
    assert client.post("/fits", json=MINIMAL).status_code == 202


def mismatch(client: httpx.Client, case: Case) -> str:
    """Return what is wrong with the response, "" if nothing is."""
    answer = client.post("/fits", content=case.body, headers={"Content-Type": "application/json"})
    if answer.status_code != case.status:
        return f"{answer.status_code} in place of {case.status}: {answer.text[:300]}"
    if case.status == 202:
        return ""
    body = problem(answer, case.status, CODES[case.status])
    found = set(pointers(body)) if case.status == 422 else set()
    return "" if found == set(case.pointers) else f"{sorted(found)} in place of {case.pointers}: {answer.text[:300]}"


def test_others_are_served_beside_the_largest(client: httpx.Client) -> None:
    largest = sorted(shapes.CASES, key=lambda case: len(case.body))[-8:]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(mismatch, client, case) for case in largest]
        while not all(answer.done() for answer in answers):
            assert client.get("/health/ready", timeout=20).status_code == 200
            assert client.post("/fits", json=MINIMAL, timeout=20).status_code == 202

    assert [answer.result() for answer in answers] == [""] * 8
