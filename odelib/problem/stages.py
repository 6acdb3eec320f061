"""The stages that a request may ask for. Each is an optimiser with its settings; `odelib.optimisers` runs them.

docs/how-to-add-an-optimiser.md shows how to add one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from odelib.problem.fields import Count, PositiveNumber, Request


class AdamStage(Request):
    """Adam. Its steps are in the caller's units, or in the logarithm of unknowns whose `scale` is `log`."""

    kind: Literal["adam"]
    steps: Annotated[Count, Field(description="Number of steps.")] = 3000
    learning_rate: Annotated[
        PositiveNumber, Field(description="Approximately the largest change of an unknown in one step.")
    ] = 0.001


class LbfgsbStage(Request):
    """L-BFGS-B, a quasi-Newton method with bounds. Each unknown is divided by its magnitude."""

    kind: Literal["lbfgsb"]
    steps: Annotated[Count, Field(description="Maximum number of steps.")] = 500
    initial_step_norm: Annotated[
        PositiveNumber, Field(description="Length of the first trial step, in units of the unknowns' magnitudes.")
    ] = 1e-4


class LeastSquaresStage(Request):
    """The Levenberg–Marquardt method, by Fisher scoring if `noise` is given."""

    kind: Literal["least_squares"]
    steps: Annotated[Count, Field(description="Maximum number of steps.")] = 200


class MultipleShootingStage(Request):
    """Multiple shooting: each series is divided into segments that start from the data, and the gaps are closed."""

    kind: Literal["multiple_shooting"]
    steps: Annotated[Count, Field(description="Maximum number of steps.")] = 100
    when: Annotated[
        Literal["always", "doubtful"],
        Field(
            description="`always`, from the best point so far; or `doubtful`: only if the best fit so far is doubtful, "
            "as in `multi_start`, and then from the guess, because the best point may be a local minimum."
        ),
    ] = "always"


class MultiStartStage(Request):
    """Multiple shooting and least squares from several starting points. The best result is kept."""

    kind: Literal["multi_start"]
    starts: Annotated[
        Count, Field(description="Number of starting points. The guess and the best point so far are among them.")
    ] = 20
    steps: Annotated[Count, Field(description="Maximum number of steps of each least-squares fit.")] = 200
    when: Annotated[
        Literal["always", "doubtful"],
        Field(
            description="`always`, or `doubtful`: only if the best fit so far has not converged, has a flat direction, "
            "an unknown at a bound or one that is improbable under its prior, describes an observable no better than a "
            "constant, or has residuals that are structured or far larger than the measurements scatter; and no "
            "further starts once the doubt is gone, five have reached the best loss, or they have done enough work."
        ),
    ] = "always"


class TrainingStage(Request):
    """Trains networks: segments of the data first, then the whole series, stopped early by the held-out data."""

    kind: Literal["training"]
    steps: Annotated[Count, Field(description="Maximum number of steps.")] = 500


AnyStage = AdamStage | LbfgsbStage | LeastSquaresStage | MultipleShootingStage | MultiStartStage | TrainingStage
Stage = TypeAliasType("Stage", Annotated[AnyStage, Field(discriminator="kind")])
