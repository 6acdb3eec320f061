"""Exit statuses, and the error that ends a command with one of them."""

from __future__ import annotations

from collections.abc import Sequence

from odelib.errors import FieldError

SUCCEEDED = 0
FAILED = 1  # the fit failed or was cancelled, or the command could not do its work
BAD_REQUEST = 2  # typer uses the same for wrong options
NO_SERVICE = 3
INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """Ends a command with `status`, after printing `message` and one line for each of `errors`."""

    def __init__(self, status: int, message: str, errors: Sequence[FieldError] = ()) -> None:
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        super().__init__(message)

    def lines(self) -> list[str]:
        """Return the lines to print."""
        return [self.message, *(f"  {error.pointer or '(whole request)'}: {error.detail}" for error in self.errors)]
