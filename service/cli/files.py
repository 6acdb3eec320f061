"""The files that commands read and write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odelib.errors import ProblemError
from odelib.problem.catalogue import CATALOGUE
from service.cli.errors import BAD_REQUEST, FAILED, CommandError
from service.settings import ServiceSettings
from service.strict_json import MalformedJsonError, parse_json


@dataclass(frozen=True)
class RequestFile:
    """The bytes of FILE.json, and the same as parsed JSON."""

    body: bytes
    parsed: Any


def read_request(path: Path) -> RequestFile:
    """Read FILE.json by the rules for the body of a request. Raises `CommandError`."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CommandError(BAD_REQUEST, f"{path} cannot be read: {error.strerror}") from None
    try:
        return RequestFile(body, parse_json(body, ServiceSettings().max_json_depth))
    except MalformedJsonError as error:
        raise CommandError(BAD_REQUEST, f"{path}: {error}") from None
    except ProblemError as error:
        raise CommandError(BAD_REQUEST, f"{path} is invalid:", error.errors) from None


def read_request_object(path: Path) -> dict[str, Any]:
    """Read a FILE.json that must hold a JSON object. Raises `CommandError`."""
    parsed = read_request(path).parsed
    if not isinstance(parsed, dict):
        raise CommandError(BAD_REQUEST, f"{path} is invalid: it must be a JSON object")
    return parsed


def is_catalogue_system(choice: str) -> bool:
    """Return whether SYSTEM|FILE.json names a catalogue system, not a file. Raises `CommandError` if neither."""
    if choice in CATALOGUE:
        return True
    if Path(choice).exists() or choice.endswith(".json"):
        return False
    names = ", ".join(CATALOGUE)
    raise CommandError(BAD_REQUEST, f"{choice!r} is neither a catalogue system ({names}) nor a file")


def check_writable(*paths: Path | None) -> None:
    """Refuse paths that cannot be written, before the work and not after it. Raises `CommandError`."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise CommandError(BAD_REQUEST, f"{path} cannot be written: no such folder {path.absolute().parent}")
        if path is not None and path.is_dir():
            raise CommandError(BAD_REQUEST, f"{path} cannot be written: it is a folder")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON. Raises `CommandError`."""
    write_text(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def format_json(value: Any, indent: str = "") -> str:
    """Return `value` as JSON for people to edit: one entry a line, but a list of numbers on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        entries = [f"{inner}{json.dumps(name)}: {format_json(entry, inner)}" for name, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        return "[\n" + ",\n".join(inner + format_json(entry, inner) for entry in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write_text(path: Path, text: str) -> None:
    """Write `text`. Raises `CommandError`."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(FAILED, f"{path} cannot be written: {error.strerror}") from None
