"""JSON pointers (RFC 6901)."""

from __future__ import annotations


def join(base: str, *parts: str | int) -> str:
    """`base` with further parts, each escaped."""
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
