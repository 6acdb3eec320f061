"""Checks of noise: an entry for each measured observable, each scale in one place, values that can be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from odelib.problem.checks.expressions import check_expression
from odelib.problem.checks.priors import check_prior
from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import LocatedSeries, located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.expressions.parser import Expression
from odelib.problem.limits import Limits
from odelib.problem.noise import DISTRIBUTIONS, ESTIMATE, NoiseSettings
from odelib.problem.pointers import join

MAX_LISTED = 100  # impossible values of one list that are reported one by one


SIGMA_SCOPE = (
    "sigma is a number, 'estimate', or an expression of states, parameters, constants, inputs, definitions, "
    "observables and t"
)


def check_noise(
    raw: Mapping[str, Any], declared: DeclaredNames | None, limits: Limits, report: MistakeReport
) -> Mapping[str, Expression]:
    """Check `noise` against the measurements, including those that predictions are scored with.

    Returns the parsed expressions of sigmas, by their text.
    """
    noise = raw.get("noise")
    if not isinstance(noise, Mapping):
        return {}
    _check_entries(raw, noise, declared, report)
    return _parse_sigmas(noise, declared, limits, report) if declared else {}


def _parse_sigmas(
    noise: Mapping[str, Any], declared: DeclaredNames, limits: Limits, report: MistakeReport
) -> dict[str, Expression]:
    known, expressions = declared.in_sigma, dict[str, Expression]()
    for name, entry in noise.items():
        kind, text = _kind(entry), as_object(entry).get("sigma")
        if kind is None or "sigma" not in kind.scales or not isinstance(text, str) or text == ESTIMATE:
            continue
        pointer = join("/noise", name, "sigma")
        if text in expressions:
            continue
        parsed = check_expression(text, known, pointer, limits, report, scope=SIGMA_SCOPE)
        if parsed and not parsed.names:
            report.add(pointer, f"{text!r:.80} is a number in quotes; give the number itself")
        elif parsed:
            expressions[text] = parsed
    return expressions


def _check_entries(
    raw: Mapping[str, Any], noise: Mapping[str, Any], declared: DeclaredNames | None, report: MistakeReport
) -> None:
    series = located_series(raw)
    if not all(isinstance(f.get("values"), Mapping) and isinstance(f.get("sigma", {}), Mapping) for _, f in series):
        return  # unknown which observables are measured
    observed = dict.fromkeys(
        name
        for _, fields in series
        for name in as_object(fields.get("values"))
        if not declared or name in declared.observables
    )
    for name in observed:
        if name not in noise:
            report.add(join("/noise", name), f"{name!r:.80} is measured, so it needs a noise distribution")
    if declared:
        report.add_unknown_names(noise, declared.observables, "/noise", "observable")
    for name, entry in noise.items():
        if name in observed:
            _check_scales(as_object(entry), name, series, report)
        elif declared and name in declared.observables:
            report.add(join("/noise", name), f"{name!r:.80} has no values, so it cannot have noise")
    _check_values(noise, series, report)
    _check_scored(raw, noise, observed, declared, report)


def _kind(entry: Any) -> type[NoiseSettings] | None:
    return DISTRIBUTIONS.get(str(as_object(entry).get("distribution")))


def _check_scored(
    raw: Mapping[str, Any],
    noise: Mapping[str, Any],
    observed: Mapping[str, None],
    declared: DeclaredNames | None,
    report: MistakeReport,
) -> None:
    """Check the values that predictions are scored with."""
    predictions = raw.get("predictions")
    entries = predictions if isinstance(predictions, list) else []
    scored = [(f"/predictions/{i}", as_object(entry)) for i, entry in enumerate(entries)]
    _check_values(noise, scored, report)
    for base, fields in scored:
        for name in as_object(fields.get("values")):
            if name not in observed and (declared is None or name in declared.observables):
                report.add(
                    join(base, "values", name),
                    f"{name!r:.80} is not measured in any series, so there is no noise to score it with",
                )


def _check_scales(entry: Mapping[str, Any], name: str, series: list[LocatedSeries], report: MistakeReport) -> None:
    pointer, kind = join("/noise", name), _kind(entry)
    if kind is None or not kind.scales:
        return
    if "sigma" in kind.scales:
        _check_sigma(entry, name, kind, series, report)
    estimated = [scale for scale in kind.scales if entry.get(scale) == ESTIMATE]
    if "prior" in entry and len(estimated) != 1:
        report.add(
            join(pointer, "prior"), f"a prior needs exactly one estimated scale, but {len(estimated)} are estimated"
        )
    check_prior(entry, pointer, None, report, likelihood=True)


def _check_sigma(
    entry: Mapping[str, Any],
    name: str,
    kind: type[NoiseSettings],
    series: list[LocatedSeries],
    report: MistakeReport,
) -> None:
    place = join("/noise", name, "sigma")
    with_sigma = [base for base, fields in series if name in as_object(fields.get("sigma"))]
    without = [base for base, fields in series if name in as_object(fields.get("values")) and base not in with_sigma]
    if "sigma" in entry and with_sigma:
        report.add(place, f"sigma is already given at {join(with_sigma[0], 'sigma', name)}")
    elif "proportional" in kind.scales and "proportional" in entry:
        return  # the noise may be purely proportional
    elif "sigma" not in entry and without:
        report.add(
            place, f"give a sigma, as a number, {ESTIMATE!r} or an expression: the data at {without[0]} have none"
        )
    elif "proportional" in kind.scales and as_number(entry.get("sigma")) == 0:
        report.add(place, "a sigma of 0 needs 'proportional' beside it; give a sigma greater than 0")


def _check_values(noise: Mapping[str, Any], series: list[LocatedSeries], report: MistakeReport) -> None:
    for base, fields in series:
        for name, column in as_object(fields.get("values")).items():
            kind = _kind(noise.get(name))
            if kind is not None and kind.value_rule and isinstance(column, list):
                distribution = noise[name]["distribution"]
                _check_column(column, kind, distribution, join(base, "values", name), report)


def _check_column(
    column: list[Any], kind: type[NoiseSettings], distribution: str, pointer: str, report: MistakeReport
) -> None:
    for count, (i, value) in enumerate(_impossible(column, kind)):
        if count == MAX_LISTED:
            report.add(pointer, f"more entries are impossible, starting with entry {i}")
            return
        report.add(join(pointer, i), f"{value!r} is impossible with {distribution} noise: {kind.value_rule}")


def _impossible(column: list[Any], kind: type[NoiseSettings]) -> Iterator[tuple[int, float]]:
    for i, entry in enumerate(column):
        value = as_number(entry)
        if value is not None and not kind.can_yield(value):
            yield i, value
