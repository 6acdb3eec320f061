"""Measure a gradient with many doses or knots beside the same steps without: python -m bench.schedules.

The time of a gradient divided by its steps, rejected ones included, is what a step costs. The ratio compares a step
under a schedule with one of the same system left alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from odelib.engines.base import DifferentiateBy, SolverOptions, SolveSettings, never
from odelib.engines.compiled.engine import CompiledEngine
from odelib.engines.schedules.schedule import Protocols
from odelib.problem.expressions.parser import parse_expression
from odelib.problem.protocol import Dose, Knots, Protocol
from odelib.problem.system import System

ROUNDS, RTOL = 7, 1e-6


@dataclass(frozen=True)
class Scheduled:
    """A system solved from 0 to `end`, and what is done to it."""

    name: str
    equations: Mapping[str, str]
    values: Mapping[str, float]
    end: float
    done: Protocol
    inputs: tuple[str, ...] = ()

    def cost(self, done: Protocol) -> tuple[float, int]:
        """Seconds of a gradient, the median of rounds, and its steps."""
        states, names = tuple(self.equations), tuple(self.values)
        system = System(
            name=self.name, states=states, parameters=names, constants={}, inputs=self.inputs,
            equations={state: parse_expression(text) for state, text in self.equations.items()},
            observables={state: parse_expression(state) for state in states},
        )  # fmt: skip
        engine = CompiledEngine(system)
        times = torch.linspace(0, self.end, 50, dtype=torch.float64)
        by = DifferentiateBy(tuple(range(len(states))), tuple(range(len(names))))
        settings = SolveSettings(
            times, torch.zeros(0, dtype=torch.float64), SolverOptions("dopri5", RTOL, 1e-3 * RTOL, 1_000_000), never,
            by, protocols=Protocols((done,), (0,)),
        )  # fmt: skip
        start, values, seconds = np.ones(len(states)), np.array(list(self.values.values())), []
        for _ in range(1 + ROUNDS):
            began = time.process_time()
            engine.sensitivities(start, values, settings)
            seconds.append(time.process_time() - began)
        return statistics.median(seconds[1:]), engine.most_steps


def doses(count: int, lag: str | None) -> tuple[Dose, ...]:
    """Repeated oral doses."""
    given = None if lag is None else parse_expression(lag)
    one = parse_expression("1")
    return (Dose("gut", one, (parse_expression("0.5"),), every=parse_expression("12"), count=count, lag=given),)


def weather(count: int) -> Knots:
    """Hourly values of a temperature."""
    hours = np.arange(count, dtype=float)
    noise = np.random.default_rng(0).normal(0, 1, count)
    return Knots(tuple(hours), tuple((10 + 5 * np.sin(hours * 2 * np.pi / 24) + noise).tolist()), "linear", "hold")


ORAL = {"gut": "-ka*gut", "central": "ka*gut - k*central", "peripheral": "0.1*central - 0.05*peripheral"}
ORAL_VALUES = {"ka": 1.1, "k": 0.2, "lag": 0.3}
ROOM = {"inside": "(wall - inside)/r1 + q", "wall": "(inside - wall)/r2 + (outside - wall)/r3"}
ROOM_VALUES = {"r1": 2.0, "r2": 5.0, "r3": 8.0, "q": 0.1}


def problems() -> Sequence[tuple[Scheduled, Protocol]]:
    """Each with what is done to it when it is left alone."""
    return [
        (Scheduled("100 doses", ORAL, ORAL_VALUES, 1200.0, Protocol(doses=doses(100, None))), Protocol()),
        (Scheduled("100 doses with a lag", ORAL, ORAL_VALUES, 1200.0, Protocol(doses=doses(100, "lag"))), Protocol()),
        (
            Scheduled("10,000 knots", ROOM, ROOM_VALUES, 9999.0, Protocol({"outside": weather(10_000)}), ("outside",)),
            Protocol({"outside": parse_expression("10 + 5*sin(t*0.26)")}),
        ),
    ]


def main() -> None:
    """Print a line for each problem."""
    print(f"{'':24}{'ms':>9}{'steps':>8}{'µs a step':>11}{'alone':>9}{'ratio':>7}")
    for problem, alone in problems():
        seconds, steps = problem.cost(problem.done)
        seconds_alone, steps_alone = problem.cost(alone)
        each, each_alone = seconds / steps, seconds_alone / steps_alone
        print(
            f"{problem.name:24}{1e3 * seconds:9.2f}{steps:8}{1e6 * each:11.2f}{1e6 * each_alone:9.2f}"
            f"{each / each_alone:7.2f}"
        )


if __name__ == "__main__":
    main()
