"""Measure the accuracy of a solve for the time it takes: odefit's methods, scipy's, diffrax's and CVODES.

    python -m bench.work_precision      (needs the `bench` extra)

Writes three tables and docs/images/work-precision.png: the states of DETEST's non-stiff problems, the states of the
stiff set, and the stiff set with the derivatives with respect to all parameters and initial values. The error is the
largest over times and states, relative to the largest value of each state (or derivative), compared with a reference
at a tight tolerance: scipy for states, CVODES for derivatives. Times are CPU times, the minimum of several calls.
Interpolation between the points of each method gives times at equal errors. A table has the geometric mean of these
times, relative to the engine's `auto`, over the problems in which both methods reach the error.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CORE = sorted(os.sched_getaffinity(0))[-1]
os.sched_setaffinity(0, {CORE})  # before the libraries count the cores

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from bench.peers import casadi, diffrax, ours, scipy  # noqa: E402
from bench.systems import Problem, Reals, detest, stiff  # noqa: E402
from odelib.errors import SolveError  # noqa: E402

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "work-precision.png"
RTOLS = (1e-4, 1e-6, 1e-8, 1e-10)
ERRORS = (1e-3, 1e-5, 1e-7, 1e-9)
TIGHT_RTOL, AGREE = 1e-12, 1e-4
CALLS, ENOUGH_SECONDS = 7, 0.2
AUTO = "odefit auto"

Contest = tuple[dict[str, Callable[[float], Reals]], Reals]  # who takes part, and the reference
Curve = list[tuple[float, float]]  # (error, seconds) at each tolerance
Curves = Mapping[str, Mapping[str, Curve]]  # by method, by problem


def main() -> None:
    """Measure, print, draw."""
    parts = {
        "DETEST": measured(detest(), _states),
        "stiff set": measured(stiff(), _states),
        "stiff set with derivatives": measured(stiff(), _derivatives),
    }
    for title, curves in parts.items():
        Console(width=110).print(table(title, curves))
    draw(parts)


def _states(problem: Problem) -> Contest:
    calls = {name: call for peer in (ours, scipy, diffrax, casadi) for name, call in peer.solves(problem).items()}
    return calls, scipy.reference(problem)


def _derivatives(problem: Problem) -> Contest:
    scale = np.abs(np.concatenate([problem.parameters, problem.initial_state]))
    scale[scale == 0] = 1.0
    cvodes = {rtol: casadi.sensitivities(problem, rtol, rtol * problem.smallest) for rtol in RTOLS}
    calls = {
        "odefit kvaerno5": lambda rtol: ours.sensitivities(problem, rtol, "kvaerno5")[1] * scale,
        AUTO: lambda rtol: ours.sensitivities(problem, rtol)[1] * scale,
        "CVODES (CasADi)": lambda rtol: cvodes[rtol]()[1] * scale,
    }
    return calls, _agreed_derivatives(problem) * scale


def _agreed_derivatives(problem: Problem) -> Reals:
    """CVODES's at a tight tolerance; that the engine's own are near them is checked."""
    reference = casadi.sensitivities(problem, TIGHT_RTOL, TIGHT_RTOL * problem.smallest)()[1]
    own = ours.sensitivities(problem, TIGHT_RTOL, "kvaerno5")[1]
    largest = np.abs(reference).max(axis=0)
    apart = float((np.abs(own - reference) / np.where(largest > 0, largest, 1.0)).max())
    print(f"\n{problem.name}: CVODES and odefit agree to {apart:.0e} at rtol {TIGHT_RTOL:g}", file=sys.stderr)
    if not apart < AGREE:
        raise SystemExit(f"{problem.name}: the derivatives by CVODES and odefit differ by {apart:.1e}")
    return reference


def measured(problems: Sequence[Problem], contest: Callable[[Problem], Contest]) -> Curves:
    """Everybody's errors and times."""
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for problem in problems:
        calls, reference = contest(problem)
        scale = np.abs(reference).max(axis=0)
        scale[scale == 0] = 1.0
        for name, call in calls.items():
            curves[name][problem.name] = [
                point for rtol in RTOLS if (point := _point(f"{problem.name}, {name}", call, rtol, reference, scale))
            ]
        print(problem.name, end=" ", flush=True, file=sys.stderr)
    return curves


def _point(
    what: str, call: Callable[[float], Reals], rtol: float, reference: Reals, scale: Reals
) -> tuple[float, float] | None:
    try:
        error = float((np.abs(call(rtol) - reference) / scale).max())
    except (RuntimeError, SolveError) as failure:
        print(f"\n{what}, rtol {rtol:g}: {str(failure)[:200]}", file=sys.stderr)
        return None
    seconds: list[float] = []
    while len(seconds) < CALLS and sum(seconds) < ENOUGH_SECONDS:
        began = time.process_time()
        call(rtol)
        seconds.append(time.process_time() - began)
    return error, min(seconds)


def seconds_at(error: float, curve: Curve) -> float:
    """The time at which a method reaches an error, by interpolation between tolerances; NaN where it does not."""
    ascending = sorted(curve)
    if not ascending or ascending[0][0] > error:
        return np.nan
    errors, seconds = np.log(np.maximum(np.array(ascending), 1e-300)).T
    return float(np.exp(np.interp(np.log(error), errors, seconds)))


def table(title: str, curves: Curves) -> Table:
    """For each error the geometric mean of the ratios to `auto`, and on how many problems both reach it."""
    result = Table(title=f"{title}: time as a multiple of {AUTO}'s (problems)")
    result.add_column("error")
    for error in ERRORS:
        result.add_column(f"{error:g}", justify="right")
    for name, by_problem in curves.items():
        cells = []
        for error in ERRORS:
            ratios = [seconds_at(error, curve) / seconds_at(error, curves[AUTO][p]) for p, curve in by_problem.items()]
            reached = [ratio for ratio in ratios if np.isfinite(ratio)]
            cells.append(f"{np.exp(np.mean(np.log(reached))):.3g} ({len(reached)})" if reached else "")
        result.add_row(name, *cells)
    return result


def draw(parts: Mapping[str, Curves]) -> None:
    """Geometric means over the problems of error and time at each tolerance, a panel a part."""
    figure, axes = plt.subplots(1, len(parts), figsize=(14, 5.4), layout="constrained")
    for panel, (title, curves) in zip(axes, parts.items(), strict=True):
        for name, by_problem in curves.items():
            complete = [curve for curve in by_problem.values() if len(curve) == len(RTOLS)]
            if complete:
                errors, seconds = np.exp(np.mean(np.log(np.maximum(complete, 1e-16)), axis=0)).T
                style = "o-" if name.startswith("odefit") else "s--"
                panel.loglog(errors, 1e3 * seconds, style, markersize=4, label=name)
        panel.set(title=title, xlabel="largest error, relative to the largest value")
        panel.invert_xaxis()
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    axes[0].set_ylabel("ms, geometric mean over the problems")
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
