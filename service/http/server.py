"""The API process: uvicorn around the application."""

from __future__ import annotations

import logging
import socket

import uvicorn

from service.http.app import create_app
from service.http.guarded_protocol import ServerConfig
from service.http.state import State
from service.settings import ServiceSettings, require_key_beyond_loopback
from worker.loading import loading
from worker.log import configure_logging
from worker.settings import WorkerSettings

_SHUTDOWN_SECONDS = 10  # for responses in progress; clients that wait for a fit are answered at once


class _Server(uvicorn.Server):
    """Announces the shutdown to the application before waiting for responses in progress."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting requests, finish those in progress, and end."""
        self._state.close()
        await super().shutdown(sockets)


def run_api(settings: ServiceSettings, listener: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM, on `listener` if given, else on the host and port of the settings.

    Raises `UnprotectedHost` if other machines can reach the host and no key is set.
    """
    require_key_beyond_loopback(settings)
    queue_settings = WorkerSettings()
    configure_logging(queue_settings.redis_url, logging.INFO if settings.access_log else logging.WARNING)
    with loading():
        app = create_app(settings, queue_settings)
    config = ServerConfig(
        app, settings, host=settings.host, port=settings.port, timeout_graceful_shutdown=_SHUTDOWN_SECONDS
    )
    _Server(config, app.state.service).run(sockets=[listener] if listener else None)
