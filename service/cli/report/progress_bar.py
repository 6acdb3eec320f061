"""The progress bar of a fit, here or on a service."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn


class ProgressBar:
    """Shows stage, steps, loss and a bar on a terminal; shows nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=1.0, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, text: str) -> None:
        """Show `text`, such as the reason for waiting."""
        self._progress.update(self._task, description=text)

    def update(self, stage: str, step: int, steps: int, loss: float, fraction: float) -> None:
        """Show the progress of the fit."""
        note = f"step {step} of {steps}, loss {loss:.6g}"
        self._progress.update(self._task, description=stage, completed=fraction, note=note)
