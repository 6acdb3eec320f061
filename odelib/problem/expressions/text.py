"""The text of a tree, or of a part of one, for messages."""

from __future__ import annotations

from odelib.problem.expressions.parser import Name, Node, Number, walk

_LEVELS = {"<": 0, "<=": 0, ">": 0, ">=": 0, "+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}
_ATOM = 5


def text_of(node: Node) -> str:
    """The tree as an expression that parses to it.

    >>> from odelib.problem.expressions.parser import parse_expression
    >>> text_of(parse_expression("-k*(x-1)**0.5/log(x, )").tree)
    '-k*(x - 1)**0.5/log(x)'
    """
    stack: list[tuple[str, int]] = []  # operands, each with the level of its operator
    for part in walk(node):
        if isinstance(part, Number):
            stack.append((f"{part.value:.15g}", _ATOM))
        elif isinstance(part, Name):
            stack.append((part.name, _ATOM))
        else:
            operands = stack[-len(part.operands) :]
            del stack[-len(part.operands) :]
            stack.append(_operation(part.operator, operands))
    return stack.pop()[0]


def _operation(operator: str, operands: list[tuple[str, int]]) -> tuple[str, int]:
    level = _LEVELS.get(operator)
    if level is None:
        return f"{operator}({', '.join(text for text, _ in operands)})", _ATOM
    if operator == "neg":
        return f"-{_inside(operands[0], level)}", level
    left, right = operands
    # a - (b - c) and (a**b)**c need their parentheses, (a - b) - c and a**(b**c) do not
    first = _inside(left, level + 1 if operator == "**" else level)
    second = _inside(right, 3 if operator == "**" else level + 1)
    space = "" if operator in ("*", "/", "**") else " "
    return f"{first}{space}{operator}{space}{second}", level


def _inside(operand: tuple[str, int], level: int) -> str:
    text, own = operand
    return text if own >= level else f"({text})"
