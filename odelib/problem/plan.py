"""The plan of a request: which stages run, in which order. `odelib.optimisers.plan` runs it.

The default plan is here and not beside the optimisers because it is a default of the request: the request with all
defaults filled in is what `GET /fits/{id}/problem` returns, and it can be made without loading any numerics.
"""

from __future__ import annotations

from odelib.problem.stages import (
    AdamStage,
    AnyStage,
    LbfgsbStage,
    LeastSquaresStage,
    MultipleShootingStage,
    MultiStartStage,
    TrainingStage,
)

FIRST_STEPS = 50  # of least squares from the guess; a fit that needs more of them is better begun by multiple shooting
DOUBTFUL_STARTS, DOUBTFUL_STEPS = 100, 50  # at most, of the several starts that run only if the result is doubtful


def default_plan(starts: int | None, *, has_networks: bool = False) -> list[AnyStage]:
    """Return the stages of a request that names none: the cheap ones first, those of the article last.

    Networks are trained: every other stage would follow the noise to the end.

    Least squares from the guess costs a small part of multiple shooting, which has the initial states of all segments
    among its variables, and so needs the derivatives by all states. It runs only where the first result is doubtful.

    starts: how many the request asks for; if None, several starts are run only if the first result is doubtful.
    """
    if has_networks:
        return [TrainingStage(kind="training")]
    several = (
        MultiStartStage(kind="multi_start", starts=starts)
        if starts
        else MultiStartStage(kind="multi_start", starts=DOUBTFUL_STARTS, steps=DOUBTFUL_STEPS, when="doubtful")
    )
    return [
        LeastSquaresStage(kind="least_squares", steps=FIRST_STEPS),
        MultipleShootingStage(kind="multiple_shooting", when="doubtful"),
        LeastSquaresStage(kind="least_squares"),
        several,
        AdamStage(kind="adam"),
        LbfgsbStage(kind="lbfgsb"),
    ]


def with_starts(stages: list[AnyStage], starts: int) -> list[AnyStage]:
    """Return the stages after a `multi_start` with this many starts, unless there is one among them."""
    if any(stage.kind == "multi_start" for stage in stages):
        return stages
    return [MultiStartStage(kind="multi_start", starts=starts), *stages]
