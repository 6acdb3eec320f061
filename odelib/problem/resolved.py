"""A validated request with everything that follows from it, made once and handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from odelib.problem.data_split import SeriesSlice, split_series
from odelib.problem.expressions.definitions import underlying
from odelib.problem.expressions.parser import Expression
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.solver import choose_engine
from odelib.problem.system import System
from odelib.problem.unknowns import Unknown


@dataclass(frozen=True)
class ResolvedProblem:
    """What a fit, a simulation or a report needs to know of a request.

    request: as it was validated. fitted, held_out: the slices of the series that are fitted and held out.
    initial_expressions: the parsed expression of each text that stands for an initial value.
    sigma_expressions: of the noise, by observable. noise_parameters: the free parameters in them that occur in noise
    alone, by observable; without observables whose sigma has none.
    engine, method, device: names, with `auto` resolved; the method may still be an engine's own `auto`.
    """

    request: FitProblem
    system: System
    series: Sequence[MeasuredSeries]
    fitted: Sequence[SeriesSlice]
    held_out: Sequence[SeriesSlice]
    initial_expressions: Mapping[str, Expression]
    sigma_expressions: Mapping[str, Expression]
    noise_parameters: Mapping[str, frozenset[str]]
    engine: str
    method: str
    device: str


def _noise_parameters(problem: FitProblem) -> dict[str, frozenset[str]]:
    system = problem.resolved_system
    measured = {name for series in problem.series for name in series.values}
    of_model = [*system.equations.values(), *(system.observables[name] for name in measured)]
    names = {name for each in [*of_model, *problem.initial_expressions.values()] for name in each.names}
    in_model = underlying(names, system.definitions)
    free = {name for name, entry in problem.parameters.items() if not isinstance(entry, Unknown) or not entry.is_fixed}
    found = {}
    for observable, sigma in problem.sigma_expressions.items():
        through_observables = (system.observables[name].names for name in sigma.names & set(system.observables))
        in_sigma = underlying(sigma.names.union(*through_observables), system.definitions)
        if own := (free & in_sigma) - in_model:
            found[observable] = frozenset(own)
    return found


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
        sigma_expressions=problem.sigma_expressions,
        noise_parameters=_noise_parameters(problem),
        engine=engine,
        method=method,
        device=device,
    )
