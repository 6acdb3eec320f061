"""Expressions as one graph, and their derivatives by the chain rule; every generated engine starts from it.

Every distinct subexpression is one node, and derivatives are nodes of the same graph. At kinks they follow torch: the
derivative of |x| at 0 is 0, of min and max at a tie ½ by each, and of 0**n by n it is 0. A structurally zero derivative
has no node, so that no infinity is multiplied by zero. Derivatives that may be infinite where the expression is finite,
as that of sqrt(x) at 0, are marked as singular: see `slope` in `compiled/primitives.py`.

Roots, logarithms and broken powers end at a border: see `borders.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from odelib.engines.symbolic import borders
from odelib.errors import FitError
from odelib.problem.expressions.definitions import Definitions
from odelib.problem.expressions.parser import Expression, Name, Number, reduce_pairwise, walk

# Derivatives may be far longer than their expression: those of a product of 1,400 parameters, by each of them, take a
# million operations. A chain of 1,000 reactions takes 24,000. Compiling takes some 4 ms per operation.
MAX_OPERATIONS = 200_000
FAR_MORE = 4  # times; taking the chain rule backwards makes some three operations of each


def too_many_operations() -> FitError:
    """The error for a system whose kernels would take more than `MAX_OPERATIONS`."""
    return FitError(
        "system_too_large",
        "The equations are too large to compile",
        f"the equations and their derivatives by all states and parameters take more than {MAX_OPERATIONS} "
        "operations; shorten products and powers of many names, split the system, or set solver.engine to "
        "'torchdiffeq', which is slower but has no such limit",
    )


@dataclass(frozen=True)
class Entry:
    """A node: a `number`, a `name`, or an operation on other nodes."""

    operator: str
    operands: tuple[int, ...] = ()
    value: float | str | None = None


class Graph:
    """Nodes, each after its operands. More than `MAX_OPERATIONS` raise `FitError`.

    definitions: a name of one of them in an expression stands for its node. states: the names that have the solver's
    errors; arguments that depend on them may lie beyond a border by as much.
    """

    def __init__(self, definitions: Definitions | None = None, states: Sequence[str] = ()) -> None:
        self._states = states
        self._singular: set[int] = set()
        self.entries: list[Entry] = []
        self._index: dict[Entry, int] = {}
        self._depends: list[int] = []  # per node, one bit for each name it depends on
        self._bits: dict[str, int] = {}
        self._defined: dict[str, int] = {}
        for name, expression in (definitions or {}).items():
            self._defined[name] = self.add(expression)

    def add(self, expression: Expression) -> int:
        """The node of an expression."""
        stack: list[int] = []
        for node in walk(expression.tree):
            if isinstance(node, Number):
                stack.append(self.number(node.value))
            elif isinstance(node, Name):
                defined = self._defined.get(node.name)
                stack.append(self.name(node.name) if defined is None else defined)
            else:
                count = len(node.operands)
                operands = stack[-count:]
                del stack[-count:]
                stack.append(self.operation(node.operator, operands))
        return stack.pop()

    def number(self, value: float) -> int:
        """The node of a number."""
        return self._node(Entry("number", value=float(value)))

    def name(self, name: str) -> int:
        """The node of a name."""
        return self._node(Entry("name", value=name))

    def derivatives(self, outputs: Sequence[int], by: str) -> dict[int, int]:
        """The nodes of ∂output/∂name, by the index of the output, without those that are structurally zero."""
        if by not in self._bits:
            return {}
        bit = 1 << self._bits[by]
        derivatives: dict[int, int] = {self.name(by): self.number(1.0)}
        for node in self._ancestors(outputs, bit):
            if node not in derivatives and (derivative := self._derivative(node, derivatives)) is not None:
                derivatives[node] = derivative
        return {index: derivatives[node] for index, node in enumerate(outputs) if node in derivatives}

    def derivatives_by_many(self, outputs: Sequence[int], names: Sequence[str]) -> list[dict[int, int]]:
        """For each name the nodes of ∂output/∂name, as `derivatives` returns them.

        Where there are far more names than outputs, as the weights of networks are, the chain rule is taken from the
        outputs backwards, which shares nearly everything.
        """
        if not self._is_cheaper_backwards(outputs, names):
            return [self.derivatives(outputs, name) for name in names]
        found: dict[str, dict[int, int]] = {name: {} for name in names}
        mask = sum(1 << self._bits[name] for name in names if name in self._bits)
        for index, output in enumerate(outputs):
            adjoints: dict[int, int] = {output: self.number(1.0)}
            for node in reversed(self._ancestors([output], mask)):
                if node in adjoints:
                    self._pass_on(node, adjoints, mask)
            for name in names:
                if name in self._bits and (node := self.name(name)) in adjoints:
                    found[name][index] = adjoints[node]
        return [found[name] for name in names]

    def pull_back(self, outputs: Sequence[int], cotangents: Sequence[int], names: Sequence[str]) -> dict[str, int]:
        """By name the nodes of Σ cotangentᵢ·∂outputᵢ/∂name, without those that are structurally zero."""
        mask = sum(1 << self._bits[name] for name in names if name in self._bits)
        adjoints: dict[int, int] = {}
        for output, cotangent in zip(outputs, cotangents, strict=True):
            earlier = adjoints.get(output)
            adjoints[output] = cotangent if earlier is None else self._node(Entry("+", (earlier, cotangent)))
        for node in reversed(self._ancestors(outputs, mask)):
            if node in adjoints:
                self._pass_on(node, adjoints, mask)
        found = {name: self.name(name) for name in names if name in self._bits}
        return {name: adjoints[node] for name, node in found.items() if node in adjoints}

    def jacobian_entries(self, outputs: Sequence[int], names: Sequence[str]) -> list[tuple[int, int, int]]:
        """Row, column and node of each ∂output/∂name that is not structurally zero, in order."""
        columns = enumerate(self.derivatives_by_many(outputs, names))
        return sorted((row, column, node) for column, rows in columns for row, node in rows.items())

    def _is_cheaper_backwards(self, outputs: Sequence[int], names: Sequence[str]) -> bool:
        """Whether derivatives by each name would walk far more nodes than those of each output, backwards."""
        mask = sum(1 << self._bits[name] for name in names if name in self._bits)
        nodes = self._ancestors(outputs, mask)
        forwards = sum((self._depends[node] & mask).bit_count() for node in nodes)
        return forwards > FAR_MORE * (len(outputs) * len(nodes) + 1_000)

    def _pass_on(self, node: int, adjoints: dict[int, int], mask: int) -> None:
        """Add ∂output/∂node times the derivatives of the node by its operands to those of the operands."""
        chain = _Chain(self, node, self.entries[node].operands)
        rule = _RULES.get(self.entries[node].operator)
        if rule is None:
            return
        for place, operand in enumerate(chain.operands):
            if not self._depends[operand] & mask:
                continue
            inner: Derivatives = [None] * len(chain.operands)
            inner[place] = self.number(1.0)
            local = rule(chain, inner)
            if local is None:
                continue
            steep = self.is_singular(local)
            term = (chain.guarded if steep else chain.times)(local, adjoints[node])
            total = chain.plus(adjoints.get(operand), term)
            assert total is not None
            adjoints[operand] = total

    def needed(self, outputs: Sequence[int]) -> list[int]:
        """All nodes that the outputs are computed from, and the outputs, in order."""
        return self._ancestors(outputs, None)

    @property
    def has_borders(self) -> bool:
        """Whether an argument may be moved to the border of its domain."""
        return borders.RTOL in self._bits

    def is_singular(self, node: int) -> bool:
        """Whether a derivative may be infinite or NaN where the expression is finite."""
        return node in self._singular

    def mark_singular(self, node: int) -> int:
        """Mark a derivative as singular, and so all that are computed from it; return it."""
        self._singular.add(node)
        return node

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
        self._index[entry] = node = len(self.entries) - 1
        if not self._singular.isdisjoint(entry.operands):
            self._singular.add(node)
        return node

    def operation(self, operator: str, operands: Sequence[int]) -> int:
        """The node of an operation on other nodes."""
        if operator in ("min", "max", "and", "or"):
            return reduce_pairwise(operands, lambda a, b: self._node(Entry(operator, (a, b))))
        return self._node(Entry(operator, self._within_border(operator, tuple(operands))))

    def _within_border(self, operator: str, operands: tuple[int, ...]) -> tuple[int, ...]:
        """The operands of an operation, the first moved to the operation's border if it is just beyond it."""
        exponent = self.entries[operands[1]].value if operator == "**" else None
        border = borders.border_of(operator, exponent)
        tolerance = self.tolerance(operands[0]) if border else None
        if border is None or tolerance is None:
            return operands
        more = operands[1:] if border == borders.IF_BROKEN else ()
        return self._node(Entry(border, (operands[0], tolerance, *more))), *operands[1:]

    def tolerance(self, argument: int) -> int | None:
        """The solver's error in an argument, Σ |∂a/∂y|·(atol + rtol·|y|); None if it depends on no state."""
        total, chain = None, _Chain(self, argument, ())
        for state in self._states:
            slope = self.derivatives([argument], state).get(0)
            if slope is None or self.is_singular(slope):
                continue
            relative = chain.make("*", self.name(borders.RTOL), chain.make("abs", self.name(state)))
            error = chain.make("+", self.name(borders.atol_of(state)), relative)
            number = chain.value(slope)
            size = self.number(abs(number)) if number is not None else chain.make("abs", slope)
            total = chain.plus(total, chain.times(size, error))
        return total

    def _derivative(self, node: int, derivatives: Mapping[int, int]) -> int | None:
        entry = self.entries[node]
        inner = [derivatives.get(operand) for operand in entry.operands]
        rule = _RULES.get(entry.operator)
        return rule(_Chain(self, node, entry.operands), inner) if rule else None


Derivatives = list[int | None]


@dataclass(frozen=True)
class _Chain:
    """A node whose derivative is being built, and the arithmetic to build it. None stands for a structural zero."""

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

    def scaled(self, factor: int, derivative: int | None) -> int | None:
        return None if derivative is None else self.times(factor, derivative)

    def guarded(self, factor: int, derivative: int | None) -> int | None:
        """As `scaled`, for a factor that may be infinite: the product with a derivative of 0 is 0."""
        if derivative is None or self.value(derivative) is not None:
            return self.scaled(factor, derivative)
        return self.make("guarded_product", factor, derivative)

    def scaled_by_another(self, factor: int, derivative: int | None, derivative_of_factor: int | None) -> int | None:
        """As `scaled`. A factor that does not change is 0 everywhere if it is 0, however steep the other is."""
        if derivative_of_factor is None and derivative is not None and self.graph.is_singular(derivative):
            return self.make("guarded_product", derivative, factor)
        return self.scaled(factor, derivative)


Rule = Callable[[_Chain, Derivatives], int | None]


def _product(c: _Chain, d: Derivatives) -> int | None:
    a, b = c.operands
    return c.plus(c.scaled_by_another(b, d[0], d[1]), c.scaled_by_another(a, d[1], d[0]))


def _quotient(c: _Chain, d: Derivatives) -> int | None:
    top = c.minus(d[0], c.scaled(c.node, d[1]))
    return None if top is None else c.make("/", top, c.operands[1])


def _power(c: _Chain, d: Derivatives) -> int | None:
    base, exponent = c.operands
    number = c.value(exponent)
    by_base: int | None = None
    if d[0] is not None:
        if number == 1.0:
            by_base = d[0]
        elif number == 2.0:
            by_base = c.scaled(c.times(c.graph.number(2.0), base), d[0])
        elif number != 0.0:
            factor = c.make("power_by_base", base, exponent)
            if number is None or number < 1.0:
                c.graph.mark_singular(factor)
            by_base = c.guarded(factor, d[0])
    by_exponent = c.guarded(c.make("power_by_exponent", base, exponent, c.node), d[1]) if d[1] is not None else None
    return c.plus(by_base, by_exponent)


def _extreme(weight: str) -> Rule:
    def rule(c: _Chain, d: Derivatives) -> int | None:
        a, b = c.operands
        # the weight may be 0 and the operand's derivative infinite
        first = c.make("guarded_product", d[0], c.make(weight, a, b)) if d[0] is not None else None
        second = c.make("guarded_product", d[1], c.make(weight, b, a)) if d[1] is not None else None
        return c.plus(first, second)

    return rule


def _choice(c: _Chain, d: Derivatives) -> int | None:
    if d[1] is None and d[2] is None:
        return None
    zero = c.graph.number(0.0)
    return c.make("where", c.operands[0], *(zero if derivative is None else derivative for derivative in d[1:]))


def _function(derivative_of: Callable[[_Chain, int], int], *, steep: bool = False) -> Rule:
    """The rule of a function of one operand. steep: its derivative is infinite somewhere."""

    def rule(c: _Chain, d: Derivatives) -> int | None:
        if d[0] is None:
            return None
        factor = derivative_of(c, c.operands[0])
        return c.guarded(c.graph.mark_singular(factor), d[0]) if steep else c.scaled(factor, d[0])

    return rule


def _within(c: _Chain, d: Derivatives) -> int | None:
    """Moved to the border, an argument no longer changes."""
    return None if d[0] is None else c.make("where", c.make("==", c.node, c.operands[0]), d[0], c.graph.number(0.0))


def _one_minus_square(c: _Chain, a: int) -> int:
    return c.make("-", c.graph.number(1.0), c.make("*", a, a))


def _one_plus_square(c: _Chain, a: int) -> int:
    return c.make("+", c.graph.number(1.0), c.make("*", a, a))


def _square_minus_one(c: _Chain, a: int) -> int:
    return c.make("-", c.make("*", a, a), c.graph.number(1.0))


def _over(c: _Chain, top: float, bottom: int) -> int:
    return c.make("/", c.graph.number(top), bottom)


_RULES: Mapping[str, Rule] = {
    "+": lambda c, d: c.plus(*d),
    "-": lambda c, d: c.minus(*d),
    "*": _product,
    "/": _quotient,
    "**": _power,
    "neg": lambda c, d: None if d[0] is None else c.make("neg", d[0]),
    "min": _extreme("minimum_weight"),
    "max": _extreme("maximum_weight"),
    "where": _choice,
    "abs": _function(lambda c, a: c.make("sign", a)),
    "exp": _function(lambda c, _: c.node),
    "log": _function(lambda c, a: _over(c, 1.0, a), steep=True),
    "log10": _function(lambda c, a: _over(c, 1 / math.log(10), a), steep=True),
    "log2": _function(lambda c, a: _over(c, 1 / math.log(2), a), steep=True),
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
    "asinh": _function(lambda c, a: _over(c, 1.0, c.make("sqrt", _one_plus_square(c, a)))),
    "acosh": _function(lambda c, a: _over(c, 1.0, c.make("sqrt", _square_minus_one(c, a))), steep=True),
    "atanh": _function(lambda c, a: _over(c, 1.0, _one_minus_square(c, a)), steep=True),
    "erf": _function(
        lambda c, a: c.make(
            "*", c.graph.number(2 / math.sqrt(math.pi)), c.make("exp", c.make("neg", c.make("*", a, a)))
        )
    ),
    **dict.fromkeys(borders.OPERATORS, _within),
    # floor, sign, comparisons, and, or and not are piecewise constant: no rule, no derivative
}
