"""The HTTP application: settings, routers, handlers, and no rule."""

from __future__ import annotations

from fastapi import FastAPI

from service.http.auth import KeyMiddleware
from service.http.errors import install_handlers
from service.http.openapi import DESCRIPTION, INTERFACE_VERSION, TITLE, document, operation_id
from service.http.routes import fits, health, systems
from service.http.state import attach
from service.settings import ServiceSettings
from worker.settings import WorkerSettings


def create_app(settings: ServiceSettings | None = None, queue_settings: WorkerSettings | None = None) -> FastAPI:
    """The service, its settings from the environment unless they are given."""
    settings = settings or ServiceSettings()
    app = FastAPI(
        title=TITLE,
        version=INTERFACE_VERSION,
        description=DESCRIPTION,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    for module in (fits, systems, health):
        app.include_router(module.router)
    install_handlers(app)
    if settings.api_key is not None:
        app.add_middleware(KeyMiddleware, key=settings.api_key.get_secret_value())
    attach(app, settings, queue_settings or WorkerSettings())
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app
