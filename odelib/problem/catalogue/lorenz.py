"""Convection in three variables, after Lorenz (1963); chaotic at the example's parameters."""

from odelib.problem.checks.system import build_system
from odelib.problem.system import Example, SystemDefinition

SYSTEM = build_system(
    SystemDefinition(
        states=["x", "y", "z"],
        parameters=["sigma", "rho", "beta"],
        equations={"x": "sigma*(y - x)", "y": "x*(rho - z) - y", "z": "x*y - beta*z"},
    ),
    name="lorenz",
    title="Lorenz: deterministic chaos",
    example=Example(
        parameters={"sigma": 10.0, "rho": 28.0, "beta": 8 / 3},
        initial_state={"x": 1.0, "y": 0.0, "z": 0.0},
        times=tuple(i / 20 for i in range(201)),
    ),
)
