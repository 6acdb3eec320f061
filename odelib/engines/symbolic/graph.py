"""Expressions as one graph without repetitions, and its derivatives by the chain rule.

Every distinct subexpression is one node; a derivative is nodes of the same graph. The rules at the edges are
torch's: the slope of |x| at 0 is 0, of min and max at a tie a half each, of 0**n by n it is 0. A slope that is
zero by structure is no node at all, so that nothing multiplies an infinity by zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from odelib.errors import FitError
from odelib.problem.expressions.parser import Expression, Name, Number, reduce_pairwise, walk

# A derivative may be far longer than what it is taken of: a product of 1,400 parameters has, by each of them, a
# million operations. A chain of 1,000 reactions comes to 24,000; compiling takes some 4 ms for each.
MAX_OPERATIONS = 200_000


def too_many_operations() -> FitError:
    """What is raised where a system's kernels would have more than `MAX_OPERATIONS`."""
    return FitError(
        "system_too_large",
        "The equations are too large to compile",
        f"the equations and their derivatives by all states and parameters take more than {MAX_OPERATIONS} "
        "operations; shorten products and powers of many names, split the system, or set solver.engine to "
        "'torchdiffeq', which compiles nothing and is slower",
    )


@dataclass(frozen=True)
class Entry:
    """What a node is: a `number`, a `name`, or an operation on other nodes."""

    operator: str
    operands: tuple[int, ...] = ()
    value: float | str | None = None


class Graph:
    """Nodes in an order in which operands come first, `MAX_OPERATIONS` at most: more raise `FitError`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._index: dict[Entry, int] = {}
        self._depends: list[int] = []  # per node a bit for each name it depends on
        self._bits: dict[str, int] = {}

    def add(self, expression: Expression) -> int:
        """The node of an expression."""
        stack: list[int] = []
        for node in walk(expression.tree):
            if isinstance(node, Number):
                stack.append(self.number(node.value))
            elif isinstance(node, Name):
                stack.append(self.name(node.name))
            else:
                count = len(node.operands)
                operands = stack[-count:]
                del stack[-count:]
                stack.append(self._operation(node.operator, operands))
        return stack.pop()

    def number(self, value: float) -> int:
        """The node of a number."""
        return self._node(Entry("number", value=float(value)))

    def name(self, name: str) -> int:
        """The node of a name."""
        return self._node(Entry("name", value=name))

    def derivatives(self, outputs: Sequence[int], by: str) -> dict[int, int]:
        """The nodes of d output / d name, by the output's place; what is zero by structure is left out."""
        if by not in self._bits:
            return {}
        bit = 1 << self._bits[by]
        slopes: dict[int, int] = {self.name(by): self.number(1.0)}
        for node in self._ancestors(outputs, bit):
            if node not in slopes and (slope := self._slope(node, slopes)) is not None:
                slopes[node] = slope
        return {place: slopes[node] for place, node in enumerate(outputs) if node in slopes}

    def needed(self, outputs: Sequence[int]) -> list[int]:
        """The nodes from which the outputs are computed, in order."""
        return self._ancestors(outputs, None)

    def _ancestors(self, outputs: Sequence[int], bit: int | None) -> list[int]:
        seen: set[int] = set()
        stack = list(outputs)
        while stack:
            node = stack.pop()
            if node not in seen and (bit is None or self._depends[node] & bit):
                seen.add(node)
                stack.extend(self.entries[node].operands)
        return sorted(seen)

    def _node(self, entry: Entry) -> int:
        if entry in self._index:
            return self._index[entry]
        if len(self.entries) >= MAX_OPERATIONS:
            raise too_many_operations()
        depends = 0
        for operand in entry.operands:
            depends |= self._depends[operand]
        if entry.operator == "name":
            depends = 1 << self._bits.setdefault(str(entry.value), len(self._bits))
        self.entries.append(entry)
        self._depends.append(depends)
        self._index[entry] = len(self.entries) - 1
        return self._index[entry]

    def _operation(self, operator: str, operands: Sequence[int]) -> int:
        if operator in ("min", "max"):
            return reduce_pairwise(operands, lambda a, b: self._node(Entry(operator, (a, b))))
        return self._node(Entry(operator, tuple(operands)))

    def _slope(self, node: int, slopes: Mapping[int, int]) -> int | None:
        entry = self.entries[node]
        inner = [slopes.get(operand) for operand in entry.operands]
        rule = _RULES.get(entry.operator)
        return rule(_Chain(self, node, entry.operands), inner) if rule else None


Slopes = list[int | None]


@dataclass(frozen=True)
class _Chain:
    """A node in the graph where its derivative is made, with the arithmetic that makes it."""

    graph: Graph
    node: int
    operands: tuple[int, ...]

    def value(self, node: int) -> float | None:
        entry = self.graph.entries[node]
        return entry.value if isinstance(entry.value, float) else None

    def make(self, operator: str, *operands: int) -> int:
        return self.graph._node(Entry(operator, operands))

    def times(self, a: int, b: int) -> int:
        if self.value(a) == 1.0:
            return b
        if self.value(b) == 1.0:
            return a
        return self.make("*", a, b)

    def plus(self, a: int | None, b: int | None) -> int | None:
        if a is None or b is None:
            return b if a is None else a
        return self.make("+", a, b)

    def minus(self, a: int | None, b: int | None) -> int | None:
        if b is None:
            return a
        return self.make("neg", b) if a is None else self.make("-", a, b)

    def scaled(self, factor: int, slope: int | None) -> int | None:
        return None if slope is None else self.times(factor, slope)

    def guarded(self, factor: int, slope: int | None) -> int | None:
        """As `scaled`, for a factor that may be infinite: a slope that a choice made 0 stays 0."""
        if slope is None or self.value(slope) is not None:
            return self.scaled(factor, slope)
        return self.make("guarded_product", factor, slope)


Rule = Callable[[_Chain, Slopes], int | None]


def _product(c: _Chain, s: Slopes) -> int | None:
    a, b = c.operands
    return c.plus(c.scaled(b, s[0]), c.scaled(a, s[1]))


def _quotient(c: _Chain, s: Slopes) -> int | None:
    top = c.minus(s[0], c.scaled(c.node, s[1]))
    return None if top is None else c.make("/", top, c.operands[1])


def _power(c: _Chain, s: Slopes) -> int | None:
    base, exponent = c.operands
    number = c.value(exponent)
    by_base: int | None = None
    if s[0] is not None:
        if number == 1.0:
            by_base = s[0]
        elif number == 2.0:
            by_base = c.scaled(c.times(c.graph.number(2.0), base), s[0])
        elif number != 0.0:
            by_base = c.guarded(c.make("power_by_base", base, exponent), s[0])
    by_exponent = c.guarded(c.make("power_by_exponent", base, exponent, c.node), s[1]) if s[1] is not None else None
    return c.plus(by_base, by_exponent)


def _extreme(weight: str) -> Rule:
    def rule(c: _Chain, s: Slopes) -> int | None:
        a, b = c.operands
        # the weight is the slope that may be 0, and what it weighs may be infinite
        first = c.make("guarded_product", s[0], c.make(weight, a, b)) if s[0] is not None else None
        second = c.make("guarded_product", s[1], c.make(weight, b, a)) if s[1] is not None else None
        return c.plus(first, second)

    return rule


def _choice(c: _Chain, s: Slopes) -> int | None:
    if s[1] is None and s[2] is None:
        return None
    zero = c.graph.number(0.0)
    return c.make("where", c.operands[0], *(zero if slope is None else slope for slope in s[1:]))


def _function(slope_of: Callable[[_Chain, int], int], *, steep: bool = False) -> Rule:
    """`steep`: somewhere its slope is infinite."""

    def rule(c: _Chain, s: Slopes) -> int | None:
        if s[0] is None:
            return None
        factor = slope_of(c, c.operands[0])
        return c.guarded(factor, s[0]) if steep else c.scaled(factor, s[0])

    return rule


def _one_minus_square(c: _Chain, a: int) -> int:
    return c.make("-", c.graph.number(1.0), c.make("*", a, a))


def _one_plus_square(c: _Chain, a: int) -> int:
    return c.make("+", c.graph.number(1.0), c.make("*", a, a))


def _over(c: _Chain, top: float, bottom: int) -> int:
    return c.make("/", c.graph.number(top), bottom)


_RULES: Mapping[str, Rule] = {
    "+": lambda c, s: c.plus(*s),
    "-": lambda c, s: c.minus(*s),
    "*": _product,
    "/": _quotient,
    "**": _power,
    "neg": lambda c, s: None if s[0] is None else c.make("neg", s[0]),
    "min": _extreme("minimum_weight"),
    "max": _extreme("maximum_weight"),
    "where": _choice,
    "abs": _function(lambda c, a: c.make("sign", a)),
    "exp": _function(lambda c, _: c.node),
    "log": _function(lambda c, a: _over(c, 1.0, a), steep=True),
    "log10": _function(lambda c, a: _over(c, 1 / math.log(10), a), steep=True),
    "sqrt": _function(lambda c, _: _over(c, 0.5, c.node), steep=True),
    "sin": _function(lambda c, a: c.make("cos", a)),
    "cos": _function(lambda c, a: c.make("neg", c.make("sin", a))),
    "tan": _function(lambda c, _: _one_plus_square(c, c.node)),
    "asin": _function(lambda c, a: _over(c, 1.0, c.make("sqrt", _one_minus_square(c, a))), steep=True),
    "acos": _function(lambda c, a: _over(c, -1.0, c.make("sqrt", _one_minus_square(c, a))), steep=True),
    "atan": _function(lambda c, a: _over(c, 1.0, _one_plus_square(c, a))),
    "sinh": _function(lambda c, a: c.make("cosh", a)),
    "cosh": _function(lambda c, a: c.make("sinh", a)),
    "tanh": _function(lambda c, _: _one_minus_square(c, c.node)),
    "erf": _function(
        lambda c, a: c.make(
            "*", c.graph.number(2 / math.sqrt(math.pi)), c.make("exp", c.make("neg", c.make("*", a, a)))
        )
    ),
    # floor, sign and comparisons are flat: no rule, no slope
}
