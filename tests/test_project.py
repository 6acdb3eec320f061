"""The repository as a whole: the docs name everything, no file names a machine or a registry, versions agree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from typing import get_args

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.stages import Stage
from service.settings import ServiceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPENAPI = json.loads((ROOT / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = [f"{method.upper()} {path}" for path, operations in OPENAPI["paths"].items() for method in operations]
SETTINGS = sorted(
    f"ODEFIT_{name.upper()}" for settings in (ServiceSettings, WorkerSettings) for name in settings.model_fields
)
STAGES = [get_args(stage.model_fields["kind"].annotation)[0] for stage in get_args(get_args(Stage.__value__)[0])]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def docs() -> str:
    """Return the text of all pages for users and developers."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@cache
def sources() -> dict[str, str]:
    """Return the text files of the working tree that are committed or may be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    texts = {}
    for name in listed:
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            texts[name] = content.decode("utf-8")
    return texts


def places(words: set[str]) -> list[str]:
    """Return the lines of the sources that contain one of the words."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in sources().items()
        if any(word in text for word in words)
        for number, line in enumerate(text.splitlines(), 1)
        if any(word in line for word in words)
    ]


def pins() -> dict[str, str]:
    """Return the versions in `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert [str(each) for each in requirements if not re.fullmatch(r"==[\w.]+", str(each.specifier))] == []
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_route_is_in_the_docs(operation: str) -> None:
    method, path = operation.split()
    pattern = re.escape(method) + r"\s+`?" + re.sub(r"\\\{\w+\\\}", r"\\{\\w+\\}", re.escape(path)) + r"(?![\w/{])"

    assert re.search(pattern, docs()), f"no page mentions `{operation}`"


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_in_the_docs(setting: str) -> None:
    assert f"`{setting}`" in docs()


@pytest.mark.parametrize("name", [*CATALOGUE, *STAGES])
def test_every_system_and_stage_is_in_the_docs(name: str) -> None:
    assert f"`{name}`" in docs()


def test_every_setting_in_the_docs_exists() -> None:
    of_the_stack = {"ODEFIT_PORT", "ODEFIT_URL"}  # read by docker-compose.yml and `odefit submit`
    named = set(re.findall(r"\bODEFIT_[A-Z_]*[A-Z]\b", docs()))

    assert named - set(SETTINGS) - of_the_stack == set()


def test_links_between_pages_lead_to_files() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []


def test_files_named_in_the_docs_exist() -> None:
    texts = {page: page.read_text(encoding="utf-8").split("\n## What comes next\n")[0] for page in PAGES}
    missing = {
        f"{page.relative_to(ROOT)}: {name}"
        for page, text in texts.items()
        if not page.name.startswith("how-to-")  # these name files to create
        for name in re.findall(r"`((?:odelib|worker|service|tests|docs|bench|examples)/[\w/.-]+)`", text)
        if not (ROOT / name).exists()
    }

    assert missing - {"docs/tutorial.md: examples/output/"} == set()  # made by `make examples`


def test_targets_of_make_named_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ *)make ([a-z-]+)", docs(), re.MULTILINE))

    assert "demo" in named
    assert named - targets == set()


def test_no_file_names_a_package_registry() -> None:
    hosts = {"py" + "pi.org", "python" + "hosted", "download.py" + "torch", "simple" + "/py", "registry." + "npmjs"}

    assert places(hosts) == []


def test_no_file_names_a_folder_of_this_machine() -> None:
    folders = {ROOT, Path.home(), ROOT.parent} - {Path("/"), Path(tempfile.gettempdir())}

    assert places({f"{folder}/" for folder in folders}) == []


def test_the_changelog_has_the_current_version() -> None:
    assert f"\n## {PROJECT['version']}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_citation_has_the_current_version_and_names_the_article() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert citation["version"] == PROJECT["version"]
    assert [each["title"] for each in citation["references"]] == ["Differential Equations as a Neural Network Layer"]


def test_hooks_before_a_commit_use_tools_of_the_environment() -> None:
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"] for hook in repository["hooks"]]
    tools = [tool for entry in entries for tool in re.findall(r"\.venv/bin/([\w-]+)", entry)]

    assert repository["repo"] == "local"
    assert len(tools) == len(entries)
    assert [tool for tool in tools if not (Path(sys.executable).parent / tool).exists()] == []


def test_the_workflow_covers_each_supported_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]

    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert versions == ["3.11", "3.12", "3.13"]


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem
)
def test_forms_for_issues_have_what_github_requires(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    fields = [field for field in content["body"] if field["type"] != "markdown"]

    assert {"name", "description", "body"} <= content.keys()
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_quick_tests_exist() -> None:
    quick = re.search(
        r"^QUICK := \$\(addprefix tests/,([^)]*)\)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M
    )

    assert quick is not None
    assert [name for name in quick[1].replace("\\", "").split() if not (ROOT / "tests" / name).exists()] == []


def test_the_constraints_pin_every_dependency_and_no_build_of_torch() -> None:
    extras = PROJECT["optional-dependencies"]
    named = [Requirement(line) for line in [*PROJECT["dependencies"], *chain(*extras.values())]]
    needed = {canonicalize_name(each.name) for each in named} - {PROJECT["name"]}

    assert needed - pins().keys() == set()
    assert {"torch", "setuptools"} <= pins().keys()  # torch needs setuptools, which `pip freeze` leaves out
    assert "+" not in pins()["torch"]


def test_there_is_one_lock_file() -> None:
    assert [name for name in sources() if Path(name).name in {"uv.lock", "poetry.lock", "Pipfile.lock"}] == []
