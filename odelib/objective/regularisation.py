"""What is added to the loss of the data: the penalty, and the priors of the unknowns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.priors import Priors
from odelib.objective.unknowns import Unknowns
from odelib.problem.penalty import Penalty
from odelib.problem.resolved import ResolvedProblem


@dataclass(frozen=True)
class RegularisationTerms:
    """Penalty and −log prior at a point, and their joint derivative by the coordinates."""

    penalty: float
    prior: float
    gradient: Reals


class Regularisation:
    """Penalty and priors of a problem, over all unknowns; what fixed ones contribute is constant."""

    def __init__(self, problem: ResolvedProblem, unknowns: Unknowns) -> None:
        self._unknowns = unknowns
        penalty = problem.request.penalty
        self._l1, self._l2 = (penalty.l1, penalty.l2) if penalty else (0.0, 0.0)
        self._places: list[int] = []
        self._centre = np.zeros(0)
        constant = 0.0
        if penalty:
            named = _penalised(penalty, unknowns)
            to_guess = penalty.toward == "guess"
            free = [name for name in named if not unknowns.is_fixed(name)]
            self._places = [unknowns.names.index(name) for name in free]
            self._centre = unknowns.guess[self._places] if to_guess else np.zeros(len(free))
            fixed = [0.0 if to_guess else unknowns.entries[n].start for n in named if unknowns.is_fixed(n)]
            constant = sum(self._l1 * abs(x) + self._l2 * x * x for x in fixed)
        self._constant_penalty = constant
        with_prior = [(name, entry.prior) for name, entry in unknowns.entries.items() if entry.prior]
        free_priors = [(name, prior) for name, prior in with_prior if not unknowns.is_fixed(name)]
        self._prior_places = [unknowns.names.index(name) for name, _ in free_priors]
        self._priors = Priors([prior for _, prior in free_priors])
        fixed_priors = [(unknowns.entries[n].start, prior) for n, prior in with_prior if unknowns.is_fixed(n)]
        self._constant_prior = Priors([prior for _, prior in fixed_priors]).loss(np.array([x for x, _ in fixed_priors]))

    def evaluate(self, coordinates: Reals) -> RegularisationTerms:
        """What is added at a point."""
        values = self._values(coordinates)
        distance = values[self._places] - self._centre
        slope = np.zeros(len(values))
        penalty = self._constant_penalty
        if len(self._places):
            penalty += float(self._l1 * np.abs(distance).sum() + self._l2 * np.square(distance).sum())
            slope[self._places] += self._l1 * np.sign(distance) + 2 * self._l2 * distance
        at_priors = values[self._prior_places]
        slope[self._prior_places] += self._priors.gradient(at_priors)
        prior = self._constant_prior + self._priors.loss(at_priors)
        return RegularisationTerms(penalty, prior, slope / self._unknowns.coordinate_derivative(coordinates))

    def contradicts_a_prior(self, coordinates: Reals) -> bool:
        """Whether an unknown is where its prior hardly expected it."""
        return self._priors.is_far_out(self._values(coordinates)[self._prior_places])

    def information(self, coordinates: Reals) -> Reals:
        """What is added to the information of each coordinate: (count,), the diagonal of a matrix."""
        values = self._values(coordinates)
        found = np.zeros(len(values))
        found[self._places] += 2 * self._l2
        found[self._prior_places] += self._priors.information(values[self._prior_places])
        unit = self._unknowns.coordinate_derivative(coordinates)
        return np.asarray(found / unit / unit)  # the square may overflow

    def absolute_terms(self, coordinates: Reals) -> AbsoluteTerms:
        """The parts of the loss that are heights·|distance of one unknown|: the l1 penalty and priors with kinks."""
        values = self._values(coordinates)
        kinks = [
            (place, kink.location, kink.weight)
            for place, density in zip(self._prior_places, self._priors.densities, strict=True)
            for kink in density.kinks
        ]
        if self._l1 > 0:
            kinks += [(place, x, self._l1) for place, x in zip(self._places, self._centre.tolist(), strict=True)]
        slopes = np.zeros((len(kinks), len(values)))
        for row, (place, _, _) in enumerate(kinks):
            slopes[row, place] = 1 / self._unknowns.coordinate_derivative(coordinates)[place]
        return AbsoluteTerms(
            slopes, np.array([values[place] - x for place, x, _ in kinks]), np.array([height for _, _, height in kinks])
        )

    def _values(self, coordinates: Reals) -> Reals:
        return np.array(list(self._unknowns.free_values(coordinates).values()), dtype=np.float64)


def _penalised(penalty: Penalty, unknowns: Unknowns) -> list[str]:
    """The unknowns that the penalty is over, by their names there."""
    names = penalty.names
    chosen = unknowns.system.parameters if names is None else names
    found = dict.fromkeys(
        unknowns.qualified_name(index, name) for name in chosen for index in range(unknowns.series_count)
    )
    known = [name for name in found if name in unknowns.entries]
    return [name for name in known if not unknowns.is_fixed(name)] if names is None else known
