"""Steady states before the start: constant inputs, and no time in the equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.changes import check_constants, check_reset
from odelib.problem.checks.inputs import check_inputs
from odelib.problem.checks.occasions import Reading
from odelib.problem.checks.raw import as_object
from odelib.problem.expressions.definitions import underlying
from odelib.problem.expressions.vocabulary import TIME
from odelib.problem.pointers import join
from odelib.problem.system import System


def asks_for_steady_state(choice: Any) -> bool:
    """Whether this raw `steady_state` asks for one."""
    return choice is True or isinstance(choice, Mapping)


def check_steady_state(choice: Any, base: str, reading: Reading) -> None:
    """Check a steady state by itself: names and expressions."""
    fields = as_object(choice)
    check_constants(fields.get("constants"), join(base, "constants"), reading)
    check_inputs(fields.get("inputs"), join(base, "inputs"), reading)
    check_reset({"set": fields.get("set")}, base, reading)


def check_rests(choice: Any, base: str, inputs: Mapping[str, Any], system: System, reading: Reading) -> None:
    """Check that the equations can come to rest: they use no time, and inputs are constant.

    inputs: those of the series, by name.
    """
    used = _used(system)
    if TIME in used:
        reading.report.add(base, "the equations use t, so they have no steady state; let an input vary instead")
    own = as_object(as_object(choice).get("inputs"))
    for name in system.inputs:
        if name in used and _varies(own.get(name, inputs.get(name)), reading):
            reading.report.add(
                join(base, "inputs", name),
                f"the input {name!r:.80} varies with time; give its value in the steady state",
            )


def check_periodic(pointer: str, inputs: Mapping[str, Any], system: System, reading: Reading) -> None:
    """Check that a `steady` dose can have a periodic state: nothing else varies. pointer: of its `steady`."""
    used = _used(system)
    varying = [name for name in system.inputs if name in used and _varies(inputs.get(name), reading)]
    if TIME in used or varying:
        what = f"the input {varying[0]!r:.80} varies with time" if varying else "the equations use t"
        reading.report.add(
            pointer, f"{what}, so a 'steady' dose has no periodic state; let it vary by a change after the start"
        )


def _used(system: System) -> frozenset[str]:
    return underlying({n for e in system.equations.values() for n in e.names}, system.definitions)


def _varies(value: Any, reading: Reading) -> bool:
    return isinstance(value, Mapping) or reading.uses_time(value)
