"""The printed report of a result: outcome, facts of the fit, estimates, correlations, scores and warnings.

Plain text in columns, the same on a terminal and in a file; only a terminal shows colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from rich.console import Console
from rich.text import Text

from service.cli.report.estimates import HEADINGS, Json, Section, sections

MIN_CORRELATION = 0.9  # correlations above this absolute value are printed
MAX_CORRELATIONS = 20
INDENT = "  "


def print_report(console: Console, request: Json, result: Json) -> None:
    """Print a result and the request it belongs to, both as JSON."""
    for line in _lines(request, result):
        # Not wrapped: a terminal wraps long lines itself, and a file keeps them whole.
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _lines(request: Json, result: Json) -> Iterator[Text]:
    outcome = result["outcome"]
    yield Text.assemble(
        (outcome["code"].replace("_", " "), "bold green" if outcome["code"] == "converged" else "bold yellow"),
        f": {outcome['message']}",
    )
    yield Text()
    yield from _facts(result)
    yield Text()
    yield from _table(list(sections(request, result)))
    for lines in (_correlations(result), _scores(result), _warnings(result)):
        if found := list(lines):
            yield Text()
            yield from found


def _facts(result: Json) -> Iterator[Text]:
    """Yield the facts of the fit as a whole, in two columns."""
    solver, statistics = result["solver"], result["statistics"]
    stages = [f"{s['kind']} {s['steps']} steps ({s['stopped']['code'].replace('_', ' ')})" for s in result["stages"]]
    facts = {
        "loss": f"{result['loss']:.8g}" + _loss_parts(result["loss_parts"]),
        "observations": str(result["observations"]),
        "stages": ", ".join(stages) or "none: no free unknowns",
        "solver": f"{solver['engine']}/{solver['method']} on {solver['device']}",
        "AIC": _number(statistics.get("aic")),
        "BIC": _number(statistics.get("bic")),
        "R²": ", ".join(f"{name} {value:.6g}" for name, value in statistics["r_squared"].items()),
    }
    for name, value in facts.items():
        if value:
            yield Text.assemble((f"{name:<14}", "bold"), value)


def _loss_parts(parts: Json) -> str:
    """Return the parts of the loss if there is more than one."""
    if not (parts["penalty"] or parts["prior"]):
        return ""
    return " = " + " + ".join(f"{name} {parts[name]:.8g}" for name in ("data", "penalty", "prior") if parts[name])


def _table(table: Sequence[Section]) -> Iterator[Text]:
    """Yield the sections in common columns; empty columns are left out."""
    rows = [row for section in table for row in section.rows]
    used = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    widths = {i: max(len(HEADINGS[i]), *(len(row[i]) for row in rows)) for i in used}

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[i].ljust(widths[i]) if i in _LEFT else cells[i].rjust(widths[i]) for i in used]
        return INDENT.join(aligned).rstrip()

    yield Text(line(HEADINGS), "bold")
    for section in table:
        if section.title:
            yield Text(section.title, "bold")
        yield from (Text(line(row)) for row in section.rows)


_LEFT = {i for i, heading in enumerate(HEADINGS) if heading in ("name", "95 % interval", "bounds", "")}


def _correlations(result: Json) -> Iterator[Text]:
    """Yield pairs of estimates that the data hardly distinguish, the strongest correlation first."""
    if "covariance" not in result:
        return
    names, matrix = result["covariance"]["names"], result["covariance"]["matrix"]
    spread = [matrix[i][i] ** 0.5 for i in range(len(names))]
    pairs = [
        (matrix[i][j] / (spread[i] * spread[j]), names[i], names[j])
        for i, j in combinations(range(len(names)), 2)
        if spread[i] and spread[j]
    ]
    strong = sorted((p for p in pairs if abs(p[0]) > MIN_CORRELATION), key=lambda pair: -abs(pair[0]))
    if strong:
        yield Text(f"correlations above {MIN_CORRELATION}", "bold")
    for value, one, other in strong[:MAX_CORRELATIONS]:
        yield Text(f"{INDENT}{one}, {other}: {value:.3f}")
    if len(strong) > MAX_CORRELATIONS:
        yield Text(f"{INDENT}and {len(strong) - MAX_CORRELATIONS} more")


def _scores(result: Json) -> Iterator[Text]:
    """Yield how well the fit predicts data it has not seen."""
    for field, kind in (("predictions", "prediction"), ("hold_out", "held out")):
        for entry in result.get(field, []):
            if "loss" in entry:
                rmse = ", ".join(f"{name} {value:.6g}" for name, value in entry.get("rmse", {}).items())
                yield Text(f"{kind} {entry['name']!r}: loss {entry['loss']:.6g}; rmse {rmse}")


def _warnings(result: Json) -> Iterator[Text]:
    for warning in result["warnings"]:
        if warning["message"] != result["outcome"]["message"]:
            yield Text(f"! {warning['message']}", "yellow")
    for prediction in _failed(result):
        yield Text(f"    {prediction['name']}: {prediction['error']['detail']}", "yellow")


def _failed(result: Json) -> list[Mapping[str, Any]]:
    return [p for field in ("predictions", "hold_out") for p in result.get(field, []) if "error" in p]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
