"""The article's problems as fit requests, generated from `data/article-problems.json` with fixed seeds.

`python -m examples.article` writes them to `examples/requests/`, each with the article's full procedure and its
validations as predictions. It also writes the request for the lynx–hare record. Values are rounded to six decimals,
far below the noise, so that the files do not depend on the machine that wrote them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from odelib.simulation.kuramoto_network import Oscillators, order_parameter
from odelib.simulation.simulated_data import simulate

DATA = Path(__file__).parents[1] / "data"
REQUESTS = Path(__file__).parent / "requests"
SEED = 2024
OSCILLATORS, DRAWS, VALIDATION_DRAWS = 10_000, 123, 124
TIME_LIMIT_SECONDS = {"lorenz": 6 * 3600}  # 4,000 steps of Adam at 1.3 s each, and a margin for slow machines
DEFAULT_TIME_LIMIT_SECONDS = 2 * 3600
TRUTH_SOLVER = {"rtol": 1e-13, "atol": 1e-14}  # Lorenz loses one decimal digit every 2.5 units of time
VALIDATION_STEP = 0.05  # fine enough for a smooth curve
DECIMALS = 6

Problem = Mapping[str, Any]
Request = dict[str, Any]


def article_problems() -> dict[str, Problem]:
    """Return the article's problems with its published results, by name."""
    problems: dict[str, Problem] = json.loads((DATA / "article-problems.json").read_text("utf-8"))["problems"]
    return problems


def all_requests() -> dict[str, Request]:
    """Return the request of every example, by the name of its file."""
    problems = article_problems()
    return {
        "lynx-hare": lynx_hare(),
        "lotka-volterra": noisy_fit("lotka-volterra", problems["lotka-volterra"], absolute=True),
        "stuart-landau": noisy_fit("stuart-landau", problems["stuart-landau"], absolute=True),
        "lorenz": noisy_fit("lorenz", problems["lorenz"], absolute=False),
        "kuramoto": kuramoto(problems["kuramoto"], order=2),
        "kuramoto-order-1": kuramoto(problems["kuramoto"], order=1),
    }


def lynx_hare() -> Request:
    """Return the request for the Hudson's Bay Company's record of 21 years; hares are the prey."""
    lines = (DATA / "lynx-hare.csv").read_text("utf-8").splitlines()
    rows = [[float(field) for field in line.split(",")] for line in lines[2:]]
    years, lynx, hare = (list(column) for column in zip(*rows, strict=True))
    return {
        "system": "lotka-volterra",
        "data": {"name": "hudson-bay", "times": years, "values": {"prey": hare, "predator": lynx}},
        "parameters": {"alpha": 0.5, "beta": 0.025, "gamma": 0.025, "delta": 0.8},
        "initial_state": {"prey": 30.0, "predator": 4.0},
        "labels": {"unit": "thousands of pelts a year"},
    }


def noisy_fit(name: str, problem: Problem, *, absolute: bool) -> Request:
    """Return a problem with known truth: its solution with normal noise, and for some problems its absolute value."""
    truth, times = problem["truth"], _times(**problem["times"])
    data = simulate({"system": name, "times": times, **truth}, noise=problem["sigma"], seed=SEED)
    if absolute:
        data["values"] = {key: np.abs(column).tolist() for key, column in data["values"].items()}
    validation = _times(0, problem["validation"]["until"], VALIDATION_STEP)
    return {
        "system": name,
        "data": {"times": times, "values": _rounded(data["values"])},
        **_ordered(problem["guess"]),
        "stages": _stages(problem),
        "predictions": [
            _validation(name, truth, validation, start) for start in problem["validation"].get("initial_states", [None])
        ],
        "time_limit_seconds": TIME_LIMIT_SECONDS.get(name, DEFAULT_TIME_LIMIT_SECONDS),
    }


def kuramoto(problem: Problem, *, order: int) -> Request:
    """Return the reduced system with the order parameter of a simulated network as data, from its known start."""
    times = _times(**problem["times"])
    full, network = problem["full_model_parameters"], Oscillators.draw(OSCILLATORS, seed=DRAWS)
    rng = np.random.default_rng(VALIDATION_DRAWS)
    predictions = []
    for description, largest in (("0 to pi", np.pi), ("0 to 1.5 pi", 1.5 * np.pi)):
        other = Oscillators(network.detunings, rng.uniform(0.0, largest, OSCILLATORS))
        predictions.append(
            {
                "name": f"phases from {description}",
                "times": times,
                "initial_state": _start(other),
                "values": _observed(order_parameter(other, times, **full)),
            }
        )
    return {
        "system": "kuramoto",
        "data": {
            "name": f"{OSCILLATORS} oscillators",
            "times": times,
            "values": _observed(order_parameter(network, times, **full)),
            "constants": {"order": float(order)},
        },
        "parameters": problem["guess"]["parameters"],
        "initial_state": {name: {"guess": value, "fixed": True} for name, value in _start(network).items()},
        "stages": _stages(problem),
        "predictions": predictions,
        "time_limit_seconds": DEFAULT_TIME_LIMIT_SECONDS,
    }


def _validation(name: str, truth: Problem, times: Sequence[float], start: Problem | None) -> Request:
    """Return the true solution to compare with: from another start, or beyond the data if there is none."""
    initial_state = start or truth["initial_state"]
    true = simulate(
        {
            "system": name,
            "times": times,
            "parameters": truth["parameters"],
            "initial_state": initial_state,
            "solver": TRUTH_SOLVER,
        }
    )
    label = "another start" if start else f"until {times[-1]:g}"
    own = {"initial_state": initial_state} if start else {}
    return {"name": label, "times": times, **own, "values": _rounded(true["values"])}


def _stages(problem: Problem) -> list[Request]:
    published = problem["published"]
    lbfgsb = {"kind": "lbfgsb", "initial_step_norm": published["bfgs_initial_step_norm"]}
    if "bfgs_steps" in published:
        lbfgsb["steps"] = published["bfgs_steps"]
    if not published["adam_steps"]:
        return [lbfgsb]
    return [{"kind": "adam", "steps": published["adam_steps"], "learning_rate": 0.001}, lbfgsb]


def _ordered(guess: Problem) -> Request:
    return {"parameters": guess["parameters"], "initial_state": guess["initial_state"]}


def _times(start: float, stop: float, step: float) -> list[float]:
    return [round(start + i * step, 10) for i in range(round((stop - start) / step) + 1)]


def _start(network: Oscillators) -> dict[str, float]:
    z = network.order_parameter
    return {"psi": float(np.angle(z)), "R": abs(z)}


def _observed(z: Any) -> dict[str, list[float]]:
    return _rounded({"re": z.real.tolist(), "im": z.imag.tolist()})


def _rounded(columns: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [round(value, DECIMALS) for value in column] for name, column in columns.items()}


def to_text(request: Request) -> str:
    """Return a request as indented JSON with each list of numbers on one line."""
    text = json.dumps(request, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub(r"\[([^\[\]{}\"]+)\]", lambda column: f"[{' '.join(column[1].split())}]", text) + "\n"


def write_requests(folder: Path = REQUESTS) -> Iterator[Path]:
    """Write every request and yield the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, request in all_requests().items():
        path = folder / f"{name}.json"
        path.write_text(to_text(request), encoding="utf-8")
        yield path


if __name__ == "__main__":
    for written in write_requests():
        print(written.relative_to(Path.cwd()) if written.is_relative_to(Path.cwd()) else written)
