"""What is known of a fit on the service, for both clients."""

from __future__ import annotations

from collections.abc import Callable

from odefit.errors import FitFailed, Json
from odefit.requests import ENDED
from odefit.result import Result


class FitState:
    """A fit as the service last described it. content: the JSON of that answer."""

    def __init__(self, content: Json) -> None:
        self.content = content

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, status={self.status!r})"

    @property
    def id(self) -> str:
        """The id."""
        return str(self.content["id"])

    @property
    def status(self) -> str:
        """`queued`, `running`, `succeeded`, `failed` or `cancelled`; later versions may add others."""
        return str(self.content["status"])

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self.status in ENDED

    @property
    def progress(self) -> Json | None:
        """Stage, step, steps, loss and fraction, if it has started."""
        return self.content.get("progress")

    def _result(self, request: Json | Callable[[], Json]) -> Result:
        """Return the result in the content. Raises `FitFailed` if there is none."""
        if "result" not in self.content:
            raise FitFailed(self.content)
        return Result(self.content["result"], request)
