"""The stages by their kind in a request."""

from __future__ import annotations

from odelib.problem.stages import (
    AdamStage,
    AnyStage,
    LbfgsbStage,
    LeastSquaresStage,
    MultipleShootingStage,
    MultiStartStage,
)
from odelib.stages.adam import Adam
from odelib.stages.base import Stage
from odelib.stages.lbfgsb import Lbfgsb
from odelib.stages.least_squares import LeastSquares
from odelib.stages.multi_start import MultiStart
from odelib.stages.multiple_shooting import MultipleShooting


def build_stage(settings: AnyStage, seed: int) -> Stage:
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
