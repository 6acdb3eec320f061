"""`dopri5.c`, compiled by `cc -O3 -march=native` for one system, with derivatives from sympy."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sympy
from sympy.printing.c import C99CodePrinter

from bench.peers.equations import right_hand_side
from bench.systems import Problem, Reals

FLAGS = ["-O3", "-march=native", "-shared", "-fPIC"]
MAX_STEPS = 1_000_000
_SOURCE = Path(__file__).with_name("dopri5.c")
_reals = ctypes.POINTER(ctypes.c_double)


def gradients(problem: Problem, rtol: float, atol: float) -> dict[str, Callable[[], tuple[float, Reals]]]:
    """Plain C; nothing for a stiff problem. How many steps it took is the function's attribute `steps`."""
    if problem.stiff:
        return {}
    assert problem.data is not None
    library = _library(problem)
    n, m = len(problem.initial_state), len(problem.initial_state) + len(problem.parameters)
    times, start, values, data = (
        np.ascontiguousarray(a) for a in (problem.times, problem.initial_state, problem.parameters, problem.data)
    )
    out, loss, along = np.empty((len(times), n + n * m)), np.empty(1), np.empty(m)
    given = [_pointer(a) for a in (start, values, data)]
    made = [_pointer(a) for a in (out, loss, along)]
    where = _pointer(times)

    def gradient() -> tuple[float, Reals]:
        steps = library.gradient(where, len(times), *given, rtol, atol, MAX_STEPS, *made)
        if steps < 0:
            raise RuntimeError(f"plain C cannot solve {problem.name}")
        gradient.steps = steps  # type: ignore[attr-defined]
        return float(loss[0]), along

    gradient.arrays = (times, start, values, data, out, loss, along)  # type: ignore[attr-defined]
    return {"plain C": gradient}


def _pointer(array: Reals) -> Any:
    return array.ctypes.data_as(_reals)


def _library(problem: Problem) -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp(prefix="bench-c-"))
    model, target = folder / "model.h", folder / "peer.so"
    model.write_text(model_text(problem))
    command = ["cc", *FLAGS, f'-DMODEL="{model}"', "-o", str(target), str(_SOURCE), "-lm"]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))
    library.gradient.restype = ctypes.c_long
    library.gradient.argtypes = [
        _reals, ctypes.c_long, _reals, _reals, _reals, ctypes.c_double, ctypes.c_double, ctypes.c_long, _reals, _reals,
        _reals,
    ]  # fmt: skip
    return library


class _Printer(C99CodePrinter):
    """Small whole powers as products, as one writes them."""

    def _print_Pow(self, expr: Any) -> str:  # noqa: N802 (sympy's name)
        base, exponent = expr.as_base_exp()
        if exponent.is_Integer and 2 <= exponent <= 4:
            return "(" + "*".join([f"({self._print(base)})"] * int(exponent)) + ")"
        text: str = super()._print_Pow(expr)
        return text


def model_text(problem: Problem) -> str:
    """The C function `rates` for states and sensitivities, columns being parameters, then initial values."""
    system = problem.system
    n, p = len(system.states), len(system.parameters)
    t = sympy.Symbol("t")
    y = sympy.symbols(f"y0:{n}")
    q = sympy.symbols(f"q0:{p}")
    constants = {name: sympy.nsimplify(value) for name, value in system.constants.items()}
    functions = right_hand_side(system, sympy, constants)(t, y, q)
    by_state, by_parameter = ([[sympy.diff(f, x) for x in xs] for f in functions] for xs in (y, q))
    slopes = [(f"J{i}_{k}", d) for i, row in enumerate(by_state) for k, d in enumerate(row) if d != 0]
    slopes += [(f"P{i}_{k}", d) for i, row in enumerate(by_parameter) for k, d in enumerate(row) if d != 0]
    shared, reduced = sympy.cse([*functions, *(d for _, d in slopes)])
    say = _Printer().doprint
    lines = [f"const double y{i} = z[{i}];" for i in range(n)] + [f"const double q{i} = q[{i}];" for i in range(p)]
    lines += [f"const double {symbol} = {say(value)};" for symbol, value in shared]
    lines += [f"out[{i}] = {say(f)};" for i, f in enumerate(reduced[:n])]
    lines += [f"const double {name} = {say(d)};" for (name, _), d in zip(slopes, reduced[n:], strict=True)]
    lines.append("for (int j = 0; j < M; j++) {")
    for i, row in enumerate(by_state):
        terms = [f"J{i}_{k} * z[N + {k} * M + j]" for k, d in enumerate(row) if d != 0]
        lines.append(f"    out[N + {i} * M + j] = {' + '.join(terms) or '0'};")
    lines.append("}")
    lines += [f"out[N + {name[1:].replace('_', ' * M + ')}] += {name};" for name, _ in slopes if name[0] == "P"]
    body = "\n".join(f"    {line}" for line in lines)
    head = f"#define N {n}\n#define M {n + p}\n"
    arguments = "double t, const double *z, const double *q, double *out"
    return f"{head}static inline void rates({arguments}) {{\n{body}\n}}\n"
