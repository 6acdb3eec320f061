"""A fit that continues from another: guesses that the request leaves out are the other's best point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.catalogue import CATALOGUE

Json = dict[str, Any]


def continued(raw: Mapping[str, Any], earlier: Mapping[str, Any], result: Mapping[str, Any]) -> Json:
    """Return a request without `continue_from`, with what it leaves out filled in.

    raw: parsed JSON that has not been validated; what is malformed stays as it is. earlier: the request of the earlier
    fit. result: its result.

    >>> raw = {"system": "lorenz", "parameters": {"rho": 28.0, "beta": {"lower": 1.0}}, "continue_from": "an id"}
    >>> best = {name: {"value": 2.5} for name in ("sigma", "rho", "beta")}
    >>> continued(raw, {"parameters": {"sigma": {"guess": 1.0, "scale": "log"}}}, {"parameters": best})["parameters"]
    {'rho': 28.0, 'beta': {'lower': 1.0, 'guess': 2.5}, 'sigma': {'guess': 2.5, 'scale': 'log'}}
    """
    filled = {name: value for name, value in raw.items() if name != "continue_from"}
    parameters, states = _names(raw.get("system"))
    first = _first(result.get("trajectories"))
    best = {**_values(first.get("parameters")), **_values(result.get("parameters"))}
    scales = _scales(earlier.get("parameters"))
    filled["parameters"] = _filled(filled.get("parameters", {}), {n: best[n] for n in parameters if n in best}, scales)
    start = {n: v for n, v in _values(result.get("initial_state")).items() if n in states}
    state_scales = _scales(earlier.get("initial_state"))
    _fill_experiments(filled, result, states, state_scales)
    filled["initial_state"] = _filled(filled.get("initial_state", {}), start, state_scales)
    if isinstance(networks := result.get("networks"), Mapping):
        _fill_networks(filled, networks)
    return filled


def _names(system: Any) -> tuple[list[str], list[str]]:
    if isinstance(system, str) and system in CATALOGUE:
        return list(CATALOGUE[system].parameters), list(CATALOGUE[system].states)
    if not isinstance(system, Mapping):
        return [], []
    parameters, states = (
        [name for name in entries if isinstance(name, str)] if isinstance(entries := system.get(field), list) else []
        for field in ("parameters", "states")
    )
    return parameters, states


def _first(trajectories: Any) -> Mapping[str, Any]:
    return trajectories[0] if trajectories else {}


def _values(estimates: Any) -> dict[str, float]:
    return {name: estimate["value"] for name, estimate in (estimates or {}).items()}


def _scales(entries: Any) -> dict[str, str]:
    found = {name: entry.get("scale") for name, entry in (entries or {}).items() if isinstance(entry, Mapping)}
    return {name: scale for name, scale in found.items() if scale == "log"}


def _filled(entries: Any, best: Mapping[str, float], scales: Mapping[str, str]) -> Any:
    """Return entries with the guesses and scales of the best point where there are none."""
    if not isinstance(entries, Mapping):
        return entries
    filled = dict(entries)
    for name, value in best.items():
        # The logarithm of what is not positive does not exist; such a value cannot come from a fit on that scale.
        scale = {"scale": scales[name]} if name in scales and value > 0 else {}
        if name not in filled:
            filled[name] = {"guess": value} | scale if scale else value
        elif isinstance(entry := filled[name], Mapping) and "guess" not in entry:
            filled[name] = scale | dict(entry) | {"guess": value}
    return filled


def _fill_experiments(filled: Json, result: Mapping[str, Any], states: list[str], scales: Mapping[str, str]) -> None:
    """Fill in the initial states of experiments that the earlier fit had under the same names."""
    if not isinstance(filled.get("experiments"), list):
        return
    shared = entries if isinstance(entries := filled.get("initial_state"), Mapping) else {}
    starts = {t["name"]: _values(t.get("initial_state")) for t in result.get("trajectories") or []}
    for i, experiment in enumerate(filled["experiments"]):
        if isinstance(experiment, Mapping) and isinstance(name := experiment.get("name"), str) and name in starts:
            best = {n: v for n, v in starts[name].items() if n in states and n not in shared}
            own = _filled(experiment.get("initial_state", {}), best, scales)
            filled["experiments"] = [*filled["experiments"]]
            filled["experiments"][i] = {**experiment, "initial_state": own}


def _fill_networks(filled: Json, networks: Mapping[str, Any]) -> None:
    system = filled.get("system")
    named = system.get("networks") if isinstance(system, Mapping) else None
    asked = filled.get("networks", {})
    if isinstance(named, Mapping) and isinstance(asked, Mapping):
        wanted = {name: {"start": network} for name, network in networks.items() if name in named}
        own = {name: entry if isinstance(entry := asked.get(name), Mapping) else {} for name in wanted}
        filled["networks"] = {**asked, **{name: start | dict(own[name]) for name, start in wanted.items()}}
