"""Compiled kernels on disk: loaded by other processes, written by several at once, repaired if damaged."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from odelib import ODELayer
from odelib.engines.compiled import cache
from odelib.engines.compiled.cache import CacheError, load
from odelib.engines.compiled.codegen import KernelSource

SECONDS = 120  # that a process may take, on a busy machine
FUNCTIONS = ("rates", "jacobian", "rates_with_sensitivities")
# prints a number of kernels that were found compiled, and dx/dt = -k·x at 2 with k = 0.5
OTHER_PROCESS = """
import ctypes, sys
from pathlib import Path
from odelib.engines.compiled.cache import load
module = load(Path(sys.argv[2]).read_text(encoding="utf-8"), Path(sys.argv[1]))
real, place = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64)
kind = ctypes.CFUNCTYPE(None, ctypes.c_double, real, real, ctypes.c_int64, place, real, real)
out = (ctypes.c_double * 1)()
kind(module.rates.address)(0.0, (ctypes.c_double * 1)(2.0), (ctypes.c_double * 1)(0.5), 0, None, None, out)
kernels = [module.rates, module.jacobian, module.rates_with_sensitivities]
print(sum(kernel.cache_hits for kernel in kernels), out[0])
"""


@pytest.fixture(scope="module")
def text() -> str:
    """The kernels of an exponential decay."""
    layer = ODELayer({"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}}, engine="compiled")
    return KernelSource(layer.system).text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "odefit" / "kernels"


def start(folder: Path, text: str) -> subprocess.Popen[str]:
    """A process that loads the kernels from the folder."""
    source = folder.parent.parent / "text"
    source.write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), str(source)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, float]:
    """How many of the three kernels it found compiled, and what it computed."""
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    found, value = out.split()
    return int(found), float(value)


def compiled(folder: Path) -> dict[str, int]:
    """The compiled files with the times of their last change."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / "__pycache__").glob("*.nb?")}


def test_a_second_process_compiles_nothing(folder: Path, text: str) -> None:
    assert finish(start(folder, text)) == (0, -1.0)
    before = compiled(folder)
    assert len([name for name in before if name.endswith(".nbc")]) == len(FUNCTIONS)
    assert finish(start(folder, text)) == (3, -1.0)
    assert compiled(folder) == before


def test_several_processes_at_once_write_the_same_kernels(folder: Path, text: str) -> None:
    processes = [start(folder, text) for _ in range(3)]
    assert [value for _, value in map(finish, processes)] == [-1.0] * 3
    assert finish(start(folder, text)) == (3, -1.0)
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("__pycache__/*.nbi", truncate),
        ("__pycache__/*.nbc", truncate),
        ("__pycache__/*.nbi", lambda file: file.write_bytes(b"")),
        ("__pycache__/*.nbc", lambda file: file.write_bytes(os.urandom(3000))),
        ("__pycache__/*.nbc", Path.unlink),
        ("*.py", truncate),
        ("*.py", lambda file: file.write_bytes(b"\xff\x00")),
        ("*.py", Path.unlink),
    ],
)
def test_damaged_files_are_written_again(
    pattern: str, damage: Callable[[Path], object], folder: Path, text: str
) -> None:
    load_anew(text, folder)
    files = list(folder.glob(pattern))
    assert files
    for file in files:
        damage(file)
    assert load_anew(text, folder) == -1.0
    (source,) = folder.glob("*.py")
    assert source.read_text(encoding="utf-8") == text
    # and from then on they are found again
    before = compiled(folder)
    load_anew(text, folder)
    assert compiled(folder) == before


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.startswith("odelib_kernels_")]:
        del sys.modules[name]


def load_anew(text: str, folder: Path) -> float:
    """Load the kernels as a new process would, and compute -0.5·2 with them."""
    forget_modules()
    module = load(text, folder)
    real, place = ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_int64)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_double, real, real, ctypes.c_int64, place, real, real)
    out = (ctypes.c_double * 1)()
    kind(module.rates.address)(0.0, (ctypes.c_double * 1)(2.0), (ctypes.c_double * 1)(0.5), 0, None, None, out)
    return out[0]


class TestWhoMayWrite:
    @pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
    def test_a_folder_that_others_can_write_to_is_rejected(self, mode: int, folder: Path) -> None:
        folder.mkdir(parents=True)
        folder.chmod(mode)
        with pytest.raises(CacheError, match="nobody else can write to or replace"):
            load("x = 1", folder)

    def test_a_folder_within_one_that_others_can_write_to_is_rejected(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        folder.parent.chmod(0o777)  # somebody could put another folder in its place
        with pytest.raises(CacheError, match="nobody else can write to or replace"):
            load("x = 1", folder)

    def test_a_folder_of_another_user_is_rejected(self, folder: Path) -> None:
        folder.mkdir(parents=True, mode=0o700)
        with (
            patch("os.getuid", return_value=os.getuid() + 1),
            pytest.raises(CacheError, match="must be a folder of this user"),
        ):
            load("x = 1", folder)

    def test_a_link_to_a_folder_is_rejected(self, folder: Path, tmp_path: Path) -> None:
        folder.parent.mkdir()
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CacheError, match="must be a folder of this user"):
            load("x = 1", folder)

    def test_a_file_in_place_of_the_folder_is_reported(self, folder: Path) -> None:
        folder.parent.mkdir()
        folder.write_text("")
        with pytest.raises(CacheError, match="cannot be stored in"):
            load("x = 1", folder)

    def test_new_folders_are_accessible_to_the_user_only(self, folder: Path) -> None:
        load("x = 2", folder)
        assert [part.stat().st_mode & 0o777 for part in (folder, folder.parent)] == [0o700, 0o700]


def test_the_number_of_kernels_is_bounded_and_the_least_recently_used_go_first(folder: Path) -> None:
    with patch.object(cache, "MAX_FILES", 3):
        for number in (1, 2, 3):
            load(f"number = {number}", folder)
            time.sleep(0.02)
        forget_modules()
        assert load("number = 1", folder).number == 1  # used again
        for number in (4, 5):
            time.sleep(0.02)
            load(f"number = {number}", folder)
    kept = {file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    assert kept == {"number = 1", "number = 4", "number = 5"}


def test_compiled_files_are_removed_with_their_source(folder: Path, text: str) -> None:
    load_anew(text, folder)
    assert compiled(folder)
    with patch.object(cache, "MAX_FILES", 1):
        time.sleep(0.02)
        load("number = 9", folder)
    assert compiled(folder) == {}


def test_a_file_that_another_process_removes_is_no_error(folder: Path) -> None:
    load("number = 10", folder)
    (folder / "odelib_kernels_gone.py").symlink_to(folder / "nowhere")  # found by name, but not there
    assert load("number = 11", folder).number == 11


def test_threads_wait_for_a_module_that_another_thread_loads(folder: Path) -> None:
    text = "import time\ntime.sleep(0.3)\nnumber = 12"
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(load(text, folder).number)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == [12] * 4


def test_a_module_that_fails_leaves_nothing_behind(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        load("1/0", folder)
    with pytest.raises(ZeroDivisionError):
        load("1/0", folder)
