"""The decorators of the functions that Numba compiles.

Numba keeps compiled functions on disk and compiles them again if their file changes, but not if a function that they
call changes in another file: a loop compiled with an old tableau would go on being used. So each is stamped with the
sources of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])
_FOLDER = Path(__file__).parent


def _sources() -> str:
    """A hash of the files whose code is compiled together."""
    files = [file for folder in (_FOLDER, _FOLDER.parent / "tableaus") for file in sorted(folder.glob("*.py"))]
    files += [_FOLDER.parent / "switching_times.py", _FOLDER.parent / "schedules" / "schedule.py"]  # their constants
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


_SOURCES = _sources()


def _load_or_forget(load_index: Callable[[], dict[Any, Any]]) -> Callable[[], dict[Any, Any]]:
    """Forget what was compiled from sources in which a type had another name: its index cannot even be read.

    It is what an upgrade in place leaves behind, since the files lie beside the sources.
    """

    def load() -> dict[Any, Any]:
        try:
            return load_index()
        except (AttributeError, ImportError):
            return {}

    return load


def compiled(sources: str = "", **options: Any) -> Callable[[Function], Function]:
    """The decorator of functions that call those of this folder. sources: a hash of further files, their own."""
    decorate = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, **options)

    def decorator(function: Function) -> Function:
        dispatcher: Any = decorate(function)
        file = dispatcher._cache._cache_file  # Numba has no public way
        file._source_stamp, file._load_index = _SOURCES + sources, _load_or_forget(file._load_index)
        compiled: Function = dispatcher
        return compiled

    return decorator


kernel = compiled()
# for functions called once in every step: passing views of arrays would cost more than what they compute
inline_kernel = compiled(forceinline=True)
