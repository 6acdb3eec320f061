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
    match settings:
        case AdamStage():
            return Adam(settings)
        case LbfgsbStage():
            return Lbfgsb(settings)
        case LeastSquaresStage():
            return LeastSquares(settings)
        case MultipleShootingStage():
            return MultipleShooting(settings)
        case MultiStartStage():
            return MultiStart(settings, seed)
        case TrainingStage():
            return Training(settings)
