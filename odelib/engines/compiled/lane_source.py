"""A system → the source of its right-hand side with sensitivities for lanes, if it has only what lanes compute.

The arguments are those of `codegen`, with a number of each lane in place of each number. Rows are not padded:
z[n + i·width + j] is the derivative of state i by unknown j. The time follows the parameters and constants in q.

Nothing here treats the edges of functions: where one has no value, as a root just below 0 or an infinite slope times 0,
the result is NaN, and the member leaves its lane for the loop, which knows them.
"""

from __future__ import annotations

from odelib.engines.compiled.codegen import ARGUMENTS
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.symbolic.graph import Graph
from odelib.problem.expressions.parser import TIME
from odelib.problem.system import System

MAX_OPERATIONS = 400  # above it, systems have many states: a trajectory fills vectors by itself
_FUNCTIONS = ("exp", "log", "log10", "log2", "sin", "cos", "tan", "tanh", "sinh", "cosh", "atan")
_CALLS = {
    "+": "add({0}, {1})",
    "-": "subtract({0}, {1})",
    "*": "multiply({0}, {1})",
    "/": "divide({0}, {1})",
    "**": "power_of_each({0}, {1})",
    "neg": "negate({0})",
    "abs": "size({0})",
    "sqrt": "square_root({0})",
    "power_by_base": "multiply({1}, power_of_each({0}, subtract({1}, same(1.0))))",
    "power_by_exponent": "multiply({2}, log_of_each({0}))",
    "guarded_product": "multiply({0}, {1})",
    **{name: f"{name}_of_each({{0}})" for name in _FUNCTIONS},
}
_SIGNATURE = "types.void(types.float64, reals, reals, types.int64, integers, reals, reals)"
_OPERATIONS = ", ".join(
    [
        *("add", "divide", "load_lanes", "multiply", "multiply_add_lanes", "negate", "power_of_each", "same", "size"),
        *("square_root", "store_lanes", "subtract", *(f"{name}_of_each" for name in _FUNCTIONS)),
    ]
)
PREAMBLE = f'''"""Generated from the equations of a system by odelib/engines/compiled/lane_source.py."""

# calls {{called}}

from numba import cfunc, types

from odelib.engines.compiled.lane_operations import ({_OPERATIONS})

reals = types.CPointer(types.float64)
integers = types.CPointer(types.int64)


@cfunc({_SIGNATURE}, cache=True, error_model="numpy", fastmath={{{{"contract"}}}})
def rates_with_sensitivities({ARGUMENTS}):
'''


def lane_source(system: System, called: str) -> str | None:
    """The source of a module with the C function `rates_with_sensitivities`; None if lanes cannot compute it.

    called: a hash of the functions that it calls.
    """
    discontinuities = Discontinuities(system)
    found = discontinuities.constant
    if system.events or system.inputs or system.held or found is None or found.times.shape[1]:
        return None
    graph = Graph(discontinuities.definitions)
    outputs = [graph.add(discontinuities.equations[state]) for state in system.states]
    n, values = len(system.states), (*system.parameters, *system.constants)
    by_state, by_parameter = (
        sorted(
            (row, column, node)
            for column, name in enumerate(names)
            for row, node in graph.derivatives(outputs, name).items()
        )
        for names in (system.states, system.parameters)
    )
    needed = graph.needed([*outputs, *(node for *_, node in (*by_state, *by_parameter))])
    operators = {graph.entries[node].operator for node in needed} - {"number", "name"}
    if len(needed) > MAX_OPERATIONS or not operators <= _CALLS.keys():
        return None
    places = {TIME: f"load_lanes(q, {len(values)})"}
    places |= {state: f"load_lanes(z, {i})" for i, state in enumerate(system.states)}
    places |= {name: f"load_lanes(q, {i})" for i, name in enumerate(values)}
    lines, written = _statements(graph, needed, places)
    lines += [f"store_lanes(out, {i}, {written[node]})" for i, node in enumerate(outputs)]
    lines.append("for j in range(width):")
    for row in range(n):
        entries = [(column, node) for r, column, node in by_state if r == row]
        lines.append("    total = same(0.0)")
        for column, node in entries:
            product = f"{written[node]}, load_lanes(z, {n} + {column}*width + j)"
            lines.append(f"    total = multiply_add_lanes(total, {product})")
        lines.append(f"    store_lanes(out, {n} + {row}*width + j, total)")
    for row, parameter, node in by_parameter:
        place = f"{n} + {row}*width + column_of[{parameter}]"
        lines.append(f"if column_of[{parameter}] >= 0:")
        lines.append(f"    store_lanes(out, {place}, add(load_lanes(out, {place}), {written[node]}))")
    return PREAMBLE.format(called=called) + "".join(f"    {line}\n" for line in lines)


def _statements(graph: Graph, needed: list[int], places: dict[str, str]) -> tuple[list[str], dict[int, str]]:
    lines, written = [], {}
    for node in needed:
        entry = graph.entries[node]
        written[node] = f"v{node}"
        if entry.operator == "number":
            text = f"same({entry.value!r})"
        elif entry.operator == "name":
            text = places[str(entry.value)]
        else:
            text = _call(graph, entry.operator, entry.operands, written)
        lines.append(f"v{node} = {text}")
    return lines, written


def _call(graph: Graph, operator: str, operands: tuple[int, ...], written: dict[int, str]) -> str:
    given = [written[operand] for operand in operands]
    exponent = graph.entries[operands[1]].value if operator in ("**", "power_by_base") else None
    if exponent in (2.0, 3.0, 4.0):
        text = given[0] if operator == "**" else f"multiply({given[1]}, {given[0]})"
        for _ in range(int(exponent) - (1 if operator == "**" else 2)):
            text = f"multiply({text}, {given[0]})"
        return text
    return _CALLS[operator].format(*given)
