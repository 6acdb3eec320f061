"""A validated request with everything that follows from it, made once and handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odelib.problem.data_split import SeriesSlice, split_series
from odelib.problem.expressions.parser import Expression
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.solver import choose_engine
from odelib.problem.system import System


@dataclass(frozen=True)
class ResolvedProblem:
    """What a fit, a simulation or a report needs to know of a request.

    request: as it was validated. fitted, held_out: the slices of the series that are fitted and held out.
    initial_expressions: the parsed expression of each text that stands for an initial value.
    engine, method, device: names, with `auto` resolved; the method may still be an engine's own `auto`.
    """

    request: FitProblem
    system: System
    series: Sequence[MeasuredSeries]
    fitted: Sequence[SeriesSlice]
    held_out: Sequence[SeriesSlice]
    initial_expressions: Mapping[str, Expression]
    engine: str
    method: str
    device: str


def resolve(problem: FitProblem) -> ResolvedProblem:
    """Resolve a validated request. Raises `ValueError` if no engine has the method on the device."""
    settings = problem.solver
    device = "cpu" if settings.device == "auto" else settings.device
    engine, method = choose_engine(settings.engine, settings.method, device)
    fitted, held_out = split_series(problem)
    return ResolvedProblem(
        request=problem,
        system=problem.resolved_system,
        series=problem.series,
        fitted=fitted,
        held_out=held_out,
        initial_expressions=problem.initial_expressions,
        engine=engine,
        method=method,
        device=device,
    )
