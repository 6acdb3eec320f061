"""Forward sensitivities or the adjoint: which of the two gives a gradient in less time."""

from __future__ import annotations

FEWEST = 20  # unknowns; measured by `bench.neural borders`


def is_cheaper(unknowns: int) -> bool:
    """Whether the adjoint gives the gradient by so many unknowns in less time than forward sensitivities.

    Every unknown adds a column to the sensitivities and nothing to the adjoint, which takes some three solves.
    """
    return unknowns >= FEWEST
