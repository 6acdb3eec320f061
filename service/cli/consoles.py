"""The two streams of every command."""

from __future__ import annotations

from rich.console import Console

OUT = Console()  # what the user asked for
ERR = Console(stderr=True)  # progress and errors
