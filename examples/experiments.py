"""Experiments as they are run: doses, infusions, feeds, events, steady states and wash-outs, as fit requests.

`python -m examples.experiments` writes them to `examples/requests/experiments/`. Their data are simulated from the
values in this file, with a fixed seed each. Values have five digits, so that the files do not depend on the machine
that wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from examples.article import to_text
from odelib.arrays import Reals
from odelib.simulation.simulated_data import simulate

REQUESTS = Path(__file__).parent / "requests" / "experiments"
Request = dict[str, Any]
Scatter = Callable[[np.random.Generator, Reals], Reals]


def lognormal(sigma: float) -> Scatter:
    """Return lognormal noise."""
    return lambda random, truth: truth * np.exp(sigma * random.standard_normal(len(truth)))


def normal(sigma: float, proportional: float = 0.0) -> Scatter:
    """Return normal noise with the standard deviation √(sigma² + (proportional·truth)²)."""
    return lambda random, truth: truth + np.hypot(sigma, proportional * truth) * random.standard_normal(len(truth))


def poisson(random: np.random.Generator, truth: Reals) -> Reals:
    """Return Poisson counts."""
    return random.poisson(truth).astype(np.float64)


def fixed(**values: float) -> dict[str, Any]:
    """Return values that are not fitted."""
    return {name: {"guess": value, "fixed": True} for name, value in values.items()}


def positive(**guesses: float) -> dict[str, Any]:
    """Return unknowns on a log scale."""
    return {name: {"guess": guess, "scale": "log"} for name, guess in guesses.items()}


def multiple_doses() -> tuple[Request, Mapping[str, float], Scatter]:
    """A drug by mouth every 12 hours; troughs before the doses, and a profile after the last one."""
    troughs = [11.9, 23.9, 35.9, 47.9, 59.9]
    profile = [60.5, 61, 62, 64, 66, 68, 72, 78, 84]
    request: Request = {
        "system": {
            "states": ["gut", "blood"],
            "parameters": ["ka", "CL", "V", "lag"],
            "definitions": {"absorbed": "ka*gut"},
            "equations": {"gut": "-absorbed", "blood": "absorbed - CL/V*blood"},
            "observables": {"c": "blood/V"},
            "derived": {"half_life": "log(2)*V/CL"},
        },
        "data": {
            "times": [1, 2, 4, 8, *troughs, *profile],
            "doses": [{"into": "gut", "amount": 100, "at": 0, "every": 12, "count": 6, "lag": "lag"}],
        },
        "parameters": positive(ka=1.0, CL=3.0, V=20.0) | {"lag": {"guess": 0.1, "lower": 0, "upper": 0.9}},
        "initial_state": fixed(gut=0, blood=0),
        "noise": {"c": {"distribution": "lognormal", "sigma": "estimate"}},
        "predictions": [
            {
                "name": "half the dose, twice as often",
                "times": np.linspace(60, 84, 49).tolist(),
                "doses": [{"into": "gut", "amount": 50, "at": 0, "every": 6, "count": 12, "lag": "lag"}],
            }
        ],
        "uncertainty": "covariance",
    }
    return request, {"ka": 0.7, "CL": 4.0, "V": 30.0, "lag": 0.4}, lognormal(0.08)


def infusion() -> tuple[Request, Mapping[str, float], Scatter]:
    """The same drug into a vein, and under the skin as an infusion with a lag and an unknown bioavailability."""
    request: Request = {
        "system": {
            "states": ["skin", "blood"],
            "parameters": ["ka", "ke", "V", "F", "lag"],
            "equations": {"skin": "-ka*skin", "blood": "ka*skin - ke*blood"},
            "observables": {"c": "blood/V"},
        },
        "experiments": [
            {
                "name": "vein",
                "times": [0.25, 0.5, 1, 2, 4, 6, 8, 12],
                "doses": [{"into": "blood", "amount": 50, "at": 0, "duration": 0.5}],
            },
            {
                "name": "skin",
                "times": [0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 24],
                "doses": [{"into": "skin", "amount": 80, "at": 0, "rate": 40, "fraction": "F", "lag": "lag"}],
            },
        ],
        "parameters": positive(ka=1.0, ke=0.4, V=8.0)
        | {"F": {"guess": 0.5, "lower": 0, "upper": 1}, "lag": {"guess": 0.2, "lower": 0, "upper": 2}},
        "initial_state": fixed(skin=0, blood=0),
        "noise": {"c": {"distribution": "lognormal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    return request, {"ka": 0.6, "ke": 0.25, "V": 12.0, "F": 0.7, "lag": 0.35}, lognormal(0.06)


def minimal_glucose_model() -> tuple[Request, Mapping[str, float], Scatter]:
    """Glucose after an injection, with measured insulin as an input (Bergman, Ider, Bowden and Cobelli, 1979)."""
    times = [2, 4, 6, 8, 10, 12, 14, 16, 19, 22, 27, 32, 42, 52, 62, 72, 82, 92, 102, 122, 142, 162, 182]
    insulin = [26, 130, 85, 51, 49, 45, 41, 35, 30, 30, 27, 30, 22, 15, 15, 11, 10, 8, 11, 7, 8, 8, 7]
    request: Request = {
        "system": {
            "states": ["G", "X"],
            "parameters": ["p1", "p2", "SI"],
            "constants": {"Gb": 92.0, "Ib": 11.0},
            "inputs": ["I"],
            "equations": {"G": "-(p1 + X)*G + p1*Gb", "X": "-p2*X + p2*SI*(I - Ib)"},
            "observables": {"G": "G"},
        },
        "data": {
            "start_time": 0,
            "times": times,
            "inputs": {"I": {"times": [0, *times], "values": [11, *insulin]}},
        },
        "parameters": positive(p1=0.02, p2=0.03, SI=2e-4),
        "initial_state": {"G": 250.0, "X": {"guess": 0, "fixed": True}},
        "noise": {"G": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    return request, {"p1": 0.03, "p2": 0.02, "SI": 5e-4, "G": 287.0}, normal(5.0)


def fed_batch() -> tuple[Request, Mapping[str, float], Scatter]:
    """Monod growth with a feed profile; each sample takes 50 ml out of the reactor."""
    times = [float(t) for t in range(1, 21)]
    request: Request = {
        "system": {
            "states": ["X", "S", "V"],
            "parameters": ["mu_max", "Ks", "Y"],
            "constants": {"S_feed": 100.0},
            "inputs": ["feed"],
            "definitions": {"mu": "mu_max*S/(Ks + S)", "dilution": "feed/V"},
            "equations": {"X": "(mu - dilution)*X", "S": "-mu*X/Y + dilution*(S_feed - S)", "V": "feed"},
            "observables": {"X": "X", "S": "S"},
        },
        "data": {
            "start_time": 0,
            "times": times,
            "inputs": {
                "feed": {
                    "times": [0, 6, 10, 14, 20],
                    "values": [0, 0.02, 0.05, 0.08, 0.08],
                    "interpolation": "previous",
                }
            },
            "changes": [{"at": time, "add": {"V": -0.05}} for time in times],
            "observed": "before",
        },
        "parameters": positive(mu_max=0.5, Ks=0.5, Y=0.4),
        "initial_state": {"X": {"guess": 0.3, "lower": 0}, **fixed(S=10, V=2)},
        "noise": {name: {"distribution": "normal", "sigma": 0.05, "proportional": "estimate"} for name in ("X", "S")},
        "uncertainty": "covariance",
    }
    return request, {"mu_max": 0.35, "Ks": 0.8, "Y": 0.5, "X": 0.2}, normal(0.05, 0.03)


def bouncing_ball() -> tuple[Request, Mapping[str, float], Scatter]:
    """A ball that loses speed at every bounce, filmed."""
    request: Request = {
        "system": {
            "states": ["h", "v"],
            "parameters": ["g", "e"],
            "equations": {"h": "v", "v": "-g"},
            "observables": {"h": "h"},
            "events": [{"name": "bounce", "when": "h < 0 and v < 0", "set": {"h": 0, "v": "-e*v"}}],
        },
        "data": {"start_time": 0, "times": [round(0.02 + 0.05 * i, 2) for i in range(38)]},
        "parameters": {"g": 9.0, "e": {"guess": 0.75, "lower": 0, "upper": 1}},
        "initial_state": {"h": 1.1, "v": {"guess": 0, "fixed": True}},
        "noise": {"h": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    return request, {"g": 9.81, "e": 0.8, "h": 1.2}, normal(0.01)


def wash_out() -> tuple[Request, Mapping[str, float], Scatter]:
    """A receptor in equilibrium with its ligand, which is washed out at time 0; its kinase stays active for a while."""
    request: Request = {
        "system": {
            "states": ["R", "C", "K"],
            "parameters": ["on", "off", "activate", "deactivate"],
            "inputs": ["ligand"],
            "equations": {
                "R": "-on*ligand*R + off*C",
                "C": "on*ligand*R - off*C",
                "K": "activate*C*(1 - K) - deactivate*K",
            },
            "observables": {"bound": "C/(R + C)", "active": "K"},
        },
        "experiments": [
            {
                "name": f"{ligand:g} nM",
                "times": [0, 0.5, 1, 2, 3, 5, 8, 12],
                "inputs": {"ligand": 0},
                "steady_state": {"inputs": {"ligand": ligand}},
            }
            for ligand in (0.5, 2.0, 10.0)
        ],
        "parameters": positive(on=0.3, off=0.3, activate=1.0, deactivate=1.0),
        "initial_state": fixed(R=1, C=0, K=0),
        "noise": {name: {"distribution": "normal", "sigma": "estimate"} for name in ("bound", "active")},
        "uncertainty": "covariance",
    }
    return request, {"on": 0.2, "off": 0.5, "activate": 2.0, "deactivate": 0.6}, normal(0.02)


def weekly_incidence() -> tuple[Request, Mapping[str, float], Scatter]:
    """An epidemic of which the new cases of each week are counted: a cumulative state is set to 0 at each count."""
    weeks = [7.0 * week for week in range(1, 21)]
    request: Request = {
        "system": {
            "states": ["S", "I", "cases"],
            "parameters": ["beta", "gamma", "reported"],
            "constants": {"N": 50000.0},
            "definitions": {"infections": "beta*S*I/N"},
            "equations": {"S": "-infections", "I": "infections - gamma*I", "cases": "reported*infections"},
            "observables": {"weekly": "cases"},
        },
        "data": {
            "start_time": 0,
            "times": weeks,
            "changes": [{"at": week, "set": {"cases": 0}} for week in weeks],
            "observed": "before",
        },
        "parameters": positive(beta=0.3, gamma=0.15) | {"reported": {"guess": 0.3, "fixed": True}},
        "initial_state": {"S": "N", "I": {"guess": 5, "scale": "log"}, **fixed(cases=0)},
        "noise": {"weekly": {"distribution": "poisson"}},
        "uncertainty": "covariance",
    }
    return request, {"beta": 0.35, "gamma": 0.2, "I": 10.0}, poisson


def shared_rate() -> tuple[Request, Mapping[str, float], Scatter]:
    """Five runs of a decay: three with a catalyst, whose rate they share, and two without."""
    request: Request = {
        "system": {
            "states": ["A"],
            "parameters": ["k", "catalysed"],
            "constants": {"rate": 1.0},
            "equations": {"A": "-rate*A"},
        },
        "experiments": [
            {
                "name": f"run {number}",
                "times": [0, 1, 2, 4, 6, 8],
                "constants": {"rate": rate},
                "initial_state": {"A": start},
            }
            for number, (rate, start) in enumerate(
                [("k", 5.0), ("catalysed", 5.0), ("catalysed", 8.0), ("k", 8.0), ("catalysed", 3.0)], start=1
            )
        ],
        "parameters": positive(k=0.1, catalysed=0.2),
        "initial_state": {"A": 5.0},
        "noise": {"A": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    return request, {"k": 0.15, "catalysed": 0.45}, normal(0.1)


def rc_thermal() -> tuple[Request, Mapping[str, float], Scatter]:
    """A house over a year, heated by day: rooms and walls as two heat capacities behind two resistances.

    The outdoor temperature is measured every hour, and that of the rooms every 4 hours. Units: h, °C, kW, kWh/K, K/kW.
    """
    hours = np.arange(8760)
    weather = np.zeros(len(hours))
    shocks = np.random.default_rng(2026).standard_normal(len(hours))
    for hour in hours[1:]:
        weather[hour] = 0.99 * weather[hour - 1] + 0.5 * shocks[hour]  # lasts some days
    outdoor = 10 - 9 * np.cos(2 * np.pi * hours / 8760) - 4 * np.cos(2 * np.pi * (hours - 3) / 24) + weather
    request: Request = {
        "system": {
            "states": ["rooms", "walls"],
            "parameters": ["R_inside", "R_outside", "C_rooms", "C_walls"],
            "inputs": ["outdoor", "heating"],
            "definitions": {"into_walls": "(rooms - walls)/R_inside"},
            "equations": {
                "rooms": "(heating - into_walls)/C_rooms",
                "walls": "(into_walls - (walls - outdoor)/R_outside)/C_walls",
            },
            "observables": {"rooms": "rooms"},
        },
        "data": {
            "times": hours[::4].tolist(),
            "inputs": {
                "outdoor": {"times": hours.tolist(), "values": outdoor.round(1).tolist()},
                "heating": {
                    "times": [0, 6, 22, 24],
                    "values": [0.5, 3.0, 0.5, 0.5],
                    "interpolation": "previous",
                    "outside": "repeat",
                },
            },
        },
        "parameters": positive(R_inside=1.0, R_outside=3.0, C_rooms=2.0, C_walls=10.0),
        "initial_state": {"rooms": 15.0, "walls": 10.0},
        "noise": {"rooms": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    truth = {"R_inside": 0.6, "R_outside": 4.0, "C_rooms": 1.5, "C_walls": 20.0, "rooms": 12.0, "walls": 8.0}
    return request, truth, normal(0.3)


def battery() -> tuple[Request, Mapping[str, float], Scatter]:
    """A cell on a drive cycle: a resistance and an RC pair in series, and an open-circuit voltage of its charge.

    The current is measured every second, 10,000 times, and the voltage every 20 seconds. Units: s, A, V, Ω, Ah.
    """
    random = np.random.default_rng(2027)
    loads = np.repeat(random.choice([-2.0, 0.0, 1.0, 2.5, 5.0], 1000, p=[0.15, 0.25, 0.3, 0.2, 0.1]), 10)
    current = loads + 0.05 * random.standard_normal(len(loads))
    seconds = np.arange(len(current))
    request: Request = {
        "system": {
            "states": ["charge", "v"],
            "parameters": ["R0", "R1", "tau", "capacity"],
            "inputs": ["current"],
            "definitions": {"open_circuit": "3.3 + 0.9*charge - 0.35*charge**2*(1 - charge) + 0.05*log(charge)"},
            "equations": {"charge": "-current/(3600*capacity)", "v": "(R1*current - v)/tau"},
            "observables": {"voltage": "open_circuit - v - R0*current"},
        },
        "data": {
            "start_time": 0,
            "times": seconds[20::20].tolist(),
            "inputs": {"current": {"times": seconds.tolist(), "values": current.round(3).tolist()}},
        },
        "parameters": positive(R0=0.02, R1=0.02, tau=20.0, capacity=4.0),
        "initial_state": {"charge": {"guess": 0.9, "lower": 0.5, "upper": 1}, **fixed(v=0)},
        "noise": {"voltage": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }
    return request, {"R0": 0.03, "R1": 0.015, "tau": 35.0, "capacity": 5.0, "charge": 0.95}, normal(0.002)


EXPERIMENTS = {
    "multiple-doses": multiple_doses,
    "infusion": infusion,
    "minimal-glucose-model": minimal_glucose_model,
    "fed-batch": fed_batch,
    "bouncing-ball": bouncing_ball,
    "wash-out": wash_out,
    "weekly-incidence": weekly_incidence,
    "shared-rate": shared_rate,
    "rc-thermal": rc_thermal,
    "battery": battery,
}


def simulated(name: str, seed: int = 0) -> tuple[Request, Mapping[str, float]]:
    """Return a request with simulated measurements, and the true values of its unknowns, by name."""
    request, truth, scatter = EXPERIMENTS[name]()
    random = np.random.default_rng([seed, list(EXPERIMENTS).index(name)])
    series = request.get("experiments") or [request["data"]]
    for one in series:
        at_truth = _at(request, truth) | {"data": {n: v for n, v in one.items() if n != "name"}}
        values = simulate({n: v for n, v in at_truth.items() if n not in ("experiments", "noise", "predictions")})
        one["values"] = {
            observable: [float(f"{value:.5g}") for value in scatter(random, np.array(column))]
            for observable, column in values["values"].items()
        }
    return request, truth


def _at(request: Request, truth: Mapping[str, float]) -> Request:
    """The request with the true values as guesses; initial values of a series' own are true."""
    return request | {
        part: {name: truth.get(name, entry) for name, entry in request[part].items()}
        for part in ("parameters", "initial_state")
    }


def main() -> None:
    """Write all requests."""
    REQUESTS.mkdir(exist_ok=True)
    for name in EXPERIMENTS:
        request, _ = simulated(name)
        (REQUESTS / f"{name}.json").write_text(to_text(request), encoding="utf-8")


if __name__ == "__main__":
    main()
