"""What was done in every series and prediction: inputs, doses, changes and steady states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from odelib.problem.checks.changes import check_changes, check_constants
from odelib.problem.checks.doses import check_doses, count_doses
from odelib.problem.checks.expressions import ExpressionReader
from odelib.problem.checks.inputs import Inheritance, check_all_given, check_covers, check_inputs, count_knots
from odelib.problem.checks.occasions import Occasion, Reading, last_of, start_of
from odelib.problem.checks.raw import MAX_NAMES, MistakeReport, as_list, as_number, as_object
from odelib.problem.checks.series import located_series
from odelib.problem.checks.steady_state import asks_for_steady_state, check_periodic, check_rests, check_steady_state
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.expressions.definitions import in_order
from odelib.problem.limits import Limits
from odelib.problem.pointers import join
from odelib.problem.predictions import PROTOCOL_FIELDS
from odelib.problem.system import System


def check_protocols(
    raw: Mapping[str, Any],
    declared: DeclaredNames,
    system: System | None,
    reader: ExpressionReader,
    limits: Limits,
    report: MistakeReport,
) -> None:
    """Check what was done in all series and predictions. system: None if it is invalid."""
    reading = Reading(declared, reader, report)
    check_inputs(raw.get("inputs"), "/inputs", reading)
    check_constants(raw.get("constants"), "/constants", reading)
    series = located_series(raw)
    for base, fields in series:
        _Series(raw, base, fields, reading).check(system, reader)
    by_name = {str(fields.get("name", "data")): (base, fields) for base, fields in series}
    for i, entry in enumerate(as_list(raw.get("predictions"))):
        fields = as_object(entry)
        name = fields.get("experiment")
        chosen = series[0] if "experiment" not in fields and len(series) == 1 else by_name.get(str(name))
        _Prediction(raw, f"/predictions/{i}", fields, chosen, reading).check(system)
    _check_totals(raw, limits, report)


class _Series:
    """A series, with what the request gives all of them."""

    def __init__(self, raw: Mapping[str, Any], base: str, fields: Mapping[str, Any], reading: Reading) -> None:
        self._raw, self._base, self._fields, self._reading = raw, base, fields, reading
        self._occasion = Occasion(base, start_of(fields), last_of(fields), fields)

    def check(self, system: System | None, reader: ExpressionReader) -> None:
        base, fields, reading = self._base, self._fields, self._reading
        steady = fields.get("steady_state")
        check_inputs(fields.get("inputs"), join(base, "inputs"), reading)
        check_constants(fields.get("constants"), join(base, "constants"), reading)
        check_all_given([(join(base, "inputs"), fields.get("inputs")), ("", self._raw.get("inputs"))], reading)
        check_doses(fields.get("doses"), self._occasion, reading, has_steady_state=asks_for_steady_state(steady))
        check_changes(fields.get("changes"), self._occasion, reading)
        check_steady_state(steady, join(base, "steady_state"), reading)
        inputs = located_inputs(self._raw, fields, base)
        check_covers(self._occasion, inputs, fields.get("changes"), reading)
        if system:
            if asks_for_steady_state(steady):
                check_rests(steady, join(base, "steady_state"), _values(inputs), system, reading)
            _check_steady_doses(fields.get("doses"), base, inputs, system, reading)
            self._check_circle(system, reader)

    def _check_circle(self, system: System, reader: ExpressionReader) -> None:
        """Check that no constant is an expression of itself."""
        own, common = as_object(self._fields.get("constants")), as_object(self._raw.get("constants"))
        texts = {name: text for name, text in {**common, **own}.items() if isinstance(text, str)}
        expressions = {name: reader.expressions[text] for name, text in texts.items() if text in reader.expressions}
        if not expressions:
            return
        _, circle = in_order({**system.definitions, **expressions})
        if circle:
            name = next(each for each in sorted(circle, key=lambda each: each not in own) if each in expressions)
            first = circle.index(name)
            circle = [*circle[first:], *circle[:first]]
            way = " → ".join(each[:80] for each in (*circle[:MAX_NAMES], name))
            where = join(self._base, "constants", name) if name in own else join("/constants", name)
            self._reading.report.add(where, f"the constant uses itself: {way}")


class _Prediction:
    """A prediction and the series that it continues, None if that is not known."""

    def __init__(
        self,
        raw: Mapping[str, Any],
        base: str,
        fields: Mapping[str, Any],
        series: tuple[str, Mapping[str, Any]] | None,
        reading: Reading,
    ) -> None:
        self._raw, self._base, self._own, self._reading = raw, base, fields, reading
        self._series = series
        continued = series[1] if series else {}
        given = {name: fields[name] for name in PROTOCOL_FIELDS if name in fields}
        self._fields = {**continued, **given}
        self._begins = "initial_state" in fields
        times = as_list(fields.get("times"))
        first = as_number(times[0]) if times else None
        start = first if self._begins else start_of(continued)
        self._occasion = Occasion(base, start, last_of(fields), fields, skips_earlier=self._begins)

    def check(self, system: System | None) -> None:
        own, base, reading = self._own, self._base, self._reading
        steady = self._fields.get("steady_state")
        check_inputs(own.get("inputs"), join(base, "inputs"), reading)
        check_doses(own.get("doses"), self._occasion, reading, has_steady_state=asks_for_steady_state(steady))
        check_changes(own.get("changes"), self._occasion, reading)
        check_steady_state(own.get("steady_state"), join(base, "steady_state"), reading)
        if self._begins and asks_for_steady_state(own.get("steady_state")):
            reading.report.add(
                join(base, "steady_state"), "a prediction with 'initial_state' begins there, not at a steady state"
            )
        if "inputs" in own:
            check_all_given([(join(base, "inputs"), own["inputs"]), ("", self._raw.get("inputs"))], reading)
        if self._series is None:
            return
        inputs = {
            name: (pointer if pointer.startswith(f"{base}/") else join(base, "times"), value)
            for name, (pointer, value) in located_inputs(self._raw, self._fields, base, own).items()
        }
        inherits = Inheritance(join(base, "times"), start_of(self._series[1]), last_of(self._series[1]))
        check_covers(
            self._occasion, inputs, self._fields.get("changes"), reading, inherits, own_changes="changes" in own
        )
        if system and not self._begins:
            _check_steady_doses(own.get("doses"), base, inputs, system, reading)
        is_own = "steady_state" in own or "inputs" in own
        if system and is_own and not self._begins and asks_for_steady_state(steady):
            check_rests(steady, join(base, "steady_state"), _values(inputs), system, reading)


def located_inputs(
    raw: Mapping[str, Any], fields: Mapping[str, Any], base: str, own: Mapping[str, Any] | None = None
) -> dict[str, tuple[str, Any]]:
    """Return the value of each input with its pointer: the series', or else the request's.

    own: the fields that stand at `base`, if these are not `fields`.
    """
    is_own = own is None or "inputs" in own
    common = {name: (join("/inputs", name), value) for name, value in as_object(raw.get("inputs")).items()}
    given = as_object(fields.get("inputs"))
    return common | {name: (join(base, "inputs", name) if is_own else "", value) for name, value in given.items()}


def _check_steady_doses(
    doses: Any, base: str, inputs: Mapping[str, tuple[str, Any]], system: System, reading: Reading
) -> None:
    for i, dose in enumerate(as_list(doses)):
        if as_object(dose).get("steady") is True:
            check_periodic(join(base, "doses", i, "steady"), _values(inputs), system, reading)


def _values(inputs: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, (_, value) in inputs.items()}


def _check_totals(raw: Mapping[str, Any], limits: Limits, report: MistakeReport) -> None:
    """Check the numbers of knots, and of doses and changes, in all places together."""
    _check_total(raw, _knots, limits.knots, "knots of inputs", report)
    _check_total(raw, _doses, limits.doses, "doses and changes", report)


def _check_total(
    raw: Mapping[str, Any],
    count: Callable[[Mapping[str, Any]], dict[str, int]],
    limit: int,
    what: str,
    report: MistakeReport,
) -> None:
    total = 0
    for base, fields in _places(raw):
        for field, number in count(fields).items():
            total += number
            if total > limit:
                report.add(join(base, field), f"at most {limit} {what} are allowed in a request, and there are more")
                return


def _places(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", raw
    yield from located_series(raw)
    for i, entry in enumerate(as_list(raw.get("predictions"))):
        yield f"/predictions/{i}", as_object(entry)


def _knots(fields: Mapping[str, Any]) -> dict[str, int]:
    changed = sum(count_knots(as_object(change).get("inputs")) for change in as_list(fields.get("changes")))
    return {"inputs": count_knots(fields.get("inputs")), "changes": changed}


def _doses(fields: Mapping[str, Any]) -> dict[str, int]:
    return {"doses": count_doses(fields.get("doses")), "changes": len(as_list(fields.get("changes")))}
