"""Noise, priors, penalties, experiments and what is held out, where they make no sense: 422, where they stand."""

from __future__ import annotations

from typing import Any

from tests.service.hostile.case import BARE, Case, refused, text
from tests.service.requests import DECAY, MINIMAL, REMOVED, Json, changed

NORMAL: Json = {"distribution": "normal", "sigma": 0.1}
WITH_NOISE = changed(MINIMAL, "/noise", {"prey": {**NORMAL}, "predator": {**NORMAL}})
SERIES = {"times": [0.0, 1.0], "values": {"x": [1.0, 0.5]}}
SEVERAL: Json = {
    "system": {"states": ["x"], "parameters": ["k"], "constants": {"c": 1.0}, "equations": {"x": "-k*x"}},
    "experiments": [{"name": name, "times": [0.0, 1.0], "values": {"x": [1.0, 0.5]}} for name in ("a", "b")],
    "parameters": {"k": 0.4},
    "initial_state": {"x": 1.0},
}


def noisy(*changes: Any) -> bytes:
    """A request whose observables have normal noise each, with each (pointer, value) put in."""
    return text(changed(WITH_NOISE, *changes)).encode()


def several(*changes: Any) -> bytes:
    """A request of two experiments, a and b, with each (pointer, value) put in."""
    return text(changed(SEVERAL, *changes)).encode()


NOISE = [
    refused(noisy("/noise", {"prey": NORMAL}), "/noise/predator"),
    refused(noisy("/noise", {}), "/noise/prey", "/noise/predator"),
    refused(noisy("/noise/zeta", NORMAL), "/noise/zeta"),
    refused(noisy("/noise/__class__", NORMAL), "/noise/__class__"),
    *[refused(noisy("/noise", value), "/noise") for value in (None, [], "normal", 1, True)],
    *[refused(noisy("/noise/prey", value), "/noise/prey") for value in (None, [], "normal", 1, True)],
    refused(noisy("/noise/prey", {}), "/noise/prey/distribution"),
    *[
        refused(noisy("/noise/prey/distribution", value), "/noise/prey/distribution")
        for value in (None, 1, [], {}, "", "Normal", "gauss", "cauchy", "x" * 10_000)
    ],
    *[
        refused(noisy("/noise/prey/sigma", value), "/noise/prey/sigma")
        for value in (0, -1, None, True, [0.1], {}, "", "0.1", "Estimate", BARE + "1e400", BARE + "9" * 100_000)
    ],
    *[
        refused(noisy("/noise/prey/proportional", value), "/noise/prey/proportional")
        for value in (0, -1, None, True, "10 %", BARE + "1e400")
    ],
    refused(noisy("/noise/prey/scale", 1), "/noise/prey/scale"),
    refused(noisy("/data/sigma", {"prey": 0.1}), "/noise/prey/sigma"),
    refused(noisy("/noise/prey/sigma", REMOVED), "/noise/prey/sigma"),
    refused(noisy("/noise/prey", {"distribution": "poisson", "sigma": 1}, "/data/values/prey", [1, 2, 3, 4]),
            "/noise/prey/sigma"),
    refused(noisy("/noise/prey", {"distribution": "poisson"}, "/data/values/prey", [1, 2.5, -1, 4]),
            "/data/values/prey/1", "/data/values/prey/2"),
    refused(noisy("/noise/prey/distribution", "lognormal", "/data/values/prey", [1, 0, -1, 4]),
            "/data/values/prey/1", "/data/values/prey/2"),
    refused(noisy("/noise/prey", {"distribution": "student-t", "sigma": 1, "degrees_of_freedom": 0}),
            "/noise/prey/degrees_of_freedom"),
    refused(noisy("/noise/prey", {"distribution": "laplace", "sigma": 1, "degrees_of_freedom": 4}),
            "/noise/prey/degrees_of_freedom"),
    refused(noisy("/noise/prey", {"distribution": "laplace", "sigma": 1, "proportional": 0.1}),
            "/noise/prey/proportional"),
]  # fmt: skip

PRIOR: Json = {"distribution": "normal", "mean": 1.0, "standard_deviation": 0.5}
UNKNOWN: Json = {"guess": 1.2, "prior": PRIOR}
PRIORS = [
    refused(text(changed(MINIMAL, "/parameters/alpha", UNKNOWN)).encode(), "/parameters/alpha/prior"),
    *[
        refused(noisy("/parameters/alpha", {"guess": 1.2, "prior": value}), "/parameters/alpha/prior" + place)
        for value, place in (
            (None, ""), ([], ""), (1, ""), ("normal", ""), ({}, "/distribution"),
            ({"distribution": "weibull"}, "/distribution"), ({"distribution": 1}, "/distribution"),
            ({**PRIOR, "mean": None}, "/mean"), ({**PRIOR, "mean": "1"}, "/mean"),
            ({**PRIOR, "mean": BARE + "1e400"}, "/mean"),
            ({**PRIOR, "standard_deviation": 0}, "/standard_deviation"),
            ({**PRIOR, "standard_deviation": -1}, "/standard_deviation"),
            ({**PRIOR, "sigma": 1}, "/sigma"), ({"distribution": "half-normal", "scale": 0}, "/scale"),
            ({"distribution": "half-normal"}, "/scale"),
            ({"distribution": "lognormal", "median": 0, "sigma": 1}, "/median"),
            ({"distribution": "lognormal", "median": 1, "sigma": -1}, "/sigma"),
            ({"distribution": "laplace", "median": True, "scale": 1}, "/median"),
            ({"distribution": "uniform", "lower": 2, "upper": 1}, "/lower"),
            ({"distribution": "uniform", "lower": 0, "upper": BARE + "1e999"}, "/upper"),
        )
    ],
]  # fmt: skip

PENALTIES = [
    refused(text(changed(MINIMAL, "/penalty", value)).encode(), "/penalty" + place)
    for value, place in (
        (None, ""), (1, ""), ([], ""), ("l1", ""), ({"l1": -1}, "/l1"), ({"l2": "1"}, "/l2"),
        ({"l1": BARE + "1e400"}, "/l1"),
        ({"l3": 1}, "/l3"), ({"l1": 1, "names": "alpha"}, "/names"), ({"l1": 1, "names": ["zeta"]}, "/names/0"),
        ({"l1": 1, "names": [1]}, "/names/0"), ({"l1": 1, "names": ["alpha", "alpha"]}, "/names/1"),
        ({"l1": 1, "toward": "one"}, "/toward"), ({"l1": 1, "names": ["alpha"] * 100_000}, "/names"),
        ({"l1": 1, "names": [f"n{i}" for i in range(100_000)]}, "/names"),
    )
]  # fmt: skip

EXPERIMENTS = [
    refused(several("/data", SERIES), "/experiments"),
    refused(several("/experiments", []), "/experiments"),
    refused(several("/experiments", REMOVED), "/data"),
    *[refused(several("/experiments", value), "/experiments") for value in ({}, "a", 1, True)],
    *[refused(several("/experiments/1", value), "/experiments/1") for value in (None, [], "b", 1)],
    refused(several("/experiments/1/name", REMOVED), "/experiments/1/name"),
    refused(several("/experiments/1/name", "a"), "/experiments/1/name"),
    refused(several("/experiments/1/name", ""), "/experiments/1/name"),
    refused(several("/experiments/1/times", [1.0, 0.0]), "/experiments/1/times/1"),
    refused(several("/experiments/1/values/x", [1.0]), "/experiments/1/values/x"),
    refused(several("/experiments/1/values/x/0", BARE + "1e400"), "/experiments/1/values/x/0"),
    refused(several("/experiments/1/values", {"zeta": [1.0, 2.0]}), "/experiments/1/values/zeta"),
    refused(several("/experiments/1/sigma", {"x": 0}), "/experiments/1/sigma/x"),
    refused(several("/experiments/1/constants", {"zeta": 1}), "/experiments/1/constants/zeta"),
    refused(several("/experiments/1/initial_state", {"x": "exec(k)"}), "/experiments/1/initial_state/x"),
    refused(several("/experiments/1/initial_state", {"zeta": 1}), "/experiments/1/initial_state/zeta"),
    refused(several("/experiments/1/zeta", 1), "/experiments/1/zeta"),
    refused(several("/experiments", [{}] * 100_000), "/experiments"),
    refused(several("/experiments", [{"name": f"e{i}", **SERIES} for i in range(20_000)]), "/experiments"),
    *[refused(several("/per_experiment", value), "/per_experiment") for value in (None, "k", {}, 1)],
    refused(several("/per_experiment", ["zeta"]), "/per_experiment/0"),
    refused(several("/per_experiment", [1]), "/per_experiment/0"),
    refused(several("/per_experiment", ["k", "k"]), "/per_experiment/1"),
    refused(several("/per_experiment", ["k"] * 100_000), "/per_experiment"),
    refused(several("/predictions", [{"name": "p", "times": [2.0], "experiment": "zeta"}]),
    "/predictions/0/experiment"),
]  # fmt: skip

HELD_OUT = [
    refused(several("/hold_out", value), "/hold_out" + place)
    for value, place in (
        (None, ""), (1, ""), ([], ""), ({}, ""), ({"after": 0.5, "experiments": ["a"]}, ""), ({"after": "1"}, "/after"),
        ({"after": BARE + "1e400"}, "/after"), ({"after": 5.0}, "/after"), ({"after": -1.0}, "/after"),
        ({"after": 0.5, "before": 1.0}, "/before"), ({"experiments": "a"}, "/experiments"),
        ({"experiments": ["zeta"]}, "/experiments/0"),
        ({"experiments": ["a", "b"]}, "/experiments"), ({"experiments": [1]}, "/experiments/0"),
        ({"experiments": ["a", "a"]}, "/experiments/1"), ({"experiments": ["a"] * 100_000}, "/experiments"),
    )
]  # fmt: skip

RIGHT = [
    Case(body, 202)
    for body in (
        noisy(), several(), several("/per_experiment", ["k"]), noisy("/parameters/alpha", UNKNOWN),
        noisy("/noise/prey/sigma", "estimate"), noisy("/noise/prey/sigma", 1e-300),
        several("/hold_out", {"after": 0.5}),
        several("/experiments/1/name", "\U0001f98a\u0000/~"), text(changed(DECAY, "/penalty", {"l1": 0.1})).encode(),
    )
]  # fmt: skip

CASES = [*NOISE, *PRIORS, *PENALTIES, *EXPERIMENTS, *HELD_OUT, *RIGHT]
