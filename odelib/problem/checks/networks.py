"""Networks: their inputs are expressions of known names, not too many weights, and a start that fits the definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from odelib.problem.checks.expressions import check_expression
from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object
from odelib.problem.expressions.parser import Expression, Node, Number, Operation
from odelib.problem.limits import Limits
from odelib.problem.networks import NetworkDefinition
from odelib.problem.pointers import join

DEFAULT_HIDDEN, DEFAULT_ACTIVATION = (16, 16), "tanh"


def well_formed_networks(raw: Any) -> dict[str, NetworkDefinition]:
    """Return the networks of a definition that has not been validated, as far as their names can be read."""
    found = {}
    for name, fields in as_object(raw).items():
        try:
            found[name] = NetworkDefinition.model_validate(fields)
        except ValidationError:
            found[name] = _readable(fields)
    return found


def _readable(fields: Any) -> NetworkDefinition:
    """Return the names of a network that is not valid."""
    outputs = [output for output in as_list(as_object(fields).get("outputs")) if isinstance(output, str)]
    inputs = [text for text in as_list(as_object(fields).get("inputs")) if isinstance(text, str)]
    return NetworkDefinition.model_construct(inputs=inputs, outputs=outputs, hidden=[])


def check_networks(
    networks: Mapping[str, NetworkDefinition], known: Mapping[str, None], limits: Limits, report: MistakeReport
) -> dict[str, Expression]:
    """Check the networks of a system; pointers are relative to it.

    Returns for each output a stand-in that uses the same names: by it circles are found, and what is made of parameters
    and constants alone.
    """
    outputs = {}
    for name, network in networks.items():
        parsed = [
            check_expression(text, known, join("/networks", name, "inputs", i), limits, report)
            for i, text in enumerate(network.inputs)
        ]
        names = frozenset().union(*(expression.names for expression in parsed if expression))
        tree: Node = Number(0.0)
        for expression in parsed:
            if expression:
                tree = Operation("+", (tree, expression.tree))
        text = " + ".join(f"({text})" for text in network.inputs)
        outputs.update({output: Expression(f"{output} of {text}", tree, names) for output in network.outputs})
    count = sum(network.weight_count for network in networks.values())
    if count > limits.weights:
        detail = f"at most {limits.weights} weights are allowed, but there are {count}; use smaller hidden layers"
        report.add("/networks", detail)
    return outputs


def check_network_settings(raw: Mapping[str, Any], report: MistakeReport) -> None:
    """Check the request's `networks` against the definition's."""
    if not isinstance(raw.get("system"), str | Mapping):
        return  # which is a mistake of its own
    defined = as_object(as_object(raw.get("system")).get("networks"))
    for name, settings in as_object(raw.get("networks")).items():
        pointer = join("/networks", name)
        if name not in defined:
            known = f"; it has {', '.join(defined)}" if defined else ""
            report.add(pointer, f"the system has no network {name!r:.80}{known}")
        elif isinstance(start := as_object(settings).get("start"), Mapping):
            _check_start(start, as_object(defined[name]), join(pointer, "start"), report)


def _check_start(start: Mapping[str, Any], network: Mapping[str, Any], pointer: str, report: MistakeReport) -> None:
    """Check that a start has the inputs, outputs, activation and layers of its network."""
    for field, default in (("inputs", None), ("outputs", None), ("activation", DEFAULT_ACTIVATION)):
        if field in start and start[field] != network.get(field, default):
            report.add(join(pointer, field), f"must be that of the definition, {network.get(field, default)!r:.200}")
    hidden = network.get("hidden", list(DEFAULT_HIDDEN))
    inputs, outputs, layers = network.get("inputs"), network.get("outputs"), start.get("layers")
    if not all(isinstance(each, list) for each in (hidden, inputs, outputs, layers)):
        return
    widths = [len(as_list(inputs)), *as_list(hidden), len(as_list(outputs))]
    layers = as_list(layers)
    if len(layers) != len(widths) - 1:
        report.add(join(pointer, "layers"), f"must have {len(widths) - 1} layers, not {len(layers)}")
        return
    for i, (layer, before, after) in enumerate(zip(layers, widths, widths[1:], strict=False)):
        _check_layer(as_object(layer), before, after, join(pointer, "layers", i), report)
    _check_scaling(as_object(start.get("input_scaling")), widths[0], join(pointer, "input_scaling"), report)
    _check_scaling(as_object(start.get("output_scaling")), widths[-1], join(pointer, "output_scaling"), report)


def _check_scaling(scaling: Mapping[str, Any], count: int, pointer: str, report: MistakeReport) -> None:
    for part in ("offset", "scale"):
        values = scaling.get(part)
        if isinstance(values, list) and len(values) != count:
            report.add(join(pointer, part), f"must have {count} numbers, not {len(values)}")
    for i, value in enumerate(as_list(scaling.get("scale"))):
        if as_number(value) == 0:
            report.add(join(pointer, "scale", i), "must not be 0")


def _check_layer(layer: Mapping[str, Any], before: Any, after: Any, pointer: str, report: MistakeReport) -> None:
    weight, bias = layer.get("weight"), layer.get("bias")
    if isinstance(weight, list) and len(weight) != after:
        report.add(join(pointer, "weight"), f"must have {after} rows, one for each unit, not {len(weight)}")
    for i, row in enumerate(as_list(weight)):
        if isinstance(row, list) and len(row) != before:
            report.add(join(pointer, "weight", i), f"must have {before} numbers, not {len(row)}")
    if isinstance(bias, list) and len(bias) != after:
        report.add(join(pointer, "bias"), f"must have {after} numbers, not {len(bias)}")
