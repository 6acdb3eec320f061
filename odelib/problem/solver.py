"""Which engines there are, and what each can do: the names a request may use, without the engines themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ability:
    """The methods of an engine and the devices it runs on."""

    methods: tuple[str, ...]
    devices: tuple[str, ...]


ABILITIES: Mapping[str, Ability] = {  # the preferred engine first: `auto` is the first that can
    "compiled": Ability(("dopri5", "tsit5", "dop853", "kvaerno5"), ("cpu",)),
    "torchdiffeq": Ability(("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun"), ("cpu", "cuda")),
}
METHODS = tuple(dict.fromkeys(method for ability in ABILITIES.values() for method in ability.methods))


def able_engines(engine: str, method: str, device: str) -> list[str]:
    """The engines that can do what was asked, the preferred one first; `auto` stands for anything."""
    return [
        name
        for name, ability in ABILITIES.items()
        if engine in ("auto", name) and method in ("auto", *ability.methods) and device in ("auto", *ability.devices)
    ]
