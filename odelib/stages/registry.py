"""The stages by their kind in a request."""

from __future__ import annotations

from odelib.problem.stages import AdamStage, AnyStage, LbfgsbStage, LeastSquaresStage
from odelib.stages.adam import Adam
from odelib.stages.base import Stage
from odelib.stages.lbfgsb import Lbfgsb
from odelib.stages.least_squares import LeastSquares


def build_stage(settings: AnyStage) -> Stage:
    """The optimiser for a request's stage."""
    match settings:
        case AdamStage():
            return Adam(settings)
        case LbfgsbStage():
            return Lbfgsb(settings)
        case LeastSquaresStage():
            return LeastSquares(settings)
