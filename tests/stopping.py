"""Fits that are asked to stop once they have come so far."""

from __future__ import annotations

from typing import Any

from odelib import Monitor
from odelib.errors import StopReason


class Stopper(Monitor):
    """Asks to stop once a fit has left a checkpoint of so many steps."""

    def __init__(self, after: int, reason: StopReason) -> None:
        super().__init__()
        self.after, self.reason = after, reason

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "checkpoint" and value is not None and value.step >= self.after:
            super().__setattr__("stop", self.reason)
