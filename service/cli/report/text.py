"""A result as people read it: what came out, how sure it is, and what to know before trusting it.

Plain text in columns, the same whether it is read on a terminal or in a file; only a terminal adds colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from rich.console import Console
from rich.text import Text

from service.cli.report.estimates import HEADINGS, Json, Section, sections

CORRELATED = 0.9  # from here on a correlation is worth telling
MAX_CORRELATIONS = 20
INDENT = "  "


def print_report(console: Console, request: Json, result: Json) -> None:
    """Print a result beside the request it belongs to, both as JSON."""
    for line in _lines(request, result):
        # Never folded: a terminal wraps a long line by itself, and a file keeps it whole.
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
    """Names and values of the fit as a whole, in two columns."""
    solver, statistics = result["solver"], result["statistics"]
    stages = [f"{s['kind']} {s['steps']} steps ({s['stopped']['code'].replace('_', ' ')})" for s in result["stages"]]
    facts = {
        "loss": f"{result['loss']:.8g}" + _parts(result["loss_parts"]),
        "observations": str(result["observations"]),
        "stages": ", ".join(stages) or "none: nothing was free",
        "solver": f"{solver['engine']}/{solver['method']} on {solver['device']}",
        "AIC": _number(statistics.get("aic")),
        "BIC": _number(statistics.get("bic")),
        "R²": ", ".join(f"{name} {value:.6g}" for name, value in statistics["r_squared"].items()),
    }
    for name, value in facts.items():
        if value:
            yield Text.assemble((f"{name:<14}", "bold"), value)


def _parts(parts: Json) -> str:
    """The loss by origin, where there is more than one."""
    if not (parts["penalty"] or parts["prior"]):
        return ""
    return " = " + " + ".join(f"{name} {parts[name]:.8g}" for name in ("data", "penalty", "prior") if parts[name])


def _table(found: Sequence[Section]) -> Iterator[Text]:
    """The sections under each other in the same columns; columns in which nothing stands are left out."""
    rows = [row for section in found for row in section.rows]
    used = [i for i in range(len(HEADINGS)) if any(row[i] for row in rows)]
    widths = {i: max(len(HEADINGS[i]), *(len(row[i]) for row in rows)) for i in used}

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[i].ljust(widths[i]) if i in _LEFT else cells[i].rjust(widths[i]) for i in used]
        return INDENT.join(aligned).rstrip()

    yield Text(line(HEADINGS), "bold")
    for section in found:
        if section.title:
            yield Text(section.title, "bold")
        yield from (Text(line(row)) for row in section.rows)


_LEFT = {i for i, heading in enumerate(HEADINGS) if heading in ("name", "95 % interval", "bounds", "")}


def _correlations(result: Json) -> Iterator[Text]:
    """Pairs of estimates that the data can hardly tell apart, the strongest first."""
    if "covariance" not in result:
        return
    names, matrix = result["covariance"]["names"], result["covariance"]["matrix"]
    spread = [matrix[i][i] ** 0.5 for i in range(len(names))]
    pairs = [
        (matrix[i][j] / (spread[i] * spread[j]), names[i], names[j])
        for i, j in combinations(range(len(names)), 2)
        if spread[i] and spread[j]
    ]
    strong = sorted((p for p in pairs if abs(p[0]) > CORRELATED), key=lambda pair: -abs(pair[0]))
    if strong:
        yield Text(f"correlations above {CORRELATED}", "bold")
    for value, one, other in strong[:MAX_CORRELATIONS]:
        yield Text(f"{INDENT}{one}, {other}: {value:.3f}")
    if len(strong) > MAX_CORRELATIONS:
        yield Text(f"{INDENT}and {len(strong) - MAX_CORRELATIONS} more")


def _scores(result: Json) -> Iterator[Text]:
    """How well data were met that the fit has not seen."""
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
