"""Generated kernels on disk: compiled once, then loaded by every later process of the same user.

A file is named by a hash of its text, so that it is never out of date. It is written under another name and renamed: if
several processes write it, one wins, with the same text. A file that a crash or a full disk has truncated is written
again. The folder must belong to this user, and nobody else may write to it, because its files are executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType

import llvmlite
import numba

from odelib.errors import OdelibError

MAX_FILES = 500  # beyond this the least recently used are removed
_PREFIX = "odelib_kernels_"
_LOADING = threading.Lock()  # a module is in sys.modules before it is complete: no other thread may find it there


class CacheError(OdelibError):
    """The folder for compiled kernels cannot be used; the message says why and what to change."""


def default_folder() -> Path:
    """The user's cache folder, or one in the system's temporary folder if there is no writable home."""
    home = Path.home() / ".cache"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home / "odefit" / "kernels"
    except OSError:
        pass  # no home, or a read-only one: use the temporary folder
    return Path(tempfile.gettempdir()) / f"odefit-{os.getuid()}" / "kernels"


def load(text: str, folder: Path | None = None) -> ModuleType:
    """The module with this text, from disk if it has been compiled before. Raises `CacheError`."""
    folder = folder or default_folder()
    stamp = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}"
    name = _PREFIX + hashlib.sha256(f"{stamp}\n{text}".encode()).hexdigest()[:32]
    with _LOADING:
        if name in sys.modules:
            return sys.modules[name]
        try:
            prepare(folder)
            return _load(name, folder / f"{name}.py", text)
        except OSError as error:
            raise CacheError(
                f"the compiled kernels cannot be stored in {folder}: {error}; free some space, or give this user write "
                "permission"
            ) from error


def _load(name: str, path: Path, text: str) -> ModuleType:
    _store(path, text)
    try:
        return _execute(name, path)
    except Exception:  # noqa: BLE001  a damaged file may raise anything
        _remove(path)
        _store(path, text)
        return _execute(name, path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CacheError(f"the kernels in {path} cannot be loaded; remove this file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it is executed: Numba's cache looks for it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def prepare(folder: Path) -> None:
    """Make the folder if there is none. Raises `CacheError` if others could write to it."""
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    parent, found = folder.parent.stat(), folder.lstat()
    is_parent_safe = parent.st_uid in (0, os.getuid()) and (not parent.st_mode & 0o022 or parent.st_mode & stat.S_ISVTX)
    if not is_parent_safe or found.st_uid != os.getuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise CacheError(
            f"{folder} must be a folder of this user that nobody else can write to or replace; fix this with chown and "
            "chmod go-w, or remove the folder"
        )


def _store(path: Path, text: str) -> None:
    """Write the file unless it has this text already, and record that it has been used."""
    try:
        is_complete = path.read_text(encoding="utf-8") == text
    except (FileNotFoundError, UnicodeDecodeError):
        is_complete = False
    if not is_complete:
        _write(path, text)
        _remove_old(path.parent)
    # set the time of the last use, but not that of the last change, by which Numba may recognise what it has compiled
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _write(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".py")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove_old(folder: Path) -> None:
    used: dict[Path, float] = {}
    for file in folder.glob(f"{_PREFIX}*.py"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            used[file] = file.stat().st_atime
    for file in sorted(used, key=lambda file: used[file])[:-MAX_FILES]:
        _remove(file)


def _remove(path: Path) -> None:
    for file in [path, *(path.parent / "__pycache__").glob(f"{path.stem}.*")]:
        file.unlink(missing_ok=True)
