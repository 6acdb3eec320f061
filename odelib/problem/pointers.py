"""JSON Pointers (RFC 6901)."""

from __future__ import annotations


def join(base: str, *parts: str | int) -> str:
    """Append parts to the pointer `base`, escaping each.

    >>> join("/data/values", "a/b", 3)
    '/data/values/a~1b/3'
    """
    for part in parts:
        base += "/" + str(part).replace("~", "~0").replace("/", "~1")
    return base


def split(pointer: str) -> list[str]:
    """Return the parts of a pointer, unescaped.

    >>> split("/data/values/a~1b/3")
    ['data', 'values', 'a/b', '3']
    """
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
