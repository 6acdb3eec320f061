"""All problems, in the order of the table."""

from __future__ import annotations

from examples.problems.growth import gompertz, logistic
from examples.problems.kinetics import hiv, michaelis_menten, product_inhibition, radioactive_chain, robertson
from examples.problems.measured import measured
from examples.problems.oscillators import fitzhugh_nagumo, goodwin, lorenz, pendulum, repressilator
from examples.problems.problem import Problem
from examples.problems.treated import treated


def problems() -> list[Problem]:
    """Return the problems with measured data, then those with simulated data, experiments last.

    They are the same at every call.
    """
    growth = [logistic(), gompertz()]
    kinetics = [michaelis_menten(), product_inhibition(), radioactive_chain(), hiv(), robertson()]
    oscillators = [fitzhugh_nagumo(), goodwin(), repressilator(), pendulum(), lorenz()]
    return [*measured(), *growth, *kinetics, *oscillators, *treated()]
