"""Every public name of the library has an example in its docstring, and the examples in docstrings work as printed."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import odelib

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "odelib").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
EXAMPLES = [
    test
    for module in MODULES
    for test in doctest.DocTestFinder().find(importlib.import_module(module))
    if test.examples
]


@pytest.mark.parametrize("name", odelib.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    assert doctest.DocTestParser().get_examples(inspect.getdoc(getattr(odelib, name)) or "")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_examples_work_as_printed(example: doctest.DocTest) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    runner.run(example, out=report.append)

    assert report == [], "".join(report)
