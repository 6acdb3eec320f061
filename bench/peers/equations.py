"""A system's equations as a Python function of any library's numbers, as one would write it for that library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from odelib.problem.system import System

Function = Callable[[Any, Sequence[Any], Sequence[Any]], list[Any]]


def right_hand_side(
    system: System, library: ModuleType | Mapping[str, Any], constants: Mapping[str, Any] | None = None
) -> Function:
    """f(t, y, q): a list of derivatives; y and q are sequences of the library's numbers."""
    names: dict[str, Any] = dict(library) if isinstance(library, Mapping) else dict(vars(library))
    names |= system.constants if constants is None else constants
    body = ", ".join(f"({expression.text})" for expression in system.equations.values())
    lines = ["def f(t, y, q):", f"    {_unpacked(system.states)} = y"]
    if system.parameters:
        lines.append(f"    {_unpacked(system.parameters)} = q")
    exec("\n".join([*lines, f"    return [{body}]"]), names)  # the benchmarks' own equations
    function: Function = names["f"]
    return function


def _unpacked(names: Sequence[str]) -> str:
    return ", ".join(names) + ","
