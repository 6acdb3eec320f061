"""The networks of a result: their weights, which the fit has as parameters, and what they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from odelib.engines.torch_program import TorchProgram, variables_of
from odelib.problem.expressions.evaluation import value_at
from odelib.problem.expressions.parser import Expression, Name, parse_expression
from odelib.problem.resolved import ResolvedProblem
from odelib.problem.weights import ExpandedNetwork, Scaling
from odelib.result import (
    Dense,
    FitResult,
    PredictionResult,
    SampledNetwork,
    TrainedLayer,
    TrainedNetwork,
    TrainedScaling,
    Trajectory,
)

MAX_SAMPLES = 200


def with_networks(result: FitResult, problem: ResolvedProblem) -> FitResult:
    """Return the result with its networks, and without their weights among the parameters."""
    if not problem.networks:
        return result
    weights = {name for network in problem.networks for name in network.weights}
    values = {name: result.parameters[name].value for name in weights}
    return result.model_copy(
        update={
            "parameters": {name: value for name, value in result.parameters.items() if name not in weights},
            "predictions": _without(result.predictions, weights),
            "hold_out": _without(result.hold_out, weights),
            "networks": {
                network.name: _trained(network, values, _sampled(network, result, problem))
                for network in problem.networks
            },
        }
    )


def _without(predictions: list[PredictionResult] | None, weights: set[str]) -> list[PredictionResult] | None:
    """Return predictions without the weights among their parameters."""
    if predictions is None:
        return None
    return [
        each.model_copy(update={"parameters": {n: v for n, v in each.parameters.items() if n not in weights}})
        if each.parameters
        else each
        for each in predictions
    ]


def _trained(network: ExpandedNetwork, values: Mapping[str, float], sampled: SampledNetwork | None) -> TrainedNetwork:
    return TrainedNetwork(
        inputs=list(network.definition.inputs),
        outputs=list(network.definition.outputs),
        activation=network.definition.activation,
        layers=[
            TrainedLayer(weight=[[values[name] for name in row] for row in rows], bias=[values[name] for name in bias])
            for rows, bias in network.layers
        ],
        input_scaling=_scaling(network.input_scaling),
        output_scaling=_scaling(network.output_scaling),
        sampled=sampled,
    )


def _scaling(scaling: Scaling) -> TrainedScaling:
    return TrainedScaling(offset=list(scaling.offset), scale=list(scaling.scale))


def _sampled(network: ExpandedNetwork, result: FitResult, problem: ResolvedProblem) -> SampledNetwork:
    """Return inputs and outputs along the fitted trajectories, at up to `MAX_SAMPLES` points in all."""
    system = problem.solved_system
    inputs = [parse_expression(text) for text in network.definition.inputs]
    outputs = [Expression(name, Name(name), frozenset({name})) for name in network.definition.outputs]
    program = TorchProgram([*inputs, *outputs], [*variables_of(system.states), *system.inputs], system.definitions)
    per_series = max(2, MAX_SAMPLES // len(result.trajectories))
    columns: list[list[float]] = [[] for _ in (*inputs, *outputs)]
    for trajectory, constants in zip(result.trajectories, _constants(result, problem), strict=True):
        shown: Dense | Trajectory = trajectory.dense or trajectory
        rows = np.unique(np.linspace(0, len(shown.times) - 1, per_series).astype(int)).tolist()
        known = trajectory.dense.inputs or {} if trajectory.dense else {}
        series = [shown.times, *(shown.states[name] for name in system.states)]
        series += [known.get(name, [0.0] * len(shown.times)) for name in system.inputs]
        parameters = {**result.parameters, **(trajectory.parameters or {})}
        values = {name: parameters[name].value for name in problem.system.parameters}
        bound = program.bind({**values, **constants})
        found = bound(*(torch.tensor([column[row] for row in rows], dtype=torch.float64) for column in series))
        for column, value in zip(columns, found, strict=True):
            column.extend(value.expand(len(rows)).tolist())
    finite = [i for i, point in enumerate(zip(*columns, strict=True)) if np.isfinite(point).all()]
    points, given = columns[: len(inputs)], columns[len(inputs) :]
    return SampledNetwork(
        inputs=[[column[i] for column in points] for i in finite],
        outputs={
            name: [column[i] for i in finite] for name, column in zip(network.definition.outputs, given, strict=True)
        },
    )


def _constants(result: FitResult, problem: ResolvedProblem) -> Iterator[dict[str, float]]:
    """Yield the constants of each fitted series by name."""
    given = {series.name: constants for series, constants in zip(problem.series, problem.constants, strict=True)}
    for trajectory in result.trajectories:
        parameters = {**result.parameters, **(trajectory.parameters or {})}
        values = {name: estimate.value for name, estimate in parameters.items()} | dict(problem.system.constants)
        found = dict(problem.system.constants)
        for name, value in given[trajectory.name].items():
            found[name] = value_at(value, values) if isinstance(value, Expression) else value
        yield found
