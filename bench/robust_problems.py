"""The problems of `bench.robust`: systems, truths, windows and noise, from the literature's usual values.

The article's four problems have the article's time windows and noise. The noise of the others is 5 % of each
observable's standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

NOISE = 0.05


@dataclass(frozen=True)
class RobustProblem:
    """A system with the truth behind its data.

    system: a catalogue name or a definition. times: stop and number. sigma: of the noise on each observable, or None
    for 5 % of its spread. observed: the observables that are measured, all where it is empty. fixed: unknowns that are
    known. absolute: whether values are made positive, as in the article. data: a request whose data are used instead.
    doubts: the warnings that are right at the optimum, because of what the model or the measurements are.
    """

    name: str
    system: str | dict[str, Any]
    parameters: Mapping[str, float]
    initial_state: Mapping[str, float]
    stop: float
    count: int
    sigma: float | None = None
    observed: tuple[str, ...] = ()
    absolute: bool = False
    fixed: frozenset[str] = frozenset()
    data: Path | None = None
    doubts: frozenset[str] = frozenset()

    @property
    def times(self) -> list[float]:
        """Where it is measured."""
        return [float(t) for t in np.linspace(0.0, self.stop, self.count)]


def _system(equations: dict[str, str], parameters: str, **more: Any) -> dict[str, Any]:
    return {"states": list(equations), "parameters": parameters.split(), "equations": equations, **more}


LOTKA_VOLTERRA = RobustProblem(
    "Lotka–Volterra", "lotka-volterra", {"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
    {"prey": 1.0, "predator": 1.0}, stop=10.0, count=101, sigma=0.1, absolute=True,
)  # fmt: skip
STUART_LANDAU = RobustProblem(
    "Stuart–Landau", "stuart-landau", {"omega0": 6.28, "gamma": 0.1, "beta": 0.1, "K": 1.0},
    {"psi": 0.0, "R": 0.08}, stop=15.0, count=151, sigma=0.05, absolute=True,
)  # fmt: skip
LORENZ = RobustProblem(
    "Lorenz", "lorenz", {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3}, {"x": 1.0, "y": 0.0, "z": 0.0},
    stop=10.0, count=201, sigma=0.05,
)  # fmt: skip
# FitzHugh (1961) as in Ramsay et al. (2007): a = b = 0.2, c = 3
FITZHUGH_NAGUMO = RobustProblem(
    "FitzHugh–Nagumo", _system({"v": "c*(v - v**3/3 + w)", "w": "-(v - a + b*w)/c"}, "a b c"),
    {"a": 0.2, "b": 0.2, "c": 3.0}, {"v": -1.0, "w": 1.0}, stop=20.0, count=101,
)  # fmt: skip
# a boarding school's influenza (BMJ, 1978): 763 boys
SIR = RobustProblem(
    "SIR", _system({"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I"}, "beta gamma", constants={"N": 763.0}),
    {"beta": 1.66, "gamma": 0.45}, {"S": 762.0, "I": 1.0}, stop=14.0, count=57,
)  # fmt: skip
# Goodwin (1965), Hill coefficient 10 fixed as usual so that it oscillates
GOODWIN = RobustProblem(
    "Goodwin",
    _system(
        {"x": "a/(1 + z**h) - k1*x", "y": "b*x - k2*y", "z": "c*y - k3*z"}, "a b c k1 k2 k3", constants={"h": 10.0}
    ),
    {"a": 1.0, "b": 1.0, "c": 1.0, "k1": 0.1, "k2": 0.1, "k3": 0.1},
    {"x": 0.3, "y": 0.9, "z": 1.3}, stop=100.0, count=101,
)  # fmt: skip
BRUSSELATOR = RobustProblem(
    "Brusselator", _system({"x": "A + x**2*y - (B + 1)*x", "y": "B*x - x**2*y"}, "A B"),
    {"A": 1.0, "B": 3.0}, {"x": 1.0, "y": 1.0}, stop=20.0, count=101,
)  # fmt: skip
VAN_DER_POL = RobustProblem(
    "van der Pol", _system({"x": "y", "y": "mu*(1 - x**2)*y - x"}, "mu"), {"mu": 2.0},
    {"x": 2.0, "y": 0.0}, stop=20.0, count=101,
)  # fmt: skip
ROESSLER = RobustProblem(
    "Rössler", _system({"x": "-y - z", "y": "x + a*y", "z": "b + z*(x - c)"}, "a b c"),
    {"a": 0.2, "b": 0.2, "c": 5.7}, {"x": 1.0, "y": 1.0, "z": 0.0}, stop=20.0, count=201,
)  # fmt: skip
# the article's order parameter of 10,000 oscillators, against its optimum; the initial state is known
KURAMOTO = RobustProblem(
    "Kuramoto", "kuramoto", {"omega0": 6.37, "gamma": 0.0791, "beta": -0.0243, "K": 0.8459},
    {"psi": 1.8932754818419988, "R": 0.00508423345963155}, stop=20.0, count=401, fixed=frozenset({"psi", "R"}),
    data=Path(__file__).parents[1] / "examples" / "requests" / "kuramoto.json",
    # the data do not come from the reduced model, and beta is an angle: beta + 2π is the same
    doubts=frozenset({"structured_residuals", "another_optimum"}),
)  # fmt: skip
DRIVEN_PENDULUM = RobustProblem(
    "driven pendulum",
    _system({"theta": "omega", "omega": "-c*omega - k*sin(theta) + A*cos(w*t)"}, "c k A w"),
    {"c": 0.3, "k": 2.0, "A": 0.8, "w": 0.9}, {"theta": 0.5, "omega": 0.0}, stop=30.0, count=151, observed=("theta",),
)  # fmt: skip
STIFF_VAN_DER_POL = RobustProblem(
    "stiff van der Pol", _system({"x": "y", "y": "mu*(1 - x**2)*y - x"}, "mu"), {"mu": 100.0},
    {"x": 2.0, "y": 0.0}, stop=300.0, count=151, observed=("x",), fixed=frozenset({"y"}),
)  # fmt: skip
# what is absorbed from a dose of 100 into a volume of 15, from the lag time on
LAG = RobustProblem(
    "dose with lag",
    _system(
        {"c": "where(t < tlag, 0, D*ka/V*exp(-ka*(t - tlag))) - ke*c"}, "ka ke tlag", constants={"D": 100.0, "V": 15.0}
    ),
    {"ka": 1.4, "ke": 0.15, "tlag": 0.6}, {"c": 0.0}, stop=12.0, count=41, fixed=frozenset({"c"}),
)  # fmt: skip
# the last substance alone is measured, and is the same whichever of the rates comes first
CHAIN = RobustProblem(
    "chain, exchangeable rates",
    _system({"a": "-k1*a", "b": "k1*a - k2*b", "d": "k2*b"}, "k1 k2"),
    {"k1": 0.3, "k2": 1.5}, {"a": 1.0, "b": 0.0, "d": 0.0}, stop=15.0, count=61, observed=("d",),
    fixed=frozenset({"a", "b", "d"}), doubts=frozenset({"another_optimum"}),
)  # fmt: skip
# a country: the infectious are counted
LARGE_SIR = RobustProblem(
    "SIR, N = 1e9",
    _system({"S": "-beta*S*I/N", "I": "beta*S*I/N - gamma*I"}, "beta gamma", constants={"N": 1e9}),
    {"beta": 0.5, "gamma": 0.2}, {"S": 1e9, "I": 100.0}, stop=120.0, count=121, observed=("I",), fixed=frozenset({"S"}),
)  # fmt: skip
# in mol/L and seconds
ENZYME = RobustProblem(
    "enzyme in mol/L",
    _system(
        {
            "E": "-kon*E*S + (koff + kcat)*C",
            "S": "-kon*E*S + koff*C",
            "C": "kon*E*S - (koff + kcat)*C",
            "P": "kcat*C",
        },
        "koff kcat", constants={"kon": 1e7},
    ),
    {"koff": 300.0, "kcat": 100.0}, {"E": 1e-9, "S": 5e-5, "C": 0.0, "P": 0.0}, stop=1000.0, count=101,
    observed=("P",), fixed=frozenset("ESCP"),
)  # fmt: skip


def _only(problem: RobustProblem, observable: str) -> RobustProblem:
    return replace(problem, name=f"{problem.name}, {observable} alone", observed=(observable,))


FULLY_OBSERVED = (
    *(LOTKA_VOLTERRA, STUART_LANDAU, KURAMOTO, FITZHUGH_NAGUMO, SIR, GOODWIN, BRUSSELATOR, VAN_DER_POL, ROESSLER),
    LORENZ,
)
PARTLY_OBSERVED = (
    # how many predators there are has no unit where only the prey is measured
    replace(_only(LOTKA_VOLTERRA, "prey"), doubts=frozenset({"flat_direction"})),
    *(_only(LORENZ, "x"), _only(FITZHUGH_NAGUMO, "v"), _only(SIR, "I")),
)
OTHERS = (DRIVEN_PENDULUM, STIFF_VAN_DER_POL, LAG, CHAIN, LARGE_SIR, ENZYME)
PROBLEMS = (*FULLY_OBSERVED, *PARTLY_OBSERVED, *OTHERS)
