"""JSON pointers (RFC 6901)."""

from __future__ import annotations


def join(base: str, *parts: str | int) -> str:
    """`base` with further parts, each escaped."""
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def split(pointer: str) -> list[str]:
    """The parts of a pointer, as they were before `join` escaped them."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
