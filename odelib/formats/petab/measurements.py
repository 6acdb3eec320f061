"""Rows of the measurement table, which both versions have in common but for how they name an experiment."""

from __future__ import annotations

import math

from odelib.formats.errors import UnsupportedError
from odelib.formats.petab.mathematics import parse_mathematics
from odelib.formats.petab.problem import PetabMeasurement
from odelib.formats.petab.tables import Row, number, required, split


def read_measurement(row: Row, experiment: str) -> PetabMeasurement:
    """A measurement of this experiment. Raises `UnsupportedError`, also for one at an infinite time."""
    name = required(row, "observableId", "measurements")
    time = number(required(row, "time", "measurements"), f"the time of a measurement of {name}")
    if not math.isfinite(time):
        raise UnsupportedError(f"{name} is measured at time {time}: measurements at infinity cannot be expressed")
    return PetabMeasurement(
        observable=name,
        experiment=experiment,
        time=time,
        value=number(required(row, "measurement", "measurements"), f"a measurement of {name}"),
        observable_parameters=[parse_mathematics(text) for text in split(row.get("observableParameters"))],
        noise_parameters=[parse_mathematics(text) for text in split(row.get("noiseParameters"))],
    )
