"""Equations for what a network learned: sparse regression of its outputs, each proposal refitted to the data.

A trained network is smooth and free of noise where the data were, so that the terms of its outputs are found by
regression over a library of monomials of its inputs. Along one trajectory monomials are nearly collinear, and
thresholds of coefficients (Brunton, Proctor and Kutz, Discovering governing equations from data by sparse
identification, 2016) leave the wrong ones. Forward regression by orthogonal least squares (Chen, Billings and Luo,
1989; pysindy's FROLS) adds one term after the other. Each number of terms is a proposal: the terms take the network's
place, their coefficients are fitted to the data as any parameters, and the BIC chooses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pysindy

from odelib.arrays import Reals
from odelib.fitting import fit
from odelib.problem.request import FitProblem, parse_problem, request_of
from odelib.result import FitResult, TrainedNetwork

DEGREE, MAX_TERMS = 3, 4  # of the monomials; of an output
Terms = Mapping[str, Mapping[str, float]]  # for each output its terms and their coefficients
RIDGE = 1e-8  # relative: terms that are nearly the same along the data do not cancel each other


@dataclass(frozen=True)
class Explanation:
    """Equations in the place of networks.

    terms: by output, as expressions. coefficients: the names of their parameters. request: the mechanistic request.
    result: of its fit. network: the result that is explained.
    """

    terms: Mapping[str, Sequence[str]]
    coefficients: Mapping[str, Sequence[str]]
    request: dict[str, Any]
    result: FitResult
    network: FitResult

    @property
    def equations(self) -> dict[str, str]:
        """For each output its expression with numbers."""
        values = {name: estimate.value for name, estimate in self.result.parameters.items()}
        equations = {}
        for output, terms in self.terms.items():
            numbers = [f"{values[name]:.6g}" for name in self.coefficients[output]]
            parts = [number if term == "1" else f"{number}*{term}" for number, term in zip(numbers, terms, strict=True)]
            equations[output] = " + ".join(parts).replace("+ -", "- ") or "0"
        return equations

    @property
    def bic(self) -> tuple[float | None, float | None]:
        """The BIC of the equations and of the network."""
        return self.result.statistics.bic, self.network.statistics.bic

    @property
    def held_out(self) -> tuple[float | None, float | None]:
        """The loss of the held-out data by the equations and by the network; None if there are none."""
        return _held_out(self.result), _held_out(self.network)


def explain(problem: FitProblem, result: FitResult, *, degree: int = DEGREE) -> Explanation:
    """Propose equations for what the networks of a result learned, and fit them.

    degree: of the monomials. Raises `ValueError` if the result has no networks, or none of the proposals can be fitted,
    and `ModuleNotFoundError` without the extra `explain`.

    >>> from odelib import FitProblem, fit
    >>> problem = FitProblem.model_validate({
    ...     "system": {"states": ["x"], "parameters": ["k"], "equations": {"x": "-k*x"}},
    ...     "data": {"times": [0, 1, 2], "values": {"x": [2.0, 1.2, 0.7]}},
    ...     "parameters": {"k": 0.5}, "initial_state": {"x": 2.0},
    ... })
    >>> explain(problem, fit(problem))
    Traceback (most recent call last):
    ValueError: the result has no networks to explain
    """
    if not result.networks:
        raise ValueError("the result has no networks to explain")
    found = [_refitted(problem, result, terms) for terms in proposals(result.networks, degree)]
    if not found:
        raise ValueError("no network has values along the data, so that nothing can be learned from it")
    return min(found, key=_criterion)


def _refitted(problem: FitProblem, result: FitResult, terms: Terms) -> Explanation:
    names = _names(problem, terms)
    request = mechanistic_request(problem, result, terms, names)
    of_terms = {output: list(of_output) for output, of_output in terms.items()}
    return Explanation(of_terms, names, request, fit(parse_problem(request)), result)


def proposals(networks: Mapping[str, TrainedNetwork], degree: int) -> Iterator[Terms]:
    """Yield the best terms of all outputs, first one for each, then two, and so on."""
    selected: dict[str, list[dict[str, float]]] = {}
    for network in networks.values():
        if network.sampled:
            labels, columns = _library(network, degree)
            for output, values in network.sampled.outputs.items():
                selected[output] = _selected(labels, columns, np.array(values))
    for count in range(max(map(len, selected.values()), default=0)):
        yield {output: terms[min(count, len(terms) - 1)] if terms else {} for output, terms in selected.items()}


def _library(network: TrainedNetwork, degree: int) -> tuple[list[str], Reals]:
    """The monomials of the inputs up to a degree: as expressions, and along the samples, (points, terms)."""
    points = np.array(network.sampled.inputs if network.sampled else [])
    names = [text if text.isidentifier() else f"({text})" for text in network.inputs]
    labels, columns = ["1"], [np.ones(len(points))]
    for order in range(1, degree + 1):
        for factors in combinations_with_replacement(range(len(names)), order):
            labels.append("*".join(names[i] for i in factors))
            columns.append(np.prod(points[:, factors], axis=1))
    return labels, np.stack(columns, axis=1)


def _selected(labels: Sequence[str], columns: Reals, values: Reals) -> list[dict[str, float]]:
    """Terms and their coefficients: the best one, then with a second one, and so on."""
    sizes, size = np.sqrt(np.mean(columns**2, axis=0)), float(np.sqrt(np.mean(values**2)))
    if size == 0:
        return []
    optimiser = pysindy.FROLS(max_iter=min(MAX_TERMS, len(labels)), alpha=RIDGE)
    optimiser.fit(columns / sizes, values[:, None] / size)
    return [
        {label: float(c) for label, c in zip(labels, np.asarray(coefficients)[0] * size / sizes, strict=True) if c != 0}
        for coefficients in optimiser.history_[1:]
    ]


def _names(problem: FitProblem, terms: Terms) -> dict[str, list[str]]:
    """New names for the coefficients of each output."""
    system = problem.resolved_system
    taken = {*system.states, *system.parameters, *system.constants, *system.inputs, *system.definitions}
    taken |= {*system.observables, *system.derived, *(event.name for event in system.events)}
    prefix = ""
    while any(name.startswith(f"{prefix}{output}_") for output in terms for name in taken):
        prefix += "c_"
    return {output: [f"{prefix}{output}_{i}" for i in range(len(of_output))] for output, of_output in terms.items()}


def mechanistic_request(
    problem: FitProblem, result: FitResult, terms: Terms, names: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The request with the terms in the place of the networks, starting from the result. names: of the coefficients."""
    system = problem.resolved_system
    request = {name: value for name, value in request_of(problem).items() if name not in ("networks", "stages")}
    definition = system.definition().model_dump(mode="json", exclude_defaults=True)
    definition.pop("networks")
    guesses, definitions = {}, dict(definition.get("definitions", {}))
    for output, of_output in terms.items():
        parts = []
        for (term, coefficient), name in zip(of_output.items(), names[output], strict=True):
            guesses[name] = coefficient
            parts.append(name if term == "1" else f"{name}*{term}")
        definitions[output] = " + ".join(parts) or "0"
    definition |= {"definitions": definitions, "parameters": [*system.parameters, *guesses]}
    request["system"] = definition
    known = {name: estimate.value for name, estimate in result.parameters.items()}
    request["parameters"] = _from_result(request.get("parameters", {}), known) | guesses
    states = {name: estimate.value for name, estimate in result.initial_state.items()}
    if problem.data is not None:
        request["initial_state"] = _from_result(request["initial_state"], states)
    return request | {"uncertainty": "covariance"}


def _from_result(entries: Mapping[str, Any], values: Mapping[str, float]) -> dict[str, Any]:
    """Entries of a request with the guesses of a result; what is fixed or an expression stays."""
    found = dict(entries)
    for name, entry in entries.items():
        if name in values and isinstance(entry, dict) and not entry.get("fixed"):
            found[name] = entry | {"guess": values[name]}
        elif name in values and isinstance(entry, int | float):
            found[name] = values[name]
    return found


def _criterion(found: Explanation) -> tuple[bool, float]:
    """What the best proposal has least of: BIC, and without one the loss."""
    bic = found.result.statistics.bic
    return bic is None, found.result.loss if bic is None else bic


def _held_out(result: FitResult) -> float | None:
    losses = [each.loss for each in result.hold_out or []]
    known = [loss for loss in losses if loss is not None]
    return sum(known) if known and len(known) == len(losses) else None
