"""A condition as the sign of a function, so that the time at which it becomes true is a root."""

from __future__ import annotations

from collections.abc import Iterator

from odelib.engines.schedules.modes import ModeEvent
from odelib.problem.expressions.parser import Expression, Node, Operation, reduce_pairwise
from odelib.problem.system import Event


def event_function(event: Event) -> Expression:
    """The function that crosses 0 upwards where the condition of an event becomes true."""
    return event.function if isinstance(event, ModeEvent) else condition_function(event.when)


def condition_function(condition: Expression) -> Expression:
    """The function that is positive where a condition is true.

    b − a for `a < b`, the least of the conditions' for `and`, the largest for `or`, the negative for `not`.
    """
    stack: list[Node] = []
    for node in _combinations(condition.tree):
        if node.operator in ("<", "<="):
            stack.append(Operation("-", (node.operands[1], node.operands[0])))
        elif node.operator in (">", ">="):
            stack.append(Operation("-", node.operands))
        else:
            count = len(node.operands)
            operands = stack[-count:]
            del stack[-count:]
            stack.append(_combined(node.operator, operands))
    return Expression(f"function of {condition.text}", stack.pop(), condition.names)


def _combined(operator: str, operands: list[Node]) -> Node:
    if operator == "not":
        return Operation("neg", (operands[0],))
    extreme = "min" if operator == "and" else "max"
    return reduce_pairwise(operands, lambda a, b: Operation(extreme, (a, b)))


def _combinations(tree: Node) -> Iterator[Operation]:
    """Yield the comparisons of a condition and what combines them, operands first."""
    stack: list[tuple[Node, bool]] = [(tree, False)]
    while stack:
        node, is_expanded = stack.pop()
        assert isinstance(node, Operation)
        if node.operator in ("and", "or", "not") and not is_expanded:
            stack.append((node, True))
            stack.extend((operand, False) for operand in reversed(node.operands))
        else:
            yield node
