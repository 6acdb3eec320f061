"""Systems and protocols from texts, and solves under them, for tests of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from odelib.engines.base import DifferentiateBy, Engine, Sensitivities, SolverOptions, SolveSettings, never
from odelib.engines.schedules.schedule import Protocols
from odelib.problem.expressions.definitions import in_order
from odelib.problem.expressions.parser import Expression, parse_condition, parse_expression
from odelib.problem.protocol import Change, Dose, InputValue, Knots, Protocol, SteadyState
from odelib.problem.system import Event, System

Array = NDArray[np.float64]


def parsed(value: str | float) -> Expression:
    return parse_expression(str(value))


def all_parsed(values: Mapping[str, str | float]) -> dict[str, Expression]:
    return {name: parsed(value) for name, value in values.items()}


def event(name: str, when: str, to_set: Any = None, add: Any = None, **more: Any) -> Event:
    return Event(name, parse_condition(when), all_parsed(to_set or {}), all_parsed(add or {}), **more)


def system(
    equations: Mapping[str, str],
    parameters: Sequence[str],
    constants: Mapping[str, float] | None = None,
    *,
    inputs: Sequence[str] = (),
    definitions: Mapping[str, str] | None = None,
    events: Sequence[Event] = (),
) -> System:
    states = tuple(equations)
    return System(
        name="test",
        states=states,
        parameters=tuple(parameters),
        constants=dict(constants or {}),
        equations=all_parsed(equations),
        observables=all_parsed({state: state for state in states}),
        definitions=in_order(all_parsed(definitions or {}))[0],
        inputs=tuple(inputs),
        events=tuple(events),
    )


def given(value: str | float | Knots) -> InputValue:
    return value if isinstance(value, Knots) else parsed(value)


def knots(
    times: Sequence[float], values: Sequence[str | float], interpolation: Any = "linear", outside: Any = "hold"
) -> Knots:
    read = tuple(parsed(value) if isinstance(value, str) else value for value in values)
    return Knots(tuple(times), read, interpolation, outside)


def dose(into: str, amount: str | float, at: Any, *, count: int = 1, steady: bool = False, **more: Any) -> Dose:
    times = tuple(parsed(time) for time in (at if isinstance(at, list) else [at]))
    return Dose(into, parsed(amount), times, count=count, steady=steady, **all_parsed(more))


def change(
    at: str | float, *, to_set: Any = None, add: Any = None, constants: Any = None, inputs: Any = None
) -> Change:
    values = {name: given(value) for name, value in (inputs or {}).items()}
    return Change(parsed(at), all_parsed(to_set or {}), all_parsed(add or {}), all_parsed(constants or {}), values)


def steady_state(*, constants: Any = None, inputs: Any = None, to_set: Any = None) -> SteadyState:
    values = {name: given(value) for name, value in (inputs or {}).items()}
    return SteadyState(all_parsed(constants or {}), values, all_parsed(to_set or {}))


def protocol(inputs: Any = None, **more: Any) -> Protocol:
    return Protocol({name: given(value) for name, value in (inputs or {}).items()}, **more)


def settings(
    times: Any, constants: Any, protocols: Protocols | None, by: DifferentiateBy | None = None, *, rtol: float = 1e-8,
    method: str = "dopri5", **more: Any,
) -> SolveSettings:  # fmt: skip
    options = SolverOptions(method, rtol, 1e-3 * rtol, more.pop("max_steps", 100_000))
    as_tensors = [torch.as_tensor(np.array(values, dtype=float)) for values in (times, constants)]
    return SolveSettings(*as_tensors, options, never, by or DifferentiateBy(), protocols, **more)


def solved(
    engine: Engine, of: System, protocols: Sequence[Protocol], times: Any, states: Any, parameters: Any,
    constants: Any = None, **more: Any,
) -> Sensitivities:  # fmt: skip
    """Each protocol is that of one member; states, parameters, constants: of each, or of all."""
    count = len(protocols)
    every = DifferentiateBy(tuple(range(len(of.states))), tuple(range(len(of.parameters))))
    wide = [np.array(np.broadcast_to(values, (count, np.shape(values)[-1])), float) for values in (states, parameters)]
    own = list(of.constants.values()) if constants is None else constants
    what = settings(
        np.broadcast_to(times, (count, len(times))), np.broadcast_to(own, (count, len(of.constants))),
        Protocols(tuple(protocols), tuple(range(count))), more.pop("by", every), **more,
    )  # fmt: skip
    return engine.sensitivities(*wide, what)
