"""The files that browsers load: the built page, and Swagger UI with what starts it."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import mimetypes
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_COMPRESSED_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")


@dataclass(frozen=True)
class PageFile:
    """A file, as it is sent. `compressed` is None if gzip does not help its type."""

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str


@functools.cache
def paths_by_name() -> dict[str, Path]:
    """Return the files that are served below `/assets/`: nothing else can be named by a request."""
    built = {path.name: path for path in (_HERE / "built" / "assets").glob("*")}
    documentation = {f"api/{path.name}": path for path in (_HERE / "api_documentation").iterdir()}
    swagger_ui = {f"api/{name}": _swagger_ui() / name for name in ("swagger-ui-bundle.js", "swagger-ui.css")}
    return built | documentation | swagger_ui


def page() -> PageFile:
    """Return the page itself."""
    return load(_HERE / "built" / "index.html")


def api_documentation() -> PageFile:
    """Return the page that shows the OpenAPI document."""
    return load(_HERE / "api_documentation" / "index.html")


@functools.cache
def load(path: Path) -> PageFile:
    """Read a file, once a process."""
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    media_type = "text/javascript" if media_type == "application/javascript" else media_type  # RFC 9239
    compressed = gzip.compress(content, mtime=0) if media_type.startswith(_COMPRESSED_TYPES) else None
    return PageFile(content, compressed, media_type, f'"{hashlib.sha256(content).hexdigest()[:20]}"')


def _swagger_ui() -> Path:
    """Return the folder of Swagger UI. Only the files of fastapi-offline are used, so it is not imported."""
    package = importlib.util.find_spec("fastapi_offline")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("fastapi-offline, which contains Swagger UI, is not installed")
    return Path(package.origin).parent / "static"
