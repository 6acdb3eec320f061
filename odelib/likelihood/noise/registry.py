"""Find the noise distribution that a request asks for."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from odelib.likelihood import noise
from odelib.likelihood.noise.base import MeasuredValues, NoiseDistribution
from odelib.likelihood.noise.sum_of_squares import SumOfSquares
from odelib.problem.noise import NoiseSettings


def noise_distribution(settings: NoiseSettings | None, data: MeasuredValues) -> NoiseDistribution:
    """Return the noise that a request describes for one observable; without settings, the sum of squares."""
    return SumOfSquares(data) if settings is None else _DISTRIBUTIONS[type(settings)](settings, data)


def _find() -> Mapping[type[NoiseSettings], Callable[[Any, MeasuredValues], NoiseDistribution]]:
    """All classes in the files of this folder that say whose likelihood they are, by that."""
    found = {}
    for file in pkgutil.iter_modules(noise.__path__):
        for member in vars(importlib.import_module(f"{noise.__name__}.{file.name}")).values():
            if isinstance(member, type) and issubclass(member, NoiseDistribution) and "settings_type" in vars(member):
                found[member.settings_type] = member
    return found


_DISTRIBUTIONS = _find()
