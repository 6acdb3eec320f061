"""Requests of the page's gallery that nothing else in this folder has.

`python -m examples.gallery` writes them to `examples/requests/gallery/`; `make page` puts them into the page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.article import to_text
from examples.experiments import fixed, positive
from examples.problems.measured import by_subject, influenza_sir, rows
from odelib.simulation.simulated_data import simulate

REQUESTS = Path(__file__).parent / "requests" / "gallery"
Request = dict[str, Any]


def theophylline() -> Request:
    """Twelve subjects swallow one dose each; all have their own rates and volume."""
    subjects = by_subject(rows("theophylline.csv"))
    experiments = [
        {**experiment, "doses": [{"into": "gut", "amount": dose, "at": 0.0}]} for experiment, dose in subjects
    ]
    return {
        "system": {
            "states": ["gut", "body"],
            "parameters": ["ka", "ke", "V"],
            "equations": {"gut": "-ka*gut", "body": "ka*gut - ke*body"},
            "observables": {"concentration": "body/V"},
        },
        "experiments": experiments,
        "per_experiment": ["ka", "ke", "V"],
        "parameters": positive(ka=1.0, ke=0.1, V=0.5),
        "initial_state": fixed(gut=0.0, body=0.0),
        "noise": {"concentration": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }


def influenza() -> Request:
    """Return an epidemic in a boarding school; the number of boys infected on day 0 is fitted."""
    return influenza_sir().request | {
        "noise": {"I": {"distribution": "normal", "sigma": "estimate"}},
        "uncertainty": "covariance",
    }


def universal() -> Request:
    """Predator and prey whose encounters are not known: a network takes the place of both terms."""
    times = [round(0.1 * i, 1) for i in range(41)]
    truth = {
        "system": "lotka-volterra",
        "parameters": {"alpha": 1.3, "beta": 0.9, "gamma": 0.8, "delta": 1.8},
        "initial_state": {"prey": 0.44, "predator": 4.6},
        "times": times,
    }
    data = simulate(truth, noise=0.02, seed=1)
    data["values"] = {name: [float(f"{value:.5g}") for value in column] for name, column in data["values"].items()}
    return {
        "system": {
            "states": ["prey", "predator"],
            "parameters": ["alpha", "delta"],
            "equations": {"prey": "alpha*prey - eaten", "predator": "born - delta*predator"},
            "networks": {
                "encounters": {"inputs": ["prey", "predator"], "outputs": ["eaten", "born"], "hidden": [8]},
            },
        },
        "data": data,
        "parameters": fixed(alpha=1.3, delta=1.8),
        "initial_state": {"prey": 0.5, "predator": 4.5},
        "networks": {"encounters": {"l2": 1e-2}},
        "stages": [{"kind": "least_squares", "steps": 300}],
    }


MAKERS: dict[str, Callable[[], Request]] = {
    "theophylline": theophylline,
    "influenza": influenza,
    "universal": universal,
}


def main() -> None:
    """Write the requests."""
    REQUESTS.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        (REQUESTS / f"{name}.json").write_text(to_text(make()), "utf-8")


if __name__ == "__main__":
    main()
