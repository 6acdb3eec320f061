"""The API process: uvicorn around the application."""

from __future__ import annotations

import logging
import socket

import uvicorn

from service.http.app import create_app
from service.http.guarded_protocol import ServerConfig
from service.http.state import State
from service.settings import ServiceSettings, require_key_beyond_loopback
from worker.log import configure_logging
from worker.settings import WorkerSettings

_STOP_SECONDS = 10  # for answers under way; who waits for a fit is answered at once


class _Server(uvicorn.Server):
    """Tells the application that it is to stop before waiting for the answers under way."""

    def __init__(self, config: uvicorn.Config, state: State) -> None:
        super().__init__(config)
        self._state = state

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, answer those under way, end."""
        self._state.closing.set()
        await super().shutdown(sockets)


def run_api(settings: ServiceSettings, listening: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM, on `listening` where a socket is handed over.

    Raises `UnprotectedHost` for a host beyond loopback without a key.
    """
    require_key_beyond_loopback(settings)
    queue_settings = WorkerSettings()
    configure_logging(queue_settings.redis_url, logging.INFO if settings.access_log else logging.WARNING)
    app = create_app(settings, queue_settings)
    config = ServerConfig(
        app, settings, host=settings.host, port=settings.port, timeout_graceful_shutdown=_STOP_SECONDS
    )
    _Server(config, app.state.service).run(sockets=[listening] if listening else None)
