"""Experiments with doses, inputs, changes, events and steady states: their requests, and their models with scipy only.

The requests and their data are those of `examples.experiments`. Here each is solved in another way than by odefit:
by closed forms, by exact steps of linear systems, or by `solve_ivp` from one instant to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import lsim

from examples.experiments import EXPERIMENTS, simulated
from examples.problems.problem import Problem, Reals, Values

Series = Mapping[str, Any]
Rates = Callable[[float, Reals], list[float]]


def treated() -> list[Problem]:
    """Return the experiments in the order of `examples.experiments`."""
    found = []
    for name in EXPERIMENTS:
        title, model = MODELS[name]
        request, truth = simulated(name)
        start = dict(truth) | ({"A": 5.0} if name == "shared-rate" else {})
        found.append(Problem(title, f"`{name}.json`", request, None, start, treated=model))
    return found


def piecewise(rates: Rates, state: Reals, ends: Sequence[float], jump: Reals) -> Reals:
    """Return the states (n, T) at the ends of intervals that begin at 0; after each end the jump (n,) is added."""
    found, begin = [], 0.0
    for end in ends:
        if end > begin:
            solution = solve_ivp(rates, (begin, end), state, "LSODA", rtol=1e-9, atol=1e-12)
            if not solution.success or not np.isfinite(solution.y).all():
                raise ArithmeticError(solution.message)
            state = solution.y[:, -1]
        found.append(state)
        state, begin = state + jump, end
    return np.stack(found, axis=1)


def absorbed(time: Reals, v: Values, ka: float, ke: float) -> Reals:
    """Return c after a dose of 1 at time 0, by Bateman's function."""
    since = np.maximum(time, 0.0)
    return np.asarray(ka / (v["V"] * (ka - ke)) * (np.exp(-ke * since) - np.exp(-ka * since)))


def multiple_doses(v: Values, series: Series) -> list[Reals]:
    """The sum of what each of six doses leaves."""
    times = np.array(series["times"], dtype=float)
    return [sum((100 * absorbed(times - 12 * i - v["lag"], v, v["ka"], v["CL"] / v["V"]) for i in range(6)), 0 * times)]


def infusion(v: Values, series: Series) -> list[Reals]:
    """The response to an infusion without end, less the same from the infusion's end on."""
    times, ka, ke = np.array(series["times"], dtype=float), v["ka"], v["ke"]

    def into_blood(time: Reals) -> Reals:
        return np.asarray(100 / v["V"] * -np.expm1(-ke * np.maximum(time, 0.0)) / ke)

    def into_skin(time: Reals) -> Reals:
        since = np.maximum(time, 0.0)
        parts = -np.expm1(-ke * since) / ke + np.expm1(-ka * since) / ka
        return np.asarray(40 / v["V"] * ka / (ka - ke) * parts)

    if series["name"] == "vein":
        return [into_blood(times) - into_blood(times - 0.5)]
    return [into_skin(times - v["lag"]) - into_skin(times - v["lag"] - 80 * v["F"] / 40)]


def minimal_glucose_model(v: Values, series: Series) -> list[Reals]:
    """From one measurement of insulin to the next, which are also the times of glucose."""
    insulin = series["inputs"]["I"]

    def rates(t: float, y: Reals) -> list[float]:
        level = np.interp(t, insulin["times"], insulin["values"])
        return [-(v["p1"] + y[1]) * y[0] + v["p1"] * v["Gb"], -v["p2"] * y[1] + v["p2"] * v["SI"] * (level - v["Ib"])]

    return [piecewise(rates, np.array([v["G"], v["X"]]), series["times"], np.zeros(2))[0]]


def fed_batch(v: Values, series: Series) -> list[Reals]:
    """From one sample to the next: the feed changes at the times of samples only."""
    feed = series["inputs"]["feed"]

    def rates(t: float, y: Reals) -> list[float]:
        middle = np.floor(t) + 0.5 if t < series["times"][-1] else t  # of the interval, whose ends are whole hours
        flow = feed["values"][np.searchsorted(feed["times"], middle, side="right") - 1]
        growth = v["mu_max"] * y[1] / (v["Ks"] + y[1])
        return [(growth - flow / y[2]) * y[0], -growth * y[0] / v["Y"] + flow / y[2] * (v["S_feed"] - y[1]), flow]

    states = piecewise(rates, np.array([v["X"], v["S"], v["V"]]), series["times"], np.array([0, 0, -0.05]))
    return [states[0], states[1]]


def bouncing_ball(v: Values, series: Series) -> list[Reals]:
    """A parabola from each bounce to the next."""
    found, height, speed, begin = [], v["h"], 0.0, 0.0
    for time in series["times"]:
        until = (speed + np.sqrt(speed**2 + 2 * v["g"] * height)) / v["g"]
        while time > begin + until:
            speed, height, begin = v["e"] * (v["g"] * until - speed), 0.0, begin + until
            until = 2 * speed / v["g"]
        since = time - begin
        found.append(height + speed * since - v["g"] * since**2 / 2)
    return [np.array(found)]


def wash_out(v: Values, series: Series) -> list[Reals]:
    """The equilibrium and the decay of the complex in closed form."""
    ligand = series["steady_state"]["inputs"]["ligand"]
    begin = v["on"] * ligand / (v["on"] * ligand + v["off"])
    times = np.array(series["times"], dtype=float)

    def rates(t: float, y: Reals) -> list[float]:
        complexes = begin * np.exp(-v["off"] * t)
        return [v["activate"] * complexes * (1 - y[0]) - v["deactivate"] * y[0]]

    active = v["activate"] * begin / (v["activate"] * begin + v["deactivate"])
    return [begin * np.exp(-v["off"] * times), piecewise(rates, np.array([active]), series["times"], np.zeros(1))[0]]


def weekly_incidence(v: Values, series: Series) -> list[Reals]:
    """The differences of the cases so far."""

    def rates(_t: float, y: Reals) -> list[float]:
        infections = v["beta"] * y[0] * y[1] / v["N"]
        return [-infections, infections - v["gamma"] * y[1], v["reported"] * infections]

    cases = piecewise(rates, np.array([v["N"], v["I"], 0.0]), series["times"], np.zeros(3))[2]
    return [np.diff(cases, prepend=0.0)]


def shared_rate(v: Values, series: Series) -> list[Reals]:
    """Exponentials."""
    return [v["A"] * np.exp(-v[series["constants"]["rate"]] * np.array(series["times"]))]


def rc_thermal(v: Values, series: Series) -> list[Reals]:
    """Exact steps of an hour: the outdoor temperature is linear in them, the heating constant."""
    outdoor = np.array(series["inputs"]["outdoor"]["values"])
    hours = np.arange(float(len(outdoor)))
    heating = np.where((hours % 24 >= 6) & (hours % 24 < 22), 3.0, 0.5)
    inside, outside = 1 / v["R_inside"], 1 / v["R_outside"]
    matrix = np.array([
        [-inside / v["C_rooms"], inside / v["C_rooms"]], [inside / v["C_walls"], -(inside + outside) / v["C_walls"]]
    ])  # fmt: skip

    def response(into: list[float], values: Reals, start: list[float], *, interp: bool) -> Reals:
        system = matrix, np.array(into)[:, None], np.eye(2), np.zeros((2, 1))
        return np.asarray(lsim(system, values, hours, start, interp=interp)[1][:, 0])

    by_outdoor = response([0.0, outside / v["C_walls"]], outdoor, [v["rooms"], v["walls"]], interp=True)
    by_heating = response([1 / v["C_rooms"], 0.0], heating, [0.0, 0.0], interp=False)
    return [(by_outdoor + by_heating)[series["times"]]]


def battery(v: Values, series: Series) -> list[Reals]:
    """The integral of a current that is linear between its points, and exact steps of a second."""
    current = np.array(series["inputs"]["current"]["values"])
    seconds = np.arange(float(len(current)))
    drawn = np.concatenate([[0.0], np.cumsum((current[1:] + current[:-1]) / 2)])
    charge = v["charge"] - drawn / (3600 * v["capacity"])
    system = [[-1 / v["tau"]]], [[v["R1"] / v["tau"]]], [[1.0]], [[0.0]]
    behind = lsim(system, current, seconds, [0.0])[1]
    if charge.min() <= 0:
        raise ArithmeticError("the cell is empty")
    open_circuit = 3.3 + 0.9 * charge - 0.35 * charge**2 * (1 - charge) + 0.05 * np.log(charge)
    return [(open_circuit - behind - v["R0"] * current)[series["times"]]]


# of each experiment its name in the table and its model
MODELS: Mapping[str, tuple[str, Callable[[Values, Series], list[Reals]]]] = {
    "multiple-doses": ("Doses by mouth, trough samples", multiple_doses),
    "infusion": ("Infusion with lag and bioavailability", infusion),
    "minimal-glucose-model": ("Minimal glucose model", minimal_glucose_model),
    "fed-batch": ("Fed-batch with samples taken out", fed_batch),
    "bouncing-ball": ("Bouncing ball", bouncing_ball),
    "wash-out": ("Wash-out from a steady state", wash_out),
    "weekly-incidence": ("Weekly incidence", weekly_incidence),
    "shared-rate": ("Rate shared by three of five runs", shared_rate),
    "rc-thermal": ("House with outdoor temperature", rc_thermal),
    "battery": ("Battery with measured current", battery),
}
