"""How large a problem may be. The service takes these limits from its settings; the library uses the defaults."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from odelib.problem.expressions import parser


@dataclass(frozen=True)
class Limits:
    """Upper bounds on the parts of a problem. A problem that exceeds one is refused before anything is built."""

    observations: int = 200_000
    states: int = 1_000
    unknowns: int = 2_000  # besides the weights of networks
    weights: int = 50_000
    expression_characters: int = parser.MAX_CHARACTERS
    expression_levels: int = parser.MAX_LEVELS
    definition_characters: int = 500_000  # in all expressions together; parsing takes about 2 µs for each
    stages: int = 20
    experiments: int = 1_000
    starts: int = 1_000
    knots: int = 200_000  # of all inputs together
    doses: int = 10_000  # single doses and changes together
    predicted_values: int = 500_000
    predictions: int = 10_000
    names: int = 5_000  # parameters, constants and observables, each
    labels: int = 100
    fields: int = 200_000  # in all objects together


UNLIMITED = Limits(**dict.fromkeys(Limits.__dataclass_fields__, sys.maxsize))
"""For requests that have been checked before."""
