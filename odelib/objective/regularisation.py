"""What is added to the loss of the data: the penalty, and −log of the priors of the unknowns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odelib.arrays import Reals
from odelib.likelihood.absolute_terms import AbsoluteTerms
from odelib.likelihood.priors import Priors, prior_density
from odelib.objective.unknowns import Unknowns
from odelib.problem.penalty import Penalty
from odelib.problem.resolved import ResolvedProblem


@dataclass(frozen=True)
class RegularisationTerms:
    """The terms at a point, and the gradient of their sum by the coordinates, (count,)."""

    penalty: float
    prior: float
    gradient: Reals


class Regularisation:
    """The penalty l1·Σ|x − x₀| + l2·Σ(x − x₀)², the decay of weights, and the priors, in the caller's units.

    Fixed unknowns contribute constants.
    """

    def __init__(self, problem: ResolvedProblem, unknowns: Unknowns) -> None:
        self._unknowns = unknowns
        self._set_penalty(problem.request.penalty)
        self._set_priors()
        self._has_terms = problem.request.penalty is not None or any(e.prior for e in unknowns.entries.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing is added to the loss."""
        return not self._has_terms and not np.any(self._unknowns.weight_decay)

    def _set_penalty(self, penalty: Penalty | None) -> None:
        unknowns = self._unknowns
        names = _penalised(penalty, unknowns) if penalty else []
        free = [name for name in names if not unknowns.is_fixed(name)]
        fixed = np.array([unknowns.entries[name].start for name in names if unknowns.is_fixed(name)])
        self._penalised = [unknowns.names.index(name) for name in free]
        self._centre = np.zeros(len(free))  # x₀
        self._l1, self._l2 = (penalty.l1, penalty.l2) if penalty else (0.0, 0.0)
        self._constant_penalty = 0.0
        if penalty and penalty.toward == "guess":
            self._centre = unknowns.guess[self._penalised]
        elif penalty:
            self._constant_penalty = float(self._l1 * np.abs(fixed).sum() + self._l2 * np.square(fixed).sum())

    def _set_priors(self) -> None:
        unknowns = self._unknowns
        priors = {
            name: prior_density(entry.prior, entry.lower, entry.upper)
            for name, entry in unknowns.entries.items()
            if entry.prior
        }
        fixed = [name for name in priors if unknowns.is_fixed(name)]
        free = [name for name in priors if not unknowns.is_fixed(name)]
        self._with_prior = [unknowns.names.index(name) for name in free]
        self._priors = Priors([priors[name] for name in free])
        values = np.array([unknowns.entries[name].start for name in fixed])
        self._constant_prior = Priors([priors[name] for name in fixed]).loss(values)

    def evaluate(self, coordinates: Reals) -> RegularisationTerms:
        """Penalty and −log prior at a point."""
        values = self._values(coordinates)
        deviation = values[self._penalised] - self._centre
        gradient = np.zeros(len(values))
        penalty = self._constant_penalty
        if len(self._penalised):
            penalty += float(self._l1 * np.abs(deviation).sum() + self._l2 * np.square(deviation).sum())
            gradient[self._penalised] += self._l1 * np.sign(deviation) + 2 * self._l2 * deviation
        decay = self._unknowns.weight_decay
        penalty += float(decay @ np.square(values))
        gradient += 2 * decay * values
        with_prior = values[self._with_prior]
        gradient[self._with_prior] += self._priors.gradient(with_prior)
        prior = self._constant_prior + self._priors.loss(with_prior)
        return RegularisationTerms(penalty, prior, gradient / self._unknowns.coordinate_derivative(coordinates))

    def contradicts_a_prior(self, coordinates: Reals) -> bool:
        """Whether an unknown is far out under its prior."""
        return self._priors.is_far_out(self._values(coordinates)[self._with_prior])

    def information(self, coordinates: Reals) -> Reals:
        """The information that the terms add about each coordinate, (count,): the diagonal of a matrix."""
        values = self._values(coordinates)
        found = 2 * self._unknowns.weight_decay
        found[self._penalised] += 2 * self._l2
        found[self._with_prior] += self._priors.information(values[self._with_prior])
        derivative = self._unknowns.coordinate_derivative(coordinates)
        return np.asarray(found / derivative / derivative)  # its square may overflow

    def absolute_terms(self, coordinates: Reals) -> AbsoluteTerms:
        """The terms weight·|x − location| of single unknowns: the l1 penalty, and priors with kinks."""
        values = self._values(coordinates)
        terms = [
            (index, offset, weight)
            for index, density in zip(self._with_prior, self._priors.densities, strict=True)
            for offset, weight in density.absolute_terms(float(values[index]))
        ]
        if self._l1 > 0:
            places = zip(self._penalised, self._centre.tolist(), strict=True)
            terms += [(index, float(values[index]) - x, self._l1) for index, x in places]
        derivative = self._unknowns.coordinate_derivative(coordinates)
        jacobian = np.zeros((len(terms), len(values)))
        for row, (index, _, _) in enumerate(terms):
            jacobian[row, index] = 1 / derivative[index]
        offsets = np.array([offset for _, offset, _ in terms])
        return AbsoluteTerms(jacobian, offsets, np.array([weight for _, _, weight in terms]))

    def _values(self, coordinates: Reals) -> Reals:
        return np.array(list(self._unknowns.free_values(coordinates).values()), dtype=np.float64)


def _penalised(penalty: Penalty, unknowns: Unknowns) -> list[str]:
    """The unknowns that the penalty is over: those that it names, or all free parameters."""
    names = unknowns.system.parameters if penalty.names is None else penalty.names
    found = dict.fromkeys(
        unknowns.qualified_name(index, name) for name in names for index in range(unknowns.series_count)
    )
    known = [name for name in found if name in unknowns.entries]
    return known if penalty.names is not None else [name for name in known if not unknowns.is_fixed(name)]
