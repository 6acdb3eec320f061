"""The HTTP application: settings, routers and error handlers put together."""

from __future__ import annotations

from collections import Counter

from fastapi import FastAPI

from service.http.auth import KeyMiddleware
from service.http.errors import install_handlers
from service.http.middleware.compression import CompressionMiddleware
from service.http.middleware.cross_origin import CrossOriginMiddleware
from service.http.middleware.head_requests import HeadMiddleware
from service.http.middleware.request_ids import RequestIdMiddleware
from service.http.openapi import DESCRIPTION, INTERFACE_VERSION, TITLE, openapi_document, operation_id
from service.http.routes import batches, events, files, fits, health, metrics, simulations, systems
from service.http.state import attach
from service.page import routes as page
from service.settings import ServiceSettings
from worker.settings import WorkerSettings

ROUTERS = (
    fits.router,
    events.router,
    files.router,
    batches.router,
    simulations.router,
    systems.router,
    health.router,
    metrics.router,
    page.router,
)


def create_app(settings: ServiceSettings | None = None, queue_settings: WorkerSettings | None = None) -> FastAPI:
    """Return the application; settings that are not given come from the environment."""
    settings = settings or ServiceSettings()
    app = FastAPI(
        title=TITLE,
        version=INTERFACE_VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    for router in ROUTERS:
        app.include_router(router)
    install_handlers(app)
    master = None if settings.api_key is None else settings.api_key.get_secret_value()
    app.add_middleware(KeyMiddleware, master=master, is_required=settings.keys_required)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(HeadMiddleware)
    responses: Counter[int] = Counter()
    if settings.cors_origins:
        app.add_middleware(CrossOriginMiddleware, origins=settings.cors_origins)
    app.add_middleware(RequestIdMiddleware, counts=responses)
    attach(app, settings, queue_settings or WorkerSettings(), responses)
    app.openapi = lambda: openapi_document(app)  # type: ignore[method-assign]
    return app
