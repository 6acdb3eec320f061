"""What happens at given times during the solves of a batch, as arrays.

A solve ends a step at each time, changes the state or what the equations see, and goes on. What it changes are

- true states: doses, and `set` and `add` of a change;
- held states: further states whose rate is 0, so that their sensitivities are carried like any state's. They hold what
  depends on parameters: the total rate of the infusions into a state, the coefficients of an input between two knots, a
  constant that has been changed;
- held numbers: further constants, after the system's own. They hold the same where it depends on no parameter.

`odelib.engines.schedules.extended_system` makes the system that has these states and constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from odelib.arrays import Integers, Reals
from odelib.errors import SolveError
from odelib.problem.protocol import Protocol

SWITCH = 0
"""A comparison with time changes: `target` is the number of its shift, −1 if it has none. See `discontinuities`."""
PIECE = 1
"""constants[target : target + 5] = pieces[row], a polynomial: see `Schedule.pieces`."""
HOLD = 2
"""constants[target] = value. `target` counts the extended system's constants, the system's own first."""
ASSIGN = 3
"""state[target] = value, a true or a held state."""
ADD = 4
"""state[target] += value."""
RESET = 5
"""The reset with number `target` of `ExtendedSystem.resets`: its `set`, then its `add`, all of the values before."""
PIECE_SIZE = 5


@dataclass(frozen=True, eq=False)
class Protocols:
    """What was done in the members of a batch.

    all: every protocol that solves with one engine may have: one extended system serves them all, and is compiled once.
    Keep and pass on the same tuple; engines know it by its identity. members: (B,), the place of each member's in
    `all`; one entry for a single trajectory.
    """

    all: tuple[Protocol, ...]
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Schedule:
    """What happens in each of B solves, in K entries, in order.

    At one instant the order of entries is the order in which they are applied: the end of infusions, RESET, ASSIGN, ADD
    (of the values before, as no RESET reads what another entry of the instant has changed), HOLD, PIECE and SWITCH, the
    beginning of infusions. Entries of one instant have exactly the same time, and those with the same row in
    `time_rows` follow one another as far as that order allows.

    times: (B, K), infinite where unused; none before the start. time_rows: (B, K), the row of dτ/dp in `jacobian`, −1
    where it is 0. kinds, targets: (B, K), see above. values: (B, K). rows: (B, K), for ASSIGN and ADD the row of
    dvalue/dp in `jacobian`, −1 where it is 0; for PIECE the row of `pieces`. jacobian: (R, p), by all parameters of the
    system. pieces: (P, 5): t₀ and c₀ … c₃ of c₀ + c₁·(t − t₀) + c₂·(t − t₀)² + c₃·(t − t₀)³.

    constants: (B, c), those of the extended system at the start. held: (B, h), the held states at the start, which
    follow the true ones; held_rows: (B, h), the rows of their derivatives in `jacobian`, or −1.

    failures: the members that cannot be solved, by index.
    """

    times: Reals
    time_rows: Integers
    kinds: Integers
    targets: Integers
    values: Reals
    rows: Integers
    jacobian: Reals
    pieces: Reals
    constants: Reals
    held: Reals
    held_rows: Integers
    failures: Mapping[int, SolveError] = field(default_factory=dict)
