"""A PEtab problem of either version, as read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from odelib.problem.expressions.parser import Node

Targets = Mapping[str, Node]  # what a condition sets


@dataclass(frozen=True)
class PetabParameter:
    """A parameter; prior: as in a request."""

    name: str
    nominal: float | None
    lower: float | None
    upper: float | None
    is_logarithmic: bool
    is_estimated: bool
    prior: Mapping[str, Any] | None


@dataclass(frozen=True)
class PetabObservable:
    """An observable.

    scale_factor: of the noise, ln 10 for log10. placeholders: the names that each measurement replaces.
    """

    name: str
    formula: Node
    noise: Node
    distribution: Literal["normal", "laplace", "lognormal", "log-laplace"]
    scale_factor: float
    observable_placeholders: Sequence[str]
    noise_placeholders: Sequence[str]


@dataclass(frozen=True)
class PetabMeasurement:
    """One measured value, and what stands for the placeholders."""

    observable: str
    experiment: str
    time: float
    value: float
    observable_parameters: Sequence[Node] = ()
    noise_parameters: Sequence[Node] = ()


@dataclass(frozen=True)
class PetabExperiment:
    """Conditions in order of time; steady: what holds until the model has settled before the start, if it does."""

    name: str
    start: float
    steady: Targets | None
    first: Targets
    later: Sequence[tuple[float, Targets]] = ()


@dataclass(frozen=True)
class PetabProblem:
    """A problem; keeps_concentration: whether a condition that resizes a compartment keeps the concentrations in it."""

    model: Path
    parameters: Sequence[PetabParameter]
    observables: Sequence[PetabObservable]
    experiments: Sequence[PetabExperiment]
    measurements: Sequence[PetabMeasurement]
    keeps_concentration: bool
