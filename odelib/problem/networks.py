"""Networks: trainable multilayer perceptrons whose outputs stand in expressions by name.

A network is y = offset + scale·N((x − offset)/scale), with N a chain of layers W·h + b, each but the last followed by
the activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from odelib.problem.fields import Count, Key, NonNegativeNumber, Numbers, Omittable, PositiveNumber, Request, Text

Activation = Literal["tanh", "softplus", "relu"]


class NetworkDefinition(Request):
    """A network of a system."""

    inputs: Annotated[
        list[Text],
        Field(
            min_length=1,
            description="Expressions of states, parameters, constants, inputs, time, definitions and outputs of other "
            "networks.",
        ),
    ]
    outputs: Annotated[
        list[Text], Field(min_length=1, description="Names of the outputs, which other expressions can use.")
    ]
    hidden: Annotated[
        list[Count], Field(description="How many units each hidden layer has; none for a linear network.")
    ] = [16, 16]
    activation: Annotated[Activation, Field(description="Function of the hidden units.")] = "tanh"

    @property
    def widths(self) -> list[int]:
        """The numbers of inputs, of units of each hidden layer, and of outputs."""
        return [len(self.inputs), *self.hidden, len(self.outputs)]

    @property
    def weight_count(self) -> int:
        """The number of weights, with the biases."""
        return sum((before + 1) * after for before, after in zip(self.widths, self.widths[1:], strict=False))


class NetworkLayer(Request):
    """A layer: W·h + b."""

    weight: Annotated[list[Numbers], Field(description="W, a row for each unit of this layer.")]
    bias: Annotated[Numbers, Field(description="b, a number for each unit of this layer.")]


class NetworkScaling(Request):
    """How inputs or outputs are scaled: value = offset + scale·(what the layers see)."""

    offset: Numbers
    scale: Annotated[Numbers, Field(description="Numbers other than 0.")]


class NetworkSamples(Request):
    """What a network gives in the region that the data visited."""

    inputs: Annotated[list[Numbers], Field(description="A list for each point, in the order of the network's inputs.")]
    outputs: Annotated[dict[Key, Numbers], Field(description="For each output its value at each point.")]


class NetworkStart(Request):
    """A trained network, as `result.networks` has it: all that is needed to compute it elsewhere."""

    inputs: Annotated[list[Text], Field(description="As in the definition.")]
    outputs: Annotated[list[Text], Field(description="As in the definition.")]
    activation: Activation
    layers: Annotated[list[NetworkLayer], Field(min_length=1, description="From the inputs to the outputs.")]
    input_scaling: Annotated[NetworkScaling, Field(description="(x − offset)/scale goes in, a number for each input.")]
    output_scaling: Annotated[NetworkScaling, Field(description="offset + scale·y comes out, for each output.")]
    sampled: Annotated[Omittable[NetworkSamples], Field(description="Not used as a start.")] = None


class NetworkSettings(Request):
    """How a network is trained."""

    l2: Annotated[
        NonNegativeNumber, Field(description="Adds l2·Σw² over the weights and biases to the loss: weight decay.")
    ] = 0.0
    learning_rate: Annotated[PositiveNumber, Field(description="Step size of the weights in the stage `adam`.")] = 0.01
    start: Annotated[
        Omittable[NetworkStart], Field(description="Where the training starts: a network of an earlier result.")
    ] = None


@dataclass(frozen=True)
class Perceptron:
    """A network whose weights are parameters of its system, and whose units are definitions.

    inputs, units, outputs: the names of the definitions that are its scaled inputs, its hidden units and its outputs,
    which are offset + scale·(last layer). widths: the numbers of inputs, of units of each hidden layer, and of outputs.
    weights: the names of the parameters, for each layer those of W by row, then of b.
    """

    inputs: tuple[str, ...]
    units: tuple[str, ...]
    outputs: tuple[str, ...]
    widths: tuple[int, ...]
    activation: Activation
    weights: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """The numbers of inputs and of units of each layer."""
        return tuple(pairwise(self.widths))
