"""A client of an odefit service. It loads no numerics.

    from odefit import Client

    with Client("http://127.0.0.1:8000") as client:
        fit = client.fit(request).wait(progress=True)
        print(fit.result["parameters"]["alpha"]["value"])

`AsyncClient` has the same methods for asyncio.
"""

from __future__ import annotations

from odefit.asynchronous import AsyncClient, AsyncFit
from odefit.errors import (
    ClientClosed,
    FitFailed,
    InvalidRequest,
    Mistake,
    NotFound,
    ServiceError,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from odefit.events import Event
from odefit.result import Result
from odefit.synchronous import Client, Fit

__all__ = [
    "AsyncClient",
    "AsyncFit",
    "Client",
    "ClientClosed",
    "Event",
    "Fit",
    "FitFailed",
    "InvalidRequest",
    "Mistake",
    "NotFound",
    "Result",
    "ServiceError",
    "ServiceUnavailable",
    "TooManyRequests",
    "Unauthorized",
]
