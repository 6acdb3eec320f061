"""The order parameter of many coupled oscillators in polar form, as in K. Hannay's article.

`psi` is the mean phase, `R` the coherence (0 incoherent, 1 in step), after Ott and Antonsen (2008).
"""

from odelib.problem.checks.system import build_system
from odelib.problem.system import Example, SystemDefinition

SYSTEM = build_system(
    SystemDefinition(
        states=["psi", "R"],
        parameters=["omega0", "gamma", "beta", "K"],
        equations={
            "psi": "omega0 + (K/2)*sin(beta)*(1 + R**2)",
            "R": "-gamma*R + (K/2)*cos(beta)*R*(1 - R**2)",
        },
    ),
    name="stuart-landau",
    title="Stuart–Landau: phase and amplitude near a Hopf bifurcation",
    example=Example(
        parameters={"omega0": 6.28, "gamma": 0.1, "beta": 0.1, "K": 1.0},
        initial_state={"psi": 0.0, "R": 0.08},
        times=tuple(i / 10 for i in range(151)),
    ),
    angles={"psi": "R"},
)
