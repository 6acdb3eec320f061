"""A problem of the table: its request, and its model for the independent implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

Reals = NDArray[np.float64]
Values = Mapping[str, float]
Slope = Callable[[float, Reals, Values], list[float]]


def states_themselves(states: Reals, values: Values) -> list[Reals]:
    """Return the states: the observables if the states are measured."""
    return list(states)


@dataclass(frozen=True)
class Problem:
    """A request, and the same model in plain Python.

    name: in the table. source: of the data or of the true values. request: the body of `POST /fits`. slope: from
    time, states (n,) and all other values by name to the time derivatives (n,); None with `treated`. start: true or
    published values by name, from which the independent search starts. observe: from states (n, T) to the observables,
    in the order of the request. initial: from the values by name to the initial state; by default the values of the
    states. exact: the states (n, T) at times since the start in closed form; by default scipy solves for them.
    treated: from values and series to the observables at its times, if more happens than the time derivatives say.
    """

    name: str
    source: str
    request: dict[str, Any]
    slope: Slope | None
    start: Values
    observe: Callable[[Reals, Values], list[Reals]] = states_themselves
    initial: Callable[[Values], list[float]] | None = None
    exact: Callable[[Reals, Values], list[Reals]] | None = None
    treated: Callable[[Values, Mapping[str, Any]], list[Reals]] | None = None

    @property
    def series(self) -> list[dict[str, Any]]:
        """Return the measured series."""
        return self.request.get("experiments") or [self.request["data"]]

    def model(self, values: Values, series: Mapping[str, Any]) -> list[Reals]:
        """Return the observables at a series' times, computed by scipy. Raises `ArithmeticError` if that fails."""
        if self.treated:
            return self.treated(values, series)
        times = np.array(series["times"])
        begin = series.get("start_time", times[0])
        if self.exact:
            return self.observe(np.array(self.exact(times - begin, values)), values)
        states: list[str] = self.request["system"]["states"]
        initial = self.initial(values) if self.initial else [values[name] for name in states]
        distinct, place = np.unique(times, return_inverse=True)
        if distinct[-1] == begin:
            return self.observe(np.repeat(np.array(initial)[:, None], len(times), axis=1), values)
        assert self.slope is not None
        solution = solve_ivp(
            self.slope, (begin, distinct[-1]), initial, "LSODA", distinct, args=(values,), rtol=1e-9, atol=1e-12
        )
        if not solution.success or not np.isfinite(solution.y).all():
            raise ArithmeticError(solution.message)
        return self.observe(solution.y[:, place], values)


def system(equations: dict[str, str], parameters: str, **more: Any) -> dict[str, Any]:
    """Return a definition. parameters: their names, separated by spaces."""
    return {"states": list(equations), "parameters": parameters.split(), "equations": equations, **more}


def positive(guesses: Values) -> dict[str, Any]:
    """Return unknowns on a log scale."""
    return {name: {"guess": guess, "scale": "log"} for name, guess in guesses.items()}


def known(values: Values) -> dict[str, Any]:
    """Return values that are not fitted."""
    return {name: {"guess": value, "fixed": True} for name, value in values.items()}


def noise(distribution: str, observables: str, **more: Any) -> dict[str, Any]:
    """Return the same distribution for all observables, by default with an estimated scale."""
    settings = {"distribution": distribution, "sigma": "estimate"} | more
    return {name: dict(settings) for name in observables.split()}


def table(columns: Mapping[str, Reals]) -> dict[str, list[float]]:
    """Return values for a request, rounded to seven digits as in a table."""
    return {name: [float(f"{value:.7g}") for value in column] for name, column in columns.items()}
