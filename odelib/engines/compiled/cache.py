"""Generated kernels on disk: compiled once, found again by any later process of the same user.

The file's name is a hash of its text, so it is never out of date. It is written under another name and then
renamed: of several writers one wins, with the same text. The folder must belong to this user and be writable by
nobody else, for what lies there is executed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import llvmlite
import numba

from odelib.errors import OdelibError

MOST_FILES = 500  # of kernels kept; the least recently used go first
_PREFIX = "odelib_kernels_"


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
    if name in sys.modules:
        return sys.modules[name]
    _prepare(folder)
    path = folder / f"{name}.py"
    if not path.exists():
        _write(path, text)
        _forget_old(folder)
    else:
        os.utime(path)
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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise CacheError(f"{folder} must be a folder of this user that nobody else can write to; mend or remove it")


def _write(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".py")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).rename(path)


def _forget_old(folder: Path) -> None:
    files = sorted(folder.glob(f"{_PREFIX}*.py"), key=lambda file: file.stat().st_mtime)
    for file in files[:-MOST_FILES]:
        for part in [file, *(folder / "__pycache__").glob(f"{file.stem}.*")]:
            part.unlink(missing_ok=True)
