"""Noise: an entry for all that is observed, a scale in one place, values that the distribution can yield."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from odelib.problem.checks.priors import check_prior
from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import LocatedSeries, located_series
from odelib.problem.checks.system import DeclaredNames
from odelib.problem.noise import ESTIMATE
from odelib.problem.pointers import join

SCALED = ("normal", "lognormal", "laplace", "student-t")
MAX_LISTED = 100  # impossible values of one list that are told one by one


def check_noise(raw: Mapping[str, Any], declared: DeclaredNames | None, report: MistakeReport) -> None:
    """All that is wrong with `noise` beside the measurements, predictions' among them."""
    noise = raw.get("noise")
    if not isinstance(noise, Mapping):
        return
    series = located_series(raw)
    if not all(isinstance(f.get("values"), Mapping) and isinstance(f.get("sigma", {}), Mapping) for _, f in series):
        return  # what is measured cannot be told
    observed = dict.fromkeys(
        name
        for _, fields in series
        for name in as_object(fields.get("values"))
        if not declared or name in declared.observables
    )
    for name in observed:
        if name not in noise:
            report.add(join("/noise", name), f"{name!r:.80} is measured; say how its measurements scatter")
    if declared:
        report.unknown_names(noise, declared.observables, "/noise", "observable")
    for name, entry in noise.items():
        if name in observed:
            _entry(as_object(entry), name, series, report)
        elif declared and name in declared.observables:
            report.add(join("/noise", name), f"{name!r:.80} has no values to which noise could belong")
    _check_values(noise, series, report)
    _check_scored(raw, noise, observed, declared, report)


def _check_scored(
    raw: Mapping[str, Any],
    noise: Mapping[str, Any],
    observed: Mapping[str, None],
    declared: DeclaredNames | None,
    report: MistakeReport,
) -> None:
    """The values with which predictions are scored."""
    predictions = raw.get("predictions")
    entries = predictions if isinstance(predictions, list) else []
    scored = [(f"/predictions/{i}", as_object(entry)) for i, entry in enumerate(entries)]
    _check_values(noise, scored, report)
    for base, fields in scored:
        for name in as_object(fields.get("values")):
            if name not in observed and (declared is None or name in declared.observables):
                report.add(join(base, "values", name), f"no noise is given for {name!r:.80}, which no series measures")


def _entry(entry: Mapping[str, Any], name: str, series: list[LocatedSeries], report: MistakeReport) -> None:
    pointer = join("/noise", name)
    if entry.get("distribution") not in SCALED:
        return
    with_sigma = [base for base, fields in series if name in as_object(fields.get("sigma"))]
    measured = [base for base, fields in series if name in as_object(fields.get("values"))]
    if "sigma" in entry and with_sigma:
        report.add(join(pointer, "sigma"), f"sigma is given at {join(with_sigma[0], 'sigma', name)} already")
    elif "sigma" not in entry and len(with_sigma) < len(measured):
        bare = next(base for base in measured if base not in with_sigma)
        report.add(
            join(pointer, "sigma"),
            f"give a sigma, a number or {ESTIMATE!r}; {bare} does not give one in its data",
        )
    estimated = [scale for scale in ("sigma", "proportional") if entry.get(scale) == ESTIMATE]
    if "prior" in entry and len(estimated) != 1:
        which = "both scales are" if estimated else "no scale is"
        report.add(join(pointer, "prior"), f"the prior is of the one scale that is estimated; here {which} estimated")
    check_prior(entry, pointer, None, report, likelihood=True)


def _check_values(noise: Mapping[str, Any], series: list[LocatedSeries], report: MistakeReport) -> None:
    for base, fields in series:
        for name, column in as_object(fields.get("values")).items():
            distribution = as_object(noise.get(name)).get("distribution")
            if isinstance(distribution, str) and distribution in _POSSIBLE and isinstance(column, list):
                _column(column, distribution, join(base, "values", name), report)


def _column(column: list[Any], distribution: str, pointer: str, report: MistakeReport) -> None:
    for told, (i, value) in enumerate(_impossible(column, distribution)):
        if told == MAX_LISTED:
            report.add(pointer, f"further entries are impossible, from entry {i} on")
            return
        report.add(join(pointer, i), f"{value!r} is impossible with {distribution} noise: {_POSSIBLE[distribution]}")


_POSSIBLE = {"lognormal": "values must be above 0", "poisson": "values must be whole and not below 0"}


def _impossible(column: list[Any], distribution: str) -> Iterator[tuple[int, float]]:
    for i, entry in enumerate(column):
        value = as_number(entry)
        if value is None:
            continue
        if value <= 0 if distribution == "lognormal" else value < 0 or not value.is_integer():
            yield i, value
