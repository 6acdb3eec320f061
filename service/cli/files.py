"""The files that commands read and write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odelib.errors import ProblemError
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.settings import ServiceSettings
from service.strict_json import MalformedJsonError, parse_json


@dataclass(frozen=True)
class RequestFile:
    """A request as it stands in a file, and as JSON."""

    body: bytes
    parsed: Any


def read_request(path: Path) -> RequestFile:
    """Read FILE.json by the rules that the service has for a body. Raises `CommandError`."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be read: {error.strerror}") from None
    try:
        return RequestFile(body, parse_json(body, ServiceSettings().max_json_depth))
    except MalformedJsonError as error:
        raise CommandError(BAD_REQUEST, f"{path}: {error}") from None
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{path} is not a valid request:", error.errors) from None


def check_writable(*paths: Path | None) -> None:
    """Refuse, before a long fit and not after it, files that cannot be written. Raises `CommandError`."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise CommandError(BAD_REQUEST, f"{path} cannot be written: there is no folder {path.absolute().parent}")
        if path is not None and path.is_dir():
            raise CommandError(BAD_REQUEST, f"{path} cannot be written: it is a folder")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON. Raises `CommandError`."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def readable(value: Any, indent: str = "") -> str:
    """`value` as JSON that people edit: an entry a line, but a list of numbers in one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{inner}{json.dumps(name)}: {readable(entry, inner)}" for name, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        return "[\n" + ",\n".join(inner + readable(entry, inner) for entry in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_text(path: Path, text: str) -> None:
    """Write `text`. Raises `CommandError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(FAILED, f"{path} cannot be written: {error.strerror}") from None
