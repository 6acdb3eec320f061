"""The solver settings of a request, and the methods and devices that each engine supports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from odelib.problem.fields import Count, PositiveNumber, Request

AUTO: Literal["auto"] = "auto"
AUTO_ATOL = 0.01  # an automatic absolute tolerance, of rtol times a state's largest size so far


def _form_of_tolerance(value: Any) -> str:
    return "~text" if isinstance(value, str) else "~number"


AbsoluteTolerance = TypeAliasType(
    "AbsoluteTolerance",
    Annotated[
        Annotated[PositiveNumber, Tag("~number")] | Annotated[Literal["auto"], Tag("~text")],
        Discriminator(_form_of_tolerance),
    ],
)


class Solver(Request):
    """How trajectories are computed."""

    engine: Annotated[
        Literal["auto", "compiled", "torchdiffeq"],
        Field(description="`auto`: the first of the other values that supports the method and the device."),
    ] = "auto"
    method: Annotated[
        Literal["auto", "dopri5", "tsit5", "dop853", "kvaerno5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"],
        Field(description="`auto`: an explicit method, or an implicit one if the system turns out to be stiff."),
    ] = "auto"
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="`auto`: the CPU. `cuda`: a GPU; the fit fails if there is none."),
    ] = "auto"
    rtol: Annotated[PositiveNumber, Field(description="Relative tolerance of each step.")] = 1e-6
    atol: Annotated[
        AbsoluteTolerance,
        Field(
            description="Absolute tolerance of each step, in the states' units. `auto`: for each state 1e-2·rtol of "
            "the largest size that it has had so far; for one that is zero, of the size that its rate gives. The "
            "result then does not depend on the units."
        ),
    ] = AUTO
    max_steps: Annotated[Count, Field(le=2**31 - 1, description="Maximum number of steps per trajectory.")] = 100_000


@dataclass(frozen=True)
class Ability:
    """The methods of an engine, the one that `auto` means, and the devices it runs on.

    has_protocols: whether it solves systems with inputs or events, and what was done in experiments. batch_devices: on
    which it runs only if the request names it, and without protocols: they pay for large batches alone.
    """

    methods: tuple[str, ...]
    default_method: str
    devices: tuple[str, ...]
    has_protocols: bool
    batch_devices: tuple[str, ...] = ()

    def runs_on(self, device: str, *, is_named: bool, needs_protocols: bool) -> bool:
        """Whether the engine solves a problem on a device; `auto` is any."""
        if device in ("auto", *self.devices):
            return self.has_protocols or not needs_protocols
        return is_named and device in self.batch_devices and not needs_protocols


ABILITIES: Mapping[str, Ability] = {  # in order of preference: `auto` is the first that can
    "compiled": Ability(("dopri5", "tsit5", "dop853", "kvaerno5"), "auto", ("cpu",), True, batch_devices=("cuda",)),
    "torchdiffeq": Ability(
        ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"), "dopri5", ("cpu", "cuda"), has_protocols=True
    ),
}
METHODS = tuple(dict.fromkeys(method for ability in ABILITIES.values() for method in ability.methods))


def able_engines(engine: str, method: str, device: str, *, needs_protocols: bool = False) -> list[str]:
    """The engines that have the method and run on the device, in order of preference; `auto` is any.

    needs_protocols: only those that have protocols.
    """
    return [
        name
        for name, ability in ABILITIES.items()
        if engine in ("auto", name)
        and method in ("auto", *ability.methods)
        and ability.runs_on(device, is_named=engine == name, needs_protocols=needs_protocols)
    ]


def choose_engine(engine: str, method: str, device: str, *, needs_protocols: bool = False) -> tuple[str, str]:
    """The names of the engine and the method for a request's settings, `auto` resolved: the first engine that can.

    Raises `ValueError` for a combination that does not exist, naming those that do.
    """
    if engine not in ("auto", *ABILITIES):
        raise ValueError(f"engine={engine!r} does not exist; choose one of {_quoted(['auto', *ABILITIES])}")
    able = able_engines(engine, method, device, needs_protocols=needs_protocols)
    if not able:
        has = "; ".join(
            f"{name!r} has {_quoted(ability.methods)} on {_quoted([*ability.devices, *ability.batch_devices])}"
            for name, ability in ABILITIES.items()
        )
        none = "no engine supports" if engine == "auto" else f"engine={engine!r} does not support"
        raise ValueError(f"{none} method={method!r} on device={device!r}: {has}")
    return able[0], ABILITIES[able[0]].default_method if method == "auto" else method


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
