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
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


_SOURCES = _sources()


def _compiled(**options: Any) -> Callable[[Function], Function]:
    decorate = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}, **options)

    def decorator(function: Function) -> Function:
        dispatcher: Any = decorate(function)
        dispatcher._cache._cache_file._source_stamp = _SOURCES  # Numba has no public way
        compiled: Function = dispatcher
        return compiled

    return decorator


kernel = _compiled()
# for functions called once in every step: passing views of arrays would cost more than what they compute
inline_kernel = _compiled(forceinline=True)
