"""Predator and prey, after Lotka (1925) and Volterra (1926)."""

from odelib.problem.checks.system import build_system
from odelib.problem.system import Example, SystemDefinition

SYSTEM = build_system(
    SystemDefinition(
        states=["prey", "predator"],
        parameters=["alpha", "beta", "gamma", "delta"],
        equations={
            "prey": "alpha*prey - beta*prey*predator",
            "predator": "gamma*prey*predator - delta*predator",
        },
    ),
    name="lotka-volterra",
    title="Lotka–Volterra: predator and prey",
    example=Example(
        parameters={"alpha": 1.5, "beta": 1.0, "gamma": 1.0, "delta": 3.0},
        initial_state={"prey": 1.0, "predator": 1.0},
        times=tuple(i / 10 for i in range(101)),
    ),
)
