"""An extended system with the timelines of its protocols: schedules for batches of solves, and what observables see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from odelib.arrays import Reals
from odelib.engines.discontinuities import Discontinuities
from odelib.engines.missing_values import Terms, describe_failure
from odelib.engines.schedules.entries import Entries, Window
from odelib.engines.schedules.extension import Reset, extend
from odelib.engines.schedules.modes import as_written, comparisons_of, jumping_comparisons, mode_count, with_modes
from odelib.engines.schedules.observed import observed_values
from odelib.engines.schedules.schedule import PIECE_SIZE, Protocols, Schedule
from odelib.engines.schedules.stacking import Columns, stacked, with_switches
from odelib.engines.schedules.timeline import Part, Timeline
from odelib.engines.schedules.value_pool import PoolValues, ValuePool
from odelib.engines.switching_times import GAP
from odelib.errors import SolveError
from odelib.problem.protocol import Protocol
from odelib.problem.system import System

Phase = Literal["experiment", "settling", "period"]


class ExtendedSystem:
    """The system that an engine solves in place of another, for any of some protocols.

    system: its states are the original ones, then held ones with rate 0; its parameters are the original ones; its
    constants are the original ones, then held numbers. It has no inputs: each is a definition. Its events are the
    original ones. Then come modes and their events: see `modes`. resets: those of changes, by the number that a RESET
    entry has. with_conditions: see `Discontinuities`. has_modes: False to leave modes out. equations, definitions:
    those without modes.
    """

    def __init__(
        self, system: System, protocols: tuple[Protocol, ...], *, with_conditions: bool = False, has_modes: bool = True
    ) -> None:
        self.original, self.protocols = system, protocols
        self.extension = extend(system, protocols)
        self.equations, self.definitions = self.extension.system.equations, self.extension.system.definitions
        if has_modes:
            moded = with_modes(self.extension.system, system.states)
            self.extension = replace(self.extension, system=moded)
        self.system = self.extension.system
        self.mode_count = mode_count(self.system)
        self.resets: tuple[Reset, ...] = self.extension.resets
        self.pool = ValuePool(system)
        self.timelines = [Timeline(self.extension, protocol, self.pool) for protocol in protocols]
        self._of_phases: dict[Phase, list[Timeline | None]] = {
            "experiment": list(self.timelines),
            "settling": [self._settling(protocol) for protocol in protocols],
            "period": [self._period(protocol) for protocol in protocols],
        }
        self.pool.close()
        self.discontinuities = Discontinuities(self.system, with_conditions=with_conditions)
        self._last: _Joined | None = None

    def _settling(self, protocol: Protocol) -> Timeline | None:
        steady = protocol.steady_state
        if steady is None:
            return None
        settling = Protocol(inputs={**protocol.inputs, **steady.inputs})
        return Timeline(self.extension, settling, self.pool, steady.constants)

    def _period(self, protocol: Protocol) -> Timeline | None:
        doses = [replace(dose, count=1, steady=False) for dose in protocol.doses if dose.steady]
        if not doses:
            return None
        return Timeline(self.extension, Protocol(inputs=protocol.inputs, doses=tuple(doses)), self.pool)

    def schedule(
        self, members: Sequence[int], values: Reals, first: Reals, last: Reals, *, is_start: bool, with_jacobian: bool,
        skips_earlier: bool = False, phase: Phase = "experiment",
    ) -> Schedule:  # fmt: skip
        """What happens in each solve.

        members: (B,), the place of each one's protocol. values: (B, p + c), parameters and the original constants.
        first, last: (B,), the times between which it is solved. is_start, skips_earlier: see `SolveSettings`.
        with_jacobian: whether the derivatives are wanted; else all rows are −1. phase: `settling` is what a steady
        state is approached under, and `period` has one dose of a steady one.
        """
        timelines = self._of_phases[phase]
        evaluated = self.pool.evaluate(values, with_jacobian=with_jacobian)
        nothing = self._nothing
        parts: list[Part] = []
        failures: dict[int, SolveError] = {}
        for b, member in enumerate(members):
            window = Window(float(first[b]), float(last[b]), is_start, skips_earlier)
            try:
                timeline = timelines[member]
                assert timeline is not None
                parts.append(timeline.part(*_of_member(evaluated, b), window))
            except SolveError as error:
                failures[b] = error
                parts.append(nothing)
        schedule = self._joined(parts, values, failures, with_jacobian=with_jacobian)
        return self._with_switches(schedule, values, float(first.min()), float(last.max()), with_jacobian=with_jacobian)

    @cached_property
    def terms(self) -> Terms:
        """What the caller calls the parts of this system."""
        extension, original = self.extension, self.original
        held = {
            names[place.index]: words
            for places, words_of in (
                (extension.constants, "the value that a change gives to {!r}"),
                (extension.rates, "the rate of the infusions into {!r}"),
            )
            for name, place in places.items()
            for names, words in [
                (self.system.states if place.is_state else list(self.system.constants), words_of.format(name))
            ]
        }
        for name, plan in extension.inputs.items():
            for place in plan.coefficients:
                names = self.system.states if place.is_state else list(self.system.constants)
                held[names[place.index]] = f"a value of the input {name!r}"
        set_by: dict[str, list[str]] = {}
        for event in original.events:
            for state in dict.fromkeys([*event.set, *event.add]):
                set_by.setdefault(state, []).append(f"the event {event.name!r}")
        for reset in self.resets:
            for state in dict.fromkeys([*reset.set, *reset.add]):
                set_by.setdefault(state, []).append("a change")
        written = partial(as_written, comparisons=comparisons_of(self.system))
        return Terms(written, held, {state: " or ".join(dict.fromkeys(by)) for state, by in set_by.items()})

    def describe_failure(
        self, time: float, state: Reals, values: Reals, duration: float, *, has_modes: bool = True
    ) -> str | None:
        """See `missing_values.describe_failure`. state: that of this system; values: of its parameters and constants.

        has_modes: False to look at the equations as they are without modes.
        """
        system = self.system
        if not has_modes:
            equations = {**system.equations, **self.equations}  # a mode's own rate is 0
            system = replace(system, equations=equations, definitions=self.definitions)
        return describe_failure(system, time, state.tolist(), values.tolist(), duration, self.terms)

    @cached_property
    def _nothing(self) -> Part:
        """The part of a member that cannot be solved."""
        held = np.zeros(self.extension.held_count)
        none = np.full(len(held), -1, dtype=np.int64)
        return Part(Entries.joined([]), np.zeros((0, len(self.pool.used))), np.zeros((0, PIECE_SIZE)), {}, held, none)

    def _joined(
        self, parts: Sequence[Part], values: Reals, failures: Mapping[int, SolveError], *, with_jacobian: bool
    ) -> Schedule:
        """One schedule of all parts. What is the same as in the last one is kept: knots by the thousand."""
        kept = self._last
        if kept is None or kept.with_jacobian != with_jacobian or not kept.is_of(parts):
            kept = self._last = _Joined(list(parts), stacked(parts, self._columns), with_jacobian)
        p, c = len(self.original.parameters), len(self.system.constants)
        constants = np.zeros((len(parts), c))
        constants[:, : len(self.original.constants)] = values[:, p:]
        for row, part in zip(constants, parts, strict=True):
            if part.numbers:
                row[list(part.numbers)] = list(part.numbers.values())
        return replace(kept.schedule, constants=constants, failures=failures)

    @cached_property
    def _columns(self) -> Columns:
        return Columns(len(self.original.parameters), self.pool.used)

    def _with_switches(
        self, schedule: Schedule, values: Reals, first: float, last: float, *, with_jacobian: bool
    ) -> Schedule:
        """The schedule with the discontinuities of the equations."""
        p = len(self.original.parameters)
        own = np.concatenate([values[:, :p], schedule.constants], axis=1)
        found = self.discontinuities.find(own, first, last, with_jacobian=with_jacobian)
        if not ((found.times >= first) & (found.times <= last)).any():
            return schedule
        if not self.discontinuities.is_moving:  # then the equations have no shifts
            found = replace(found, shifts=np.full_like(found.shifts, -1))
        return with_switches(schedule, found, 4 * GAP * max(abs(first), abs(last)))

    def observed_values(
        self, members: Sequence[int], times: Tensor, before: Tensor | None, parameters: Tensor, constants: Tensor, *,
        skips_earlier: bool = False,
    ) -> dict[str, Tensor]:  # fmt: skip
        """What observables need beside states, parameters and time: each input and each changed constant, by name.

        members: (B,), the place of each one's protocol. times: (B, T); before: as in `SolveSettings`. parameters:
        (B, p); constants: (B, c), the original ones. skips_earlier: the first time is the start, see `SolveSettings`.
        Returns (B, T) each, differentiable by the parameters.
        """
        values = torch.cat([parameters.detach(), constants], -1).cpu().numpy()
        evaluated = self.pool.evaluate(values, with_jacobian=parameters.requires_grad)
        rows = [
            observed_values(
                self.original, self.timelines[member], *_of_member(evaluated, b), times[b],
                None if before is None else before[b], parameters[b], constants[b], skips_earlier=skips_earlier,
            )
            for b, member in enumerate(members)
        ]  # fmt: skip
        return {name: torch.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


@dataclass(frozen=True)
class _Joined:
    """Parts, and the schedule that was made of them."""

    parts: list[Part]
    schedule: Schedule
    with_jacobian: bool

    def is_of(self, parts: Sequence[Part]) -> bool:
        return len(parts) == len(self.parts) and all(a is b for a, b in zip(parts, self.parts, strict=True))


def _of_member(evaluated: PoolValues, member: int) -> tuple[Reals, Reals | None]:
    return evaluated.values[member], None if evaluated.jacobians is None else evaluated.jacobians[member]


NOTHING_DONE = Protocols((Protocol(),), (0,))


class ExtendedSystems:
    """The extended systems of one system, by the protocols that each serves, with modes and without."""

    def __init__(self, system: System, *, with_conditions: bool = False) -> None:
        self._with_conditions = with_conditions
        self._system = system
        self._found: dict[tuple[int, bool], ExtendedSystem] = {}

    def of(self, protocols: Protocols | None, *, has_modes: bool = True) -> ExtendedSystem:
        """The extended system for these protocols, made once; None is for a system with events or modes alone."""
        every = NOTHING_DONE.all if protocols is None else protocols.all
        key = id(every), has_modes
        if key not in self._found:
            self._found[key] = ExtendedSystem(
                self._system, every, with_conditions=self._with_conditions, has_modes=has_modes
            )  # which keeps the tuple, and so its identity
        return self._found[key]

    @cached_property
    def has_modes(self) -> bool:
        """Whether rates jump at comparisons of states, whatever is done in an experiment."""
        return bool(jumping_comparisons(self._system, self._system.states))
