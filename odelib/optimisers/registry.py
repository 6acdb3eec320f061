"""The stages by their kind in a request."""

from __future__ import annotations

from odelib.optimisers.adam import Adam
from odelib.optimisers.base import Stage
from odelib.optimisers.lbfgsb import Lbfgsb
from odelib.optimisers.least_squares import LeastSquares
from odelib.optimisers.multi_start import MultiStart
from odelib.optimisers.multiple_shooting.optimiser import MultipleShooting
from odelib.problem.stages import (
    AdamStage,
    AnyStage,
    LbfgsbStage,
    LeastSquaresStage,
    MultipleShootingStage,
    MultiStartStage,
)


def build_optimiser(settings: AnyStage, seed: int) -> Stage:
    """The optimiser for a request's stage; seed: of whatever is random in it."""
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
