"""Reading raw JSON of which nothing is known yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from odelib.errors import FieldError
from odelib.problem.pointers import join


class MistakeReport:
    """Gathers what is wrong."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def add(self, pointer: str, detail: str) -> None:
        """Note one mistake."""
        self.errors.append(FieldError(pointer, detail))

    def unknown_names(
        self, given: Iterable[str], known: Mapping[str, None], base: str, kind: str, *, at_name: bool = True
    ) -> None:
        """Note every name in `given` that the system does not have, at the name below `base`, or at `base` itself."""
        has = ", ".join(islice(known, 12)) + (", …" if len(known) > 12 else "") or "none"
        for name in given:
            if name not in known:
                self.add(join(base, name) if at_name else base, f"the system has no {kind} {name!r:.80}; it has {has}")


def as_object(value: Any) -> Mapping[str, Any]:
    """The JSON object, or an empty one where something else stands."""
    return value if isinstance(value, Mapping) else {}


def as_number(value: Any) -> float | None:
    """The finite number, or None where something else stands."""
    if type(value) is float:  # nearly always; the rest is slower
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
