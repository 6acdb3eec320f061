"""A system → the CUDA C++ of its kernel: the generated equations and coefficients, then the files beside this one.

The text is the same for NVRTC and, in tests, for the host's compiler. `z` is the state, then the sensitivities row by
row: z[N + i·M + j] is the derivative of state i by unknown j. `q` holds the parameters, then the constants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from odelib.arrays import Reals
from odelib.engines.base import DifferentiateBy
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.symbolic import borders
from odelib.engines.symbolic.graph import Graph
from odelib.engines.tableaus.kvaerno5 import GAMMA, KVAERNO5
from odelib.engines.tableaus.registry import EXPLICIT
from odelib.engines.tableaus.tableau import Tableau
from odelib.errors import FitError
from odelib.problem.expressions.parser import TIME
from odelib.problem.system import System

FILES = ("primitives", "equations", "step_control", "explicit", "implicit", "solve")  # `equations` is generated
MAX_OPERATIONS = 20_000  # in the equations and their derivatives; NVRTC takes a minute for as many
MAX_ROW = 600  # numbers in a row: every thread has some twelve rows in local memory, which the card has for all of them
INLINED = 400  # operations up to which the equations are written into each stage: their values stay in registers

_TABLEAUS = {tableau.name: tableau for tableau in EXPLICIT}
_CALLS = {
    **{operator: f"{{0}} {operator} {{1}}" for operator in ("+", "-", "*", "/", "<", "<=", ">", ">=", "==", "!=")},
    **{name: f"{name}({{0}})" for name in ("exp", "log", "log10", "log2", "sqrt", "erf", "floor", "sign")},
    **{name: f"{name}({{0}})" for name in ("sin", "cos", "tan", "asin", "acos", "atan")},
    **{name: f"{name}({{0}})" for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    **{name: f"{name}({{0}}, {{1}})" for name in ("power_by_base", "guarded_product", "minimum_weight")},
    **{border: f"{border}({{0}}, {{1}})" for border in borders.OPERATORS if border != borders.IF_BROKEN},
    borders.IF_BROKEN: f"{borders.IF_BROKEN}({{0}}, {{1}}, {{2}})",
    "power_by_exponent": "power_by_exponent({0}, {1}, {2})",
    "maximum_weight": "minimum_weight({1}, {0})",
    "abs": "fabs({0})",
    "min": "minimum({0}, {1})",
    "max": "maximum({0}, {1})",
    "neg": "-{0}",
    "and": "{0} && {1}",
    "or": "{0} || {1}",
    "not": "!{0}",
    "where": "({0} ? {1} : {2})",
}


@dataclass(frozen=True)
class Variant:
    """What a kernel is specialised for.

    differentiate_by: the unknowns. explicit: the name of the explicit method. with_implicit: whether the kernel has the
    implicit method as well. with_zeros: whether unknowns may be 0: their sensitivities have tolerances of their own.
    """

    differentiate_by: DifferentiateBy
    explicit: str
    with_implicit: bool
    with_zeros: bool
    threads: int = 128  # of a block


class CudaSource:
    """Writes the kernels of a system. Raises `FitError` if it has what no kernel has, or is too large."""

    def __init__(self, system: System) -> None:
        self.system = system
        discontinuities = Discontinuities(system)
        found = discontinuities.constant
        if system.events or system.inputs or system.held or found is None or found.times.shape[1]:
            raise not_on_gpu("events, inputs or comparisons with time")
        self._graph = Graph(discontinuities.definitions, system.states)
        self._outputs = [self._graph.add(discontinuities.equations[state]) for state in system.states]
        self._by_state = self._graph.jacobian_entries(self._outputs, system.states)
        self._by_parameter = self._graph.jacobian_entries(self._outputs, system.parameters)
        self.has_borders = self._graph.has_borders
        self.values = len(system.parameters) + len(system.constants)
        self._names = {TIME: "t"} | {state: f"z[{i}]" for i, state in enumerate(system.states)}
        self._names |= {name: f"q[{i}]" for i, name in enumerate((*system.parameters, *system.constants))}
        tolerances = [borders.RTOL, *map(borders.atol_of, system.states)]
        self._names |= {name: f"q[{self.values + i}]" for i, name in enumerate(tolerances)}
        derivatives = [node for *_, node in (*self._by_state, *self._by_parameter)]
        self._operations = len(self._graph.needed([*self._outputs, *derivatives]))
        if self._operations > MAX_OPERATIONS:
            raise _too_large(f"{self._operations:,} operations in the equations and their derivatives", MAX_OPERATIONS)

    def text(self, variant: Variant) -> str:
        """The source of the kernel `solve`."""
        n, m = len(self.system.states), variant.differentiate_by.count
        if n * (1 + m) > MAX_ROW:
            raise _too_large(f"{n * (1 + m):,} states and sensitivities", MAX_ROW)
        unknowns = [*variant.differentiate_by.states, *(n + each for each in variant.differentiate_by.parameters)]
        head = [
            f"constexpr int N = {n}, M = {m}, VALUES = {self.values}, THREADS = {variant.threads};",
            f"constexpr bool BORDERS = {str(self.has_borders).lower()};",
            f"#define WITH_IMPLICIT {int(variant.with_implicit)}",
            f"#define WITH_ZEROS {int(variant.with_zeros and m > 0)}",
        ]
        equations = [
            "",
            *_table("UNKNOWNS", unknowns or [0]),
            *_method("Explicit", _TABLEAUS[variant.explicit]),
            *_method("Implicit", KVAERNO5),
            *self._equations(variant.differentiate_by),
        ]
        folder = resources.files(__package__)
        parts = ["\n".join(head)]
        for name in FILES:
            is_left_out = name == "implicit" and not variant.with_implicit
            if not is_left_out:
                generated = name == "equations"
                parts.append("\n".join(equations) if generated else (folder / f"{name}.cuh").read_text("utf-8"))
        return "\n".join(parts)

    def _equations(self, differentiate_by: DifferentiateBy) -> list[str]:
        n = len(self.system.states)
        marker = "DEVICE" if self._operations <= INLINED else "ROUTINE"
        arguments = "(double t, const double* __restrict__ z, const double* __restrict__ q, double* __restrict__ out)"
        rates = {f"out[{i}]": node for i, node in enumerate(self._outputs)}
        matrix = {f"out[{row * n + column}]": node for row, column, node in self._by_state}
        return [
            f"{marker} void rates{arguments} {{",
            *self._statements(rates),
            "}",
            f"ROUTINE void jacobian{arguments} {{",
            f"  for (int k = 0; k < {n * n}; ++k) out[k] = 0.0;",
            *self._statements(matrix),
            "}",
            f"{marker} void rates_with_sensitivities{arguments} {{",
            *self._with_sensitivities(rates, differentiate_by),
            "}",
            "",
        ]

    def _with_sensitivities(self, rates: Mapping[str, int], differentiate_by: DifferentiateBy) -> list[str]:
        """dS/dt = J·S + ∂f/∂p."""
        if not differentiate_by.count:
            return self._statements(rates)
        n, m, first = len(self.system.states), differentiate_by.count, len(differentiate_by.states)
        column_of = {parameter: first + place for place, parameter in enumerate(differentiate_by.parameters)}
        own = [entry for entry in self._by_parameter if entry[1] in column_of]
        local = {f"const double s{i}": node for i, (*_, node) in enumerate((*self._by_state, *own))}
        names = {i: f"s{i}" for i in range(len(self._by_state))}
        lines = self._statements({**rates, **local})
        for i, (_, column, node) in enumerate(self._by_state):
            if self._graph.is_singular(node):
                names[i] = f"g{i}"
                lines.append(f"  const double g{i} = slope(s{i}, z + {n + column * m});")
        lines += ["#pragma unroll UNROLL", f"  for (int j = 0; j < {m}; ++j) {{"]
        for row in range(n):
            terms = [
                f"{names[i]} * z[{n + column * m} + j]" for i, (r, column, _) in enumerate(self._by_state) if r == row
            ]
            lines.append(f"    out[{n + row * m} + j] = {' + '.join(terms) or '0.0'};")
        lines.append("  }")
        for i, (row, parameter, _) in enumerate(own, start=len(self._by_state)):
            lines.append(f"  out[{n + row * m + column_of[parameter]}] += s{i};")
        return lines

    def _statements(self, targets: Mapping[str, int]) -> list[str]:
        written: dict[int, str] = {}
        lines = []
        for node in self._graph.needed(list(targets.values())):
            entry = self._graph.entries[node]
            if entry.operator == "number":
                written[node] = _number(float(entry.value or 0.0))
            elif entry.operator == "name":
                written[node] = f"x{node}"
                lines.append(f"  const double x{node} = {self._names[str(entry.value)]};")
            else:
                written[node] = f"v{node}"
                operation = _operation(entry.operator, [written[operand] for operand in entry.operands])
                lines.append(f"  const auto v{node} = {operation};")
        return lines + [f"  {target} = {written[node]};" for target, node in targets.items()]


def not_on_gpu(what: str) -> FitError:
    """The error for a system that no kernel solves."""
    return FitError(
        "not_on_gpu",
        "This system cannot be solved on a GPU",
        f"the compiled engine has no {what} on a GPU; set solver.device to 'cpu', or solver.engine to 'torchdiffeq'",
    )


def _too_large(what: str, most: int) -> FitError:
    return FitError(
        "system_too_large",
        "The system is too large for a GPU",
        f"it has {what}, and a thread of a GPU has room for {most:,}; set solver.device to 'cpu', or fix some unknowns",
    )


def _operation(operator: str, operands: Sequence[str]) -> str:
    return _power(*operands) if operator == "**" else _CALLS[operator].format(*operands)


def _power(base: str, exponent: str) -> str:
    products = {"(2.0)": 2, "(3.0)": 3, "(4.0)": 4}
    if exponent in products:
        return "*".join([base] * products[exponent])
    return f"sqrt({base})" if exponent == "(0.5)" else f"pow({base}, {exponent})"


def _number(value: float) -> str:
    return "INFINITE" if value == float("inf") else f"({value!r})"


def _method(name: str, tableau: Tableau) -> list[str]:
    """A method as a struct. Its tables are in functions: a kernel cannot address a constant of the host."""
    interpolates = [int(bool(row.any())) for row in tableau.interpolant]
    numbers = {
        "ORDER": tableau.order,
        "ERROR_ORDER": tableau.error_order,
        "MAIN": tableau.main,
        "STAGES": len(tableau.c),
        "DEGREE": tableau.interpolant.shape[1],
    }
    constants = ", ".join(f"{key} = {value}" for key, value in numbers.items())
    return [
        f"struct {name} {{",
        f"  static constexpr int {constants};",
        f"  static constexpr bool TWO_ESTIMATES = {str(bool(tableau.error_low.any())).lower()};",
        f"  static constexpr double GAMMA = {GAMMA!r};",
        *_of_two("a", tableau.a),
        *_of_two("interpolant", tableau.interpolant),
        *_of_one("c", tableau.c),
        *_of_one("error", tableau.error),
        *_of_one("error_low", tableau.error_low),
        *_of_one("interpolates", interpolates),
        "};",
    ]


def _of_one(name: str, values: Sequence[float] | Reals) -> list[str]:
    listed = ", ".join(repr(float(value)) for value in values)
    return [
        f"  static MEMBER double {name}(int i) {{",
        f"    constexpr double table[] = {{{listed}}};",
        "    return table[i];",
        "  }",
    ]


def _of_two(name: str, values: Reals) -> list[str]:
    rows = ", ".join("{" + ", ".join(repr(float(value)) for value in row) + "}" for row in values)
    return [
        f"  static MEMBER double {name}(int i, int j) {{",
        f"    constexpr double table[][{values.shape[1]}] = {{{rows}}};",
        "    return table[i][j];",
        "  }",
    ]


def _table(name: str, values: Sequence[int]) -> list[str]:
    return [
        f"DEVICE int {name.lower()[:-1]}(int j) {{",
        f"  constexpr int table[] = {{{', '.join(map(str, values))}}};",
        "  return table[j];",
        "}",
    ]
