"""Problems with measured data; the tables are in `data/`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from examples.problems.problem import Problem, Reals, Values, noise, positive, system

DATA = Path(__file__).parents[2] / "data"
BOYS = 763.0
# Means and standard deviations of the posterior in Carpenter (2018), "Predator-Prey Population Dynamics: the
# Lotka-Volterra model in Stan". gamma and delta are called delta and gamma there.
STAN = {
    "alpha": (0.55, 0.06), "beta": (0.028, 0.004), "gamma": (0.024, 0.004), "delta": (0.80, 0.09),
    "prey": (33.9, 2.9), "predator": (5.9, 0.5), "prey's sigma": (0.25, 0.04), "predator's sigma": (0.25, 0.04),
}  # fmt: skip


def measured() -> list[Problem]:
    """Return all of them."""
    return [theophylline(), influenza_sir(), influenza_seir(), lynx_hare(), lynx_hare_with_priors()]


def rows(name: str) -> list[dict[str, float]]:
    """Return the rows of a table in `data/`."""
    lines = [line for line in (DATA / name).read_text("utf-8").splitlines() if not line.startswith("#")]
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]


def by_subject(table: list[dict[str, float]]) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield the name, times and concentrations of each subject as an experiment, and the dose."""
    for subject in sorted({row["subject"] for row in table}):
        mine = [row for row in table if row["subject"] == subject]
        experiment = {
            "name": f"subject {subject:.0f}",
            "times": [row["time"] for row in mine],
            "values": {"concentration": [row["concentration"] for row in mine]},
        }
        yield experiment, mine[0]["dose"]


def theophylline() -> Problem:
    """Return one compartment with first-order absorption; each subject has its own rates and volume."""
    subjects = by_subject(rows("theophylline.csv"))
    experiments = [{**experiment, "constants": {"dose": dose}} for experiment, dose in subjects]
    request = {
        "system": system(
            {"gut": "-ka*gut", "body": "ka*gut - ke*body"}, "ka ke V",
            constants={"dose": 4.0}, observables={"concentration": "body/V"},
        ),
        "experiments": experiments,
        "per_experiment": ["ka", "ke", "V"],
        "parameters": positive({"ka": 1.0, "ke": 0.1, "V": 0.5}),
        "initial_state": {"gut": "dose", "body": {"guess": 0.0, "fixed": True}},
        "noise": noise("normal", "concentration"),
    }  # fmt: skip

    def bateman(times: Reals, v: Values) -> list[Reals]:
        gut, gone = np.exp(-v["ka"] * times), np.exp(-v["ke"] * times)
        return [v["dose"] * gut, v["dose"] * v["ka"] / (v["ka"] - v["ke"]) * (gone - gut)]

    return Problem(
        "Theophylline, 12 subjects",
        "Boeckmann, Sheiner and Beal (1994), `Theoph` of R",
        request,
        lambda _t, y, v: [-v["ka"] * y[0], v["ka"] * y[0] - v["ke"] * y[1]],
        {"ka": 1.5, "ke": 0.087, "V": 0.48},  # Pinheiro and Bates (2000)
        lambda y, v: [y[1] / v["V"]],
        exact=bateman,
    )


def _influenza() -> dict[str, Any]:
    table = rows("boarding-school.csv")
    return {
        "start_time": 0.0,
        "times": [row["day"] for row in table],
        "values": {"I": [row["in_bed"] for row in table]},
    }


def influenza_sir() -> Problem:
    """Return susceptible, infected, recovered, with least squares; the number infected on day 0 is fitted."""
    request = {
        "system": system(
            {"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I"}, "beta gamma I0", constants={"N": BOYS},
        ),
        "data": _influenza(),
        "parameters": positive({"beta": 1.0, "gamma": 0.3, "I0": 3.0}),
        "initial_state": {"S": "N - I0", "I": "I0"},
    }  # fmt: skip
    return Problem(
        "Influenza, SIR",
        "British Medical Journal, 4 March 1978",
        request,
        lambda _t, y, v: [-v["beta"] * y[0] * y[1] / BOYS, v["beta"] * y[0] * y[1] / BOYS - v["gamma"] * y[1]],
        {"beta": 1.66, "gamma": 0.45, "I0": 1.0},
        lambda y, v: [y[1]],
        lambda v: [BOYS - v["I0"], v["I0"]],
    )


def influenza_seir() -> Problem:
    """Return the same with a latent period and an estimated scale of the noise."""

    def slope(_t: float, y: Reals, v: Values) -> list[float]:
        infections = v["beta"] * y[0] * y[2] / BOYS
        return [-infections, infections - v["kappa"] * y[1], v["kappa"] * y[1] - v["gamma"] * y[2]]

    request = {
        "system": system(
            {"S": "-beta*S*I/N", "E": "beta*S*I/N - kappa*E", "I": "kappa*E - gamma*I"}, "beta kappa gamma I0",
            constants={"N": BOYS},
        ),
        "data": _influenza(),
        "parameters": positive({"beta": 2.0, "kappa": 1.0, "gamma": 0.3, "I0": 3.0}),
        "initial_state": {"S": "N - I0", "E": {"guess": 0.0, "fixed": True}, "I": "I0"},
        "noise": noise("normal", "I"),
    }  # fmt: skip
    start = {"beta": 2.5, "kappa": 2.0, "gamma": 0.5, "I0": 1.0}
    return Problem(
        "Influenza, SEIR",
        "British Medical Journal, 4 March 1978",
        request,
        slope,
        start,
        lambda y, v: [y[2]],
        lambda v: [BOYS - v["I0"], 0.0, v["I0"]],
    )


def lynx_hare() -> Problem:
    """Return the pelts of the Hudson's Bay Company with multiplicative noise."""
    table = rows("lynx-hare.csv")
    request = {
        "system": system(
            {"prey": "alpha*prey - beta*prey*predator", "predator": "gamma*prey*predator - delta*predator"},
            "alpha beta gamma delta",
        ),
        "data": {
            "times": [row["year"] for row in table],
            "values": {"prey": [row["hare"] for row in table], "predator": [row["lynx"] for row in table]},
        },
        "parameters": positive({"alpha": 1.0, "beta": 0.05, "gamma": 0.05, "delta": 1.0}),
        "initial_state": positive({"prey": 30.0, "predator": 4.0}),
        "noise": noise("lognormal", "prey predator"),
    }  # fmt: skip
    return Problem(
        "Lynx and hare, lognormal",
        "Hewitt (1921)",
        request,
        lambda _t, y, v: [(v["alpha"] - v["beta"] * y[1]) * y[0], (v["gamma"] * y[0] - v["delta"]) * y[1]],
        {name: STAN[name][0] for name in ("alpha", "beta", "gamma", "delta", "prey", "predator")},
    )


def lynx_hare_with_priors() -> Problem:
    """Return the same with the priors of Stan's case study."""
    plain = lynx_hare()
    request: dict[str, Any] = plain.request
    rate = {"distribution": "normal", "mean": 1.0, "standard_deviation": 0.5}
    loss = {"distribution": "normal", "mean": 0.05, "standard_deviation": 0.05}
    size = {"distribution": "lognormal", "median": 10.0, "sigma": 1.0}
    scale = {"distribution": "lognormal", "median": float(np.exp(-1.0)), "sigma": 1.0}
    priors = {"alpha": rate, "delta": rate, "beta": loss, "gamma": loss, "prey": size, "predator": size}
    request["parameters"] = {
        name: request["parameters"][name] | {"prior": priors[name]} for name in request["parameters"]
    }
    request["initial_state"] = {name: entry | {"prior": size} for name, entry in request["initial_state"].items()}
    request["noise"] = noise("lognormal", "prey predator", prior=scale)
    return Problem("Lynx and hare, with priors", plain.source, request, plain.slope, plain.start)
