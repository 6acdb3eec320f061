"""The requests of the page's gallery: what their generator makes, and what the page's list names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.article import REQUESTS, to_text
from examples.gallery import MAKERS
from examples.gallery import REQUESTS as GALLERY
from odelib.problem.request import parse_problem
from tests.examples.test_experiments import measured, without_values

SHOWN = json.loads((Path(__file__).parents[2] / "page" / "gallery.json").read_text("utf-8"))


@pytest.mark.parametrize("name", MAKERS)
def test_each_file_is_what_the_code_makes(name: str) -> None:
    committed, made = json.loads((GALLERY / f"{name}.json").read_text("utf-8")), MAKERS[name]()

    assert without_values(committed) == without_values(made)
    np.testing.assert_allclose(measured(committed), measured(made), rtol=2e-5)
    assert (GALLERY / f"{name}.json").read_text("utf-8") == to_text(committed)


@pytest.mark.parametrize("entry", SHOWN, ids=lambda e: e["title"])
def test_each_example_of_the_page_is_accepted(entry: dict[str, str]) -> None:
    parse_problem(json.loads((REQUESTS / entry["file"]).read_text("utf-8")))
