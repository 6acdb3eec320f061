"""The stages by their kind in a request."""

from __future__ import annotations

from odelib.problem.stages import AdamStage, LbfgsbStage
from odelib.stages.adam import Adam
from odelib.stages.base import Stage
from odelib.stages.lbfgsb import Lbfgsb


def build_stage(settings: AdamStage | LbfgsbStage) -> Stage:
    """The optimiser for a request's stage."""
    match settings:
        case AdamStage():
            return Adam(settings)
        case LbfgsbStage():
            return Lbfgsb(settings)
