"""The routes of the page, of its files and of the API's documentation.

They need no key: the page asks for one and sends it with its requests to the API. Nothing is loaded from another host,
and the content security policy keeps browsers from doing so, or from running scripts that a caller smuggled in.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.http.errors import ServiceError
from service.http.middleware.compression import accepts_gzip
from service.page import files

router = APIRouter(include_in_schema=False)

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_REVALIDATED = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"  # the name of a built file contains a hash of its content


@router.get("/")
async def show_page(request: Request) -> Response:
    """Send the page."""
    return _response(request, files.page(), _REVALIDATED)


@router.get("/docs")
async def show_api_documentation(request: Request) -> Response:
    """Send the page that shows the OpenAPI document with Swagger UI."""
    return _response(request, files.api_documentation(), _REVALIDATED)


@router.get("/assets/{name:path}")
async def get_asset(request: Request, name: str) -> Response:
    """Send one of the files that the two pages load."""
    path = files.paths_by_name().get(name)
    if path is None:
        raise ServiceError("not_found", f"the page has no file {name!r:.80}; reload the page")
    return _response(request, files.load(path), _REVALIDATED if name.startswith("api/") else _FOR_EVER)


def _response(request: Request, file: files.PageFile, caching: str) -> Response:
    headers = _SECURITY | {"Cache-Control": caching, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.compressed is not None and accepts_gzip(request.headers.get("accept-encoding", "")):
        content = file.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=file.media_type, headers=headers)
