"""The order parameter of N Kuramoto oscillators, reduced to two equations.

The ansatz has an order n: R^(2n) with n = 1 after Ott and Antonsen (2008), n = 2 after Hannay, Forger and
Booth (2018). The constant `order` is n. `odelib.simulation.kuramoto_network` simulates the full model.
"""

from odelib.problem.checks.system import build_system
from odelib.problem.system import Example, SystemDefinition

SYSTEM = build_system(
    SystemDefinition(
        states=["psi", "R"],
        parameters=["omega0", "gamma", "beta", "K"],
        constants={"order": 2.0},
        equations={
            "psi": "omega0 + (K/2)*sin(beta)*(1 + R**(2*order))",
            "R": "-gamma*R + (K/2)*cos(beta)*R*(1 - R**(2*order))",
        },
        observables={"re": "R*cos(psi)", "im": "R*sin(psi)"},
    ),
    name="kuramoto",
    title="Kuramoto: the order parameter of coupled oscillators",
    example=Example(
        parameters={"omega0": 6.283185307179586, "gamma": 0.1, "beta": 0.1, "K": 0.8},
        initial_state={"psi": 0.0, "R": 0.1},
        times=tuple(i / 20 for i in range(401)),
    ),
    angles={"psi": "R"},
)
