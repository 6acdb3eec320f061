"""The decorator of the adjoint's functions that Numba compiles: see `odelib.engines.compiled.jit`.

It is stamped with the sources here that use it as well, so that a change here leaves the loops of plain solves as they
are on disk.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from odelib.engines.compiled.jit import compiled


def _sources() -> str:
    texts = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join(text for text in texts if b"adjoint.jit import" in text)).hexdigest()


_SOURCES = _sources()
kernel = compiled(_SOURCES)
inline_kernel = compiled(_SOURCES, forceinline=True)  # see there
