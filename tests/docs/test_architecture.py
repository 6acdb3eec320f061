"""The folders are those that docs/architecture.md names, and what it plans does not exist yet."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("odefit", "odelib", "worker", "service")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def named_folders() -> set[str]:
    """The paths of the tree of folders."""
    tree = section("The folders").split("```")[1]
    found: list[str] = []
    above: list[str] = []
    for indent, name in re.findall(r"^( *)(\w+)/", tree, re.MULTILINE):
        above = [*above[: len(indent) // 2], name]
        found.append("/".join(above))
    assert len(set(found)) == len(found)
    return set(found)


def folders(top: str) -> set[str]:
    """The paths of the folders with sources below `top`, itself included."""
    sources = [path for path in (ROOT / top).rglob("*") if path.suffix in (".py", ".lua")]
    return {
        str(above.relative_to(ROOT)) for path in sources for above in path.parents if above.is_relative_to(ROOT / top)
    }


def test_the_tree_names_every_folder_of_the_packages() -> None:
    existing = {folder for package in PACKAGES for folder in folders(package)}

    assert {name for name in named_folders() if not name.startswith("tests")} == existing


def test_every_folder_of_the_tests_mirrors_one_or_is_named() -> None:
    named = {name for name in named_folders() if name.startswith("tests")}
    existing = folders("tests")

    assert named - existing == set()
    assert {name for name in existing - named if not (ROOT / name.removeprefix("tests/")).is_dir()} == set()


@pytest.mark.parametrize(("package", "most"), [("odelib", 8), ("service", 5)])
def test_few_files_lie_outside_folders(package: str, most: int) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= most


def test_plans_do_not_exist_yet() -> None:
    planned = re.findall(r"`((?:odelib|worker|service|odefit|page)/[\w/.]*)`", section("What comes next"))

    assert planned
    assert [name for name in planned if (ROOT / name).exists() and name != "service/http/routes/"] == []


def test_the_layers_are_those_that_import_linter_checks() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    [layers] = [contract["layers"] for contract in contracts if contract.get("containers") == ["odelib"]]
    shown = [
        re.split(r"\s{2,}", line)[0] for line in section("The order of the layers").split("```")[1].strip().splitlines()
    ]

    assert [set(line.split(", ")) for line in shown] == [set(re.split(r"\s*[:|]\s*", layer)) for layer in layers]
