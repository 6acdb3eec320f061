"""Expressions that others use by name: their order, circles among them, and which of them an expression needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from odelib.problem.expressions.parser import Expression

Definitions = Mapping[str, Expression]  # by name, each after those that it uses


def in_order(definitions: Mapping[str, Expression]) -> tuple[dict[str, Expression], list[str]]:
    """Return the definitions, each after those that it uses, and the names of one circle if there are any.

    Definitions that are part of a circle, or use one, are left out.

    >>> from odelib.problem.expressions.parser import parse_expression
    >>> texts = {"a": "b + 1", "b": "2*k", "c": "d", "d": "c"}
    >>> ordered, circle = in_order({name: parse_expression(text) for name, text in texts.items()})
    >>> list(ordered), circle
    (['b', 'a'], ['c', 'd'])
    """
    ordered: dict[str, Expression] = {}
    left = dict(definitions)
    users: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    for name, expression in definitions.items():
        used = expression.names & definitions.keys()
        missing[name] = len(used)
        for other in used:
            users.setdefault(other, []).append(name)
    ready = [name for name in definitions if not missing[name]]
    while ready:
        name = ready.pop(0)
        ordered[name] = left.pop(name)
        for user in users.get(name, ()):
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    return ordered, _circle(left)


def _circle(definitions: Mapping[str, Expression]) -> list[str]:
    """Return a circle among definitions each of which uses another one of them."""
    way: list[str] = []
    name = next(iter(definitions), None)
    while name is not None and name not in way:
        way.append(name)
        name = min(definitions[name].names & definitions.keys())
    return way[way.index(name) :] if name else []


def needed(names: Iterable[str], definitions: Definitions) -> dict[str, Expression]:
    """Return the definitions among `names` and those that these use, in order."""
    wanted = set(names)
    for name in reversed(list(definitions)):
        if name in wanted:
            wanted |= definitions[name].names
    return {name: expression for name, expression in definitions.items() if name in wanted}


def underlying(names: Iterable[str], definitions: Definitions) -> frozenset[str]:
    """Return the names that are no definitions among `names` and those that their definitions use."""
    wanted = set(names)
    for expression in needed(wanted, definitions).values():
        wanted |= expression.names
    return frozenset(wanted - definitions.keys())
