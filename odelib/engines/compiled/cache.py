"""Generated kernels on disk: compiled once, found again by any later process of the same user.

The file's name is a hash of its text, so it is never out of date. It is written under another name and then
renamed: of several writers one wins, with the same text. What a crash or a full disk has cut short is made anew. The
folder must belong to this user and be writable by nobody else, for what lies there is executed.
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

MAX_FILES = 500  # of kernels kept; the least recently used go first
_PREFIX = "odelib_kernels_"
_LOADING = threading.Lock()  # a module is in sys.modules before it is complete: nobody else may find it there


class CacheError(OdelibError):
    """The folder for compiled kernels cannot be used; the message says why and what to do."""


def default_folder() -> Path:
    """The user's own cache folder, or one in the system's temporary folder where there is no home to write to."""
    home = Path.home() / ".cache"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if os.access(home, os.W_OK):
            return home / "odefit" / "kernels"
    except OSError:
        pass  # no home, or a read-only one: the temporary folder serves as well
    return Path(tempfile.gettempdir()) / f"odefit-{os.getuid()}" / "kernels"


def load(text: str, folder: Path | None = None) -> ModuleType:
    """The module of this text, from disk where it has been compiled before. Raises `CacheError`."""
    folder = folder or default_folder()
    stamp = f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}"
    name = _PREFIX + hashlib.sha256(f"{stamp}\n{text}".encode()).hexdigest()[:32]
    with _LOADING:
        if name in sys.modules:
            return sys.modules[name]
        try:
            _prepare(folder)
            return _load(name, folder / f"{name}.py", text)
        except OSError as error:
            raise CacheError(
                f"the compiled kernels cannot be kept in {folder}: {error}; make room there, or make it a folder "
                "that this user can write to"
            ) from error


def _load(name: str, path: Path, text: str) -> ModuleType:
    _keep(path, text)
    try:
        return _execute(name, path)
    except Exception:  # noqa: BLE001  what is read back from a damaged file raises anything
        _forget(path)
        _keep(path, text)
        return _execute(name, path)


def _execute(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CacheError(f"the kernels in {path} cannot be loaded; remove the file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: Numba's own cache needs to find it there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _prepare(folder: Path) -> None:
    for part in (folder.parent, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    above, found = folder.parent.stat(), folder.lstat()
    safe_above = above.st_uid in (0, os.getuid()) and (not above.st_mode & 0o022 or above.st_mode & stat.S_ISVTX)
    if not safe_above or found.st_uid != os.getuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise CacheError(
            f"{folder} must be a folder of this user that nobody else can write to or replace; mend it with "
            "chown and chmod go-w, or remove it"
        )


def _keep(path: Path, text: str) -> None:
    """Make sure that the file is there with this text, and note that it has been used."""
    try:
        whole = path.read_text(encoding="utf-8") == text
    except (FileNotFoundError, UnicodeDecodeError):
        whole = False
    if not whole:
        _write(path, text)
        _forget_old(path.parent)
    # the time of its last use; that of its last change is part of the stamp of what has been compiled from it
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


def _forget_old(folder: Path) -> None:
    used: dict[Path, float] = {}
    for file in folder.glob(f"{_PREFIX}*.py"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            used[file] = file.stat().st_atime
    for file in sorted(used, key=lambda file: used[file])[:-MAX_FILES]:
        _forget(file)


def _forget(path: Path) -> None:
    for part in [path, *(path.parent / "__pycache__").glob(f"{path.stem}.*")]:
        part.unlink(missing_ok=True)
