"""The problems of the benchmarks: the article's four, DETEST's non-stiff ones, and a stiff set.

DETEST: Hull, Enright, Fellen and Sedgwick, SIAM J. Numer. Anal. 9 (1972), classes A to E, each from t = 0 to 20.
Stiff: Robertson, HIRES, Oregonator, van der Pol and E5 from Hairer and Wanner, Solving Ordinary Differential
Equations II, and their test set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odelib.problem.catalogue import CATALOGUE
from odelib.problem.checks.system import build_system
from odelib.problem.system import System, SystemDefinition

Reals = NDArray[np.float64]
REQUESTS = Path(__file__).parents[1] / "examples" / "requests"


@dataclass(frozen=True)
class Problem:
    """An initial value problem at given parameters; `data` (T, n), where there are any, are for the loss.

    smallest: the size below which a state does not count; the absolute tolerance is the relative one times it.
    """

    name: str
    system: System
    times: Reals
    initial_state: Reals
    parameters: Reals
    data: Reals | None = None
    stiff: bool = False
    smallest: float = 1e-2


def article() -> list[Problem]:
    """The article's fits at their guesses, with the data of `examples/requests`."""
    return [_article(name) for name in ("lotka-volterra", "stuart-landau", "kuramoto", "lorenz")]


def _article(name: str) -> Problem:
    request = json.loads((REQUESTS / f"{name}.json").read_text("utf-8"))
    system, values = CATALOGUE[name], {k: np.array(v) for k, v in request["data"]["values"].items()}
    if name == "kuramoto":  # the loss is on the states everywhere: what was measured, in polar coordinates
        z = values["re"] + 1j * values["im"]
        values = {"psi": np.unwrap(np.angle(z)), "R": np.abs(z)}
    start = [request["initial_state"][s] for s in system.states]
    return Problem(
        name=name,
        system=system,
        times=np.array(request["data"]["times"]),
        initial_state=np.array([s["guess"] if isinstance(s, dict) else s for s in start], dtype=float),
        parameters=np.array([request["parameters"][p] for p in system.parameters], dtype=float),
        data=np.column_stack([values[s] for s in system.states]),
    )


def make_problem(name: str, equations: Mapping[str, str], start: Sequence[float], **more: Any) -> Problem:
    """A problem from equations of states; more: `parameters`, by name, and fields of `Problem`."""
    parameters = more.pop("parameters", {})
    definition = SystemDefinition(
        states=list(equations), parameters=list(parameters), equations={k: str(v) for k, v in equations.items()}
    )
    return Problem(
        name=name,
        system=build_system(definition, name=name),
        times=more.pop("times", np.linspace(0.0, 20.0, 41)),
        initial_state=np.array(start, dtype=float),
        parameters=np.array(list(parameters.values()), dtype=float),
        **more,
    )


def detest() -> list[Problem]:
    """The 25 non-stiff problems."""
    return [*_single_equations(), *_small_systems(), *_moderate_systems(), *_orbits(), *_higher_order()]


def _single_equations() -> list[Problem]:
    return [
        make_problem("A1", {"y": "-y"}, [1]),
        make_problem("A2", {"y": "-y**3/2"}, [1]),
        make_problem("A3", {"y": "y*cos(t)"}, [1]),
        make_problem("A4", {"y": "y/4*(1 - y/20)"}, [1]),
        make_problem("A5", {"y": "(y - t)/(y + t)"}, [4]),
    ]


def _small_systems() -> list[Problem]:
    r = "sqrt(x**2 + y**2)"
    return [
        make_problem("B1", {"x": "2*(x - x*y)", "y": "-(y - x*y)"}, [1, 3]),
        make_problem("B2", {"x": "-x + y", "y": "x - 2*y + z", "z": "y - z"}, [2, 0, 1]),
        make_problem("B3", {"x": "-x", "y": "x - y**2", "z": "y**2"}, [1, 0, 0]),
        make_problem("B4", {"x": f"-y - x*z/{r}", "y": f"x - y*z/{r}", "z": f"x/{r}"}, [3, 0, 0]),
        make_problem("B5", {"x": "y*z", "y": "-x*z", "z": "-0.51*x*y"}, [0, 1, 1]),
    ]


def _moderate_systems() -> list[Problem]:
    chain = {f"y{i}": f"y{i - 1} - y{i}" if i else "-y0" for i in range(10)} | {"y9": "y8"}
    faster = {f"y{i}": f"{i}*y{i - 1} - {i + 1}*y{i}" if i else "-y0" for i in range(10)} | {"y9": "9*y8"}
    return [
        make_problem("C1", chain, [1, *[0] * 9]),
        make_problem("C2", faster, [1, *[0] * 9]),
        make_problem("C3", diffusion(10), [1, *[0] * 9]),
        make_problem("C4", diffusion(51), [1, *[0] * 50]),
        _five_bodies(),
    ]


def diffusion(n: int) -> dict[str, str]:
    """dy/dt = the second difference of y, y being 0 on both sides."""
    return {
        f"y{i}": (f"y{i - 1} " if i else "") + f"- 2*y{i}" + (f" + y{i + 1}" if i + 1 < n else "") for i in range(n)
    }


def _five_bodies() -> Problem:
    """The five outer planets around the sun."""
    mass = [
        1.00000597682,
        0.954786104043e-3,
        0.285583733151e-3,
        0.437273164546e-4,
        0.517759138449e-4,
        0.277777777778e-5,
    ]
    k2 = 2.95912208286
    position = [
        [3.42947415189, 3.35386959711, 1.35494901715],
        [6.64145542550, 5.97156957878, 2.18231499728],
        [11.2630437207, 14.6952576794, 6.27960525067],
        [-30.1552268759, 1.65699966404, 1.43785752721],
        [-21.1238353380, 28.4465098142, 15.3882659679],
    ]
    velocity = [
        [-0.557160570446, 0.505696783289, 0.230578543901],
        [-0.415570776342, 0.365682722812, 0.169143213293],
        [-0.325325669158, 0.189706021964, 0.0877265322780],
        [-0.0240476254170, -0.287659532608, -0.117219543175],
        [-0.176860753121, -0.216393453025, -0.0148647893090],
    ]
    bodies, axes = range(5), range(3)
    cubed = [f"(x{j}0**2 + x{j}1**2 + x{j}2**2)**1.5" for j in bodies]

    def pull(j: int, i: int) -> str:
        terms = [f"-{mass[0] + mass[j + 1]!r}*x{j}{i}/{cubed[j]}"]
        for k in bodies:
            if k != j:
                apart = f"({' + '.join(f'(x{k}{a} - x{j}{a})**2' for a in axes)})**1.5"
                terms.append(f"{mass[k + 1]!r}*((x{k}{i} - x{j}{i})/{apart} - x{k}{i}/{cubed[k]})")
        return f"{k2}*({' + '.join(terms)})"

    equations = {f"x{j}{i}": f"v{j}{i}" for j in bodies for i in axes}
    equations |= {f"v{j}{i}": pull(j, i) for j in bodies for i in axes}
    return make_problem("C5", equations, [*np.ravel(position), *np.ravel(velocity)])


def _orbits() -> list[Problem]:
    cubed = "(x**2 + y**2)**1.5"
    equations = {"x": "vx", "y": "vy", "vx": f"-x/{cubed}", "vy": f"-y/{cubed}"}
    return [
        make_problem(f"D{number}", equations, [1 - e, 0, 0, float(np.sqrt((1 + e) / (1 - e)))])
        for number, e in enumerate((0.1, 0.3, 0.5, 0.7, 0.9), start=1)
    ]


def _higher_order() -> list[Problem]:
    return [
        make_problem(
            "E1", {"x": "v", "v": "-(v/(t + 1) + (1 - 0.25/(t + 1)**2)*x)"}, [0.6713967071418030, 0.0954005144474746]
        ),
        make_problem("E2", {"x": "v", "v": "(1 - x**2)*v - x"}, [2, 0]),
        make_problem("E3", {"x": "v", "v": "x**3/6 - x + 2*sin(2.78535*t)"}, [0, 0]),
        make_problem("E4", {"x": "v", "v": "0.032 - 0.4*v**2"}, [30, 0]),
        make_problem("E5", {"x": "v", "v": "sqrt(1 + v**2)/(25 - t)"}, [0, 0]),
    ]


def stiff() -> list[Problem]:
    """Five classic stiff problems, their constants as parameters."""
    return [robertson(), _hires(), _oregonator(), _van_der_pol(), _e5()]


def robertson() -> Problem:
    """Three reactions whose rates lie nine decades apart."""
    return make_problem(
        "robertson",
        {"a": "-k1*a + k3*b*c", "b": "k1*a - k2*b**2 - k3*b*c", "c": "k2*b**2"},
        [1, 0, 0],
        parameters={"k1": 0.04, "k2": 3e7, "k3": 1e4},
        times=np.array([0.0, *np.logspace(-2, 5, 36)]),
        stiff=True,
        smallest=1e-5,
    )


def _hires() -> Problem:
    return make_problem(
        "HIRES",
        {
            "y1": "-k1*y1 + k2*y2 + k6*y3 + oks",
            "y2": "k1*y1 - (k2 + k3)*y2",
            "y3": "-(k6 + k1)*y3 + k2*y4 + k5*y5",
            "y4": "k3*y2 + k1*y3 - (k4 + k2)*y4",
            "y5": "-(k1 + k5)*y5 + k2*(y6 + y7)",
            "y6": "-kplus*y6*y8 + k4*y4 + k1*y5 - k2*y6 + kstar*y7",
            "y7": "kplus*y6*y8 - (k2 + kminus + kstar)*y7",
            "y8": "-kplus*y6*y8 + (k2 + kminus + kstar)*y7",
        },
        [1, 0, 0, 0, 0, 0, 0, 0.0057],
        parameters={
            "k1": 1.71, "k2": 0.43, "k3": 8.32, "k4": 0.69, "k5": 0.035, "k6": 8.32, "kplus": 280.0, "kminus": 0.69,
            "kstar": 0.69, "oks": 0.0007,
        },
        times=np.linspace(0.0, 321.8122, 33),
        stiff=True,
        smallest=1e-4,
    )  # fmt: skip


def _oregonator() -> Problem:
    return make_problem(
        "Oregonator",
        {"x": "s*(y + x*(1 - q*x - y))", "y": "(z - (1 + x)*y)/s", "z": "w*(x - z)"},
        [1, 2, 3],
        parameters={"s": 77.27, "q": 8.375e-6, "w": 0.161},
        times=np.linspace(0.0, 360.0, 37),
        stiff=True,
        smallest=1e-2,
    )


def _van_der_pol() -> Problem:
    return make_problem(
        "van der Pol",
        {"x": "v", "v": "mu*(1 - x**2)*v - x"},
        [2, 0],
        parameters={"mu": 1000.0},
        times=np.linspace(0.0, 2000.0, 11),
        stiff=True,
        smallest=1e-3,
    )


def _e5() -> Problem:
    return make_problem(
        "E5",
        {
            "y1": "-a*y1 - b*y1*y3",
            "y2": "a*y1 - m*c*y2*y3",
            "y3": "a*y1 - b*y1*y3 - m*c*y2*y3 + c*y4",
            "y4": "b*y1*y3 - c*y4",
        },
        [1.76e-3, 0, 0, 0],
        parameters={"a": 7.89e-10, "b": 1.1e7, "c": 1.13e3, "m": 1e6},
        times=np.array([0.0, *np.logspace(-2, 8, 21)]),
        stiff=True,
        smallest=1e-12,
    )
