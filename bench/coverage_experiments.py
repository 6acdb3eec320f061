"""The experiments of `bench.coverage`: data sets of each, fitted from its guesses by the default stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from examples.experiments import EXPERIMENTS, simulated
from odelib.fitting import fit
from odelib.problem.request import parse_problem
from odelib.result import Estimate

Outcome = tuple[dict[str, bool], str]


@dataclass(frozen=True)
class Experiment:
    """One of the experiments and the kind of its intervals."""

    experiment: str
    uncertainty: str

    @property
    def name(self) -> str:
        """The name of both, after the word with which all experiments are asked for."""
        return f"experiment {self.experiment}, {self.uncertainty}"

    def outcome(self, seed: int) -> Outcome:
        """Of one data set, for each unknown, whether its interval contains the truth; and the outcome's code.

        An interval with an open end contains everything on that side, a missing one of a covariance nothing.
        """
        request, truth = simulated(self.experiment, seed)
        result = fit(parse_problem(request | {"uncertainty": self.uncertainty, "predictions": []}))
        own = {one["name"]: one.get("initial_state", {}) for one in request.get("experiments", [])}
        held: dict[str, bool] = {}
        for trajectory in result.trajectories:
            of_series = own.get(trajectory.name, {})
            for name, estimate in trajectory.initial_state.items():
                if name in of_series:
                    held[f"{name} of {trajectory.name}"] = self._holds(estimate, of_series[name])
                elif name in truth:
                    held[name] = self._holds(estimate, truth[name])
        held |= {name: self._holds(e, truth[name]) for name, e in result.parameters.items() if name in truth}
        return held, result.outcome.code

    def _holds(self, estimate: Estimate, truth: float) -> bool:
        low, high = estimate.lower_95, estimate.upper_95
        if self.uncertainty == "covariance" and (low is None or high is None):
            return False
        return (low is None or low <= truth) and (high is None or truth <= high)


def experiments() -> Iterator[Experiment]:
    """All experiments with intervals of the covariance, and those whose loss is no parabola with profiles too."""
    for name in EXPERIMENTS:
        yield Experiment(name, "covariance")
        if name in PROFILED:
            yield Experiment(name, "profile")


PROFILED = ("minimal-glucose-model",)
