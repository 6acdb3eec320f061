"""`odefit api`: the HTTP service, with a Redis and workers that run elsewhere."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from service.cli.errors import BAD_REQUEST, CommandError
from service.cli.options import Host, ParentPid, load_settings
from worker.loading import loading
from worker.parent_death import end_with_parent


def api(
    host: Host = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port to listen on.")
    ] = None,
    socket_fd: Annotated[int | None, typer.Option("--socket", hidden=True, help="A listening socket.")] = None,
    with_parent: ParentPid = None,
) -> None:
    """Run only the API, with the Redis at ODEFIT_REDIS_URL."""
    if with_parent is not None:
        end_with_parent(with_parent)
    settings = load_settings(host, port)
    with loading():
        from service.http.server import run_api  # reads the worker's settings, which are valid by now
        from service.settings import UnprotectedHost

    try:
        run_api(settings, None if socket_fd is None else socket.socket(fileno=socket_fd))
    except UnprotectedHost as error:
        raise CommandError(BAD_REQUEST, str(error)) from None
