"""How commands end: exit statuses, and errors that are told in a sentence rather than a traceback."""

from __future__ import annotations

from collections.abc import Sequence

from odelib.errors import FieldError

SUCCEEDED = 0
FAILED = 1  # the fit failed or was cancelled, or the command could not do what was asked
BAD_REQUEST = 2  # also what the command line itself says of wrong options
NO_SERVICE = 3
INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """Ends a command with this status, after `message` and one line for each of `errors`."""

    def __init__(self, status: int, message: str, errors: Sequence[FieldError] = ()) -> None:
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        super().__init__(message)

    def lines(self) -> list[str]:
        """What is printed."""
        return [self.message, *(f"  {error.pointer or '(the whole)'}: {error.detail}" for error in self.errors)]
