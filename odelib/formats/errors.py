"""What a file says that a request cannot."""

from __future__ import annotations

from odelib.errors import OdelibError


class UnsupportedError(OdelibError):
    """A file contains something that the problem language cannot express, or is not valid; the message names it."""
