"""Reading JSON that has not been validated, and collecting the mistakes in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from odelib.errors import FieldError
from odelib.problem.pointers import join

MAX_NAMES = 12  # that an error lists


class MistakeReport:
    """Collects mistakes, each with its pointer."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        """Add one mistake."""
        self.errors.append(FieldError(pointer, detail))

    def add_unknown_names(
        self, given: Iterable[str], known: Mapping[str, None], base: str, kind: str, *, at_name: bool = True
    ) -> None:
        """Add a mistake for every name in `given` that is not in `known`.

        at_name: point to the name below `base` rather than to `base` itself.
        """
        for name in given:
            if name not in known:
                pointer = join(base, name) if at_name else base
                self.add(pointer, f"the system has no {kind} {name!r:.80}; it has {listed(known)}")


def listed(names: Iterable[str]) -> str:
    """Return the first names, separated by commas.

    >>> listed(["a", "b"])
    'a, b'
    """
    shown = list(islice(names, MAX_NAMES + 1))
    return ", ".join([*shown[:MAX_NAMES], *(["…"] if len(shown) > MAX_NAMES else [])]) or "none"


def as_object(value: Any) -> Mapping[str, Any]:
    """Return the JSON object, or an empty one in place of any other value."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """Return the JSON array, or an empty one in place of any other value."""
    return value if isinstance(value, list) else []


def as_number(value: Any) -> float | None:
    """Return the finite number, or None in place of any other value."""
    if type(value) is float:  # the common case; the rest is slower
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
