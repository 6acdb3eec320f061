"""A validated request with everything that follows from it, made once and handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from odelib.problem.data_split import SeriesSlice, split_series
from odelib.problem.expressions.definitions import underlying
from odelib.problem.expressions.parser import Expression
from odelib.problem.protocol import Protocol
from odelib.problem.protocols import RequestProtocols
from odelib.problem.request import FitProblem
from odelib.problem.series import MeasuredSeries
from odelib.problem.solver import choose_engine
from odelib.problem.system import System
from odelib.problem.unknowns import Unknown
from odelib.problem.weights import ExpandedNetwork, expanded


@dataclass(frozen=True)
class ResolvedProblem:
    """What a fit, a simulation or a report needs to know of a request.

    request: as it was validated, with networks as expressions (see `odelib.problem.weights`). networks: what these were
    made of. fitted, held_out: the slices of the series that are fitted and held out.
    system: the caller's. solved_system: it with those constants that any series gives as an expression as further
    parameters, after its own. constants: of each series, in place of the system's. expressions: the parsed expression
    of each text outside the system.
    protocols: of each series, then of each prediction; they keep their identity. has_protocols: whether any of them
    does anything.
    sigma_expressions: of the noise, by observable. noise_parameters: the free parameters in them that occur in noise
    alone, by observable; without observables whose sigma has none.
    engine, method, device: names, with `auto` resolved; the method may still be an engine's own `auto`.
    """

    request: FitProblem
    system: System
    solved_system: System
    series: Sequence[MeasuredSeries]
    fitted: Sequence[SeriesSlice]
    held_out: Sequence[SeriesSlice]
    expressions: Mapping[str, Expression]
    constants: Sequence[Mapping[str, float | Expression]]
    protocols: tuple[Protocol, ...]
    has_protocols: bool
    sigma_expressions: Mapping[str, Expression]
    noise_parameters: Mapping[str, frozenset[str]]
    networks: tuple[ExpandedNetwork, ...]
    engine: str
    method: str
    device: str

    @cached_property
    def names_of_states(self) -> frozenset[str]:
        """The names that the states depend on after the start of a series, those of what was done in any among them."""
        system = self.solved_system
        expressions = [*system.equations.values()]
        for event in system.events:
            expressions += [event.when, *event.set.values(), *event.add.values()]
        for protocol in self.protocols:
            expressions += protocol.expressions()
        return underlying({name for expression in expressions for name in expression.names}, system.definitions)


def _noise_parameters(problem: FitProblem) -> dict[str, frozenset[str]]:
    system = problem.resolved_system
    measured = {name for series in problem.series for name in series.values}
    of_model = [*system.equations.values(), *(system.observables[name] for name in measured)]
    of_model += [value for event in system.events for value in (event.when, *event.set.values(), *event.add.values())]
    names = {name for each in [*of_model, *problem.expressions.values()] for name in each.names}
    in_model = underlying(names, system.definitions)
    free = {name for name, entry in problem.parameters.items() if not isinstance(entry, Unknown) or not entry.is_fixed}
    found = {}
    for observable, sigma in problem.sigma_expressions.items():
        through_observables = (system.observables[name].names for name in sigma.names & set(system.observables))
        in_sigma = underlying(sigma.names.union(*through_observables), system.definitions)
        if own := (free & in_sigma) - in_model:
            found[observable] = frozenset(own)
    return found


def _solved_system(system: System, constants: Sequence[Mapping[str, float | Expression]]) -> System:
    derived = {name for given in constants for name, value in given.items() if isinstance(value, Expression)}
    if not derived:
        return system
    return replace(
        system,
        parameters=(*system.parameters, *(name for name in system.constants if name in derived)),
        constants={name: value for name, value in system.constants.items() if name not in derived},
    )


def resolve(problem: FitProblem) -> ResolvedProblem:
    """Resolve a validated request. Raises `ValueError` if no engine has the method on the device."""
    problem, networks = expanded(problem)
    settings = problem.solver
    device = "cpu" if settings.device == "auto" else settings.device
    fitted, held_out = split_series(problem)
    system = replace(problem.resolved_system, perceptrons=tuple(network.perceptron for network in networks))
    parsed = RequestProtocols(problem)
    constants = [parsed.constants(series) for series in problem.series]
    protocols = [parsed.of_series(series) for series in problem.series]
    names = [series.name for series in problem.series]
    for prediction in problem.predictions:
        index = names.index(prediction.experiment) if prediction.experiment in names else 0
        protocols.append(parsed.of_prediction(prediction, problem.series[index]))
    has_protocols = not all(protocol.does_nothing for protocol in protocols)
    engine, method = choose_engine(
        settings.engine, settings.method, device, needs_protocols=has_protocols or bool(system.events)
    )
    return ResolvedProblem(
        request=problem,
        system=system,
        solved_system=_solved_system(system, constants),
        series=problem.series,
        fitted=fitted,
        held_out=held_out,
        expressions=problem.expressions,
        constants=constants,
        protocols=tuple(protocols),
        has_protocols=has_protocols,
        sigma_expressions=problem.sigma_expressions,
        noise_parameters=_noise_parameters(problem),
        networks=networks,
        engine=engine,
        method=method,
        device=device,
    )
