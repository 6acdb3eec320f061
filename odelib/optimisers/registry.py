"""The optimisers by the stages of a request."""

from __future__ import annotations

from odelib.optimisers.adam import Adam
from odelib.optimisers.base import Optimiser
from odelib.optimisers.lbfgsb import Lbfgsb
from odelib.optimisers.least_squares import LeastSquares
from odelib.optimisers.multi_start import MultiStart
from odelib.optimisers.multiple_shooting.optimiser import MultipleShooting
from odelib.optimisers.training import Training
from odelib.problem.stages import (
    AdamStage,
    AnyStage,
    LbfgsbStage,
    LeastSquaresStage,
    MultipleShootingStage,
    MultiStartStage,
    TrainingStage,
)


def build_optimiser(settings: AnyStage, seed: int) -> Optimiser:
    """Return the optimiser of a stage. seed: the request's, for optimisers that draw random numbers."""
    optimiser: Optimiser
    match settings:
        case AdamStage():
            optimiser = Adam(settings)
        case LbfgsbStage():
            optimiser = Lbfgsb(settings)
        case LeastSquaresStage():
            optimiser = LeastSquares(settings)
        case MultipleShootingStage():
            optimiser = MultipleShooting(settings)
        case MultiStartStage():
            optimiser = MultiStart(settings, seed)
        case TrainingStage():
            optimiser = Training(settings)
    return optimiser
