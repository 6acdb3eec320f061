"""What is held out: some data, and never all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_number, as_object
from odelib.problem.checks.series import located_series
from odelib.problem.pointers import join


def check_hold_out(raw: Mapping[str, Any], report: MistakeReport) -> None:
    """All that is wrong with `hold_out`."""
    held = raw.get("hold_out")
    if not isinstance(held, Mapping):
        return
    if ("after" in held) == ("experiments" in held):
        report.add("/hold_out", "give exactly one of 'after' and 'experiments'")
    elif "after" in held:
        _after(held["after"], raw, report)
    else:
        _experiments(held["experiments"], raw, report)


def _after(after: Any, raw: Mapping[str, Any], report: MistakeReport) -> None:
    border = as_number(after)
    if border is None:
        return
    kept = held = 0
    for _, fields in located_series(raw):
        times = fields.get("times")
        numbers = [as_number(time) for time in times] if isinstance(times, list) else []
        for column in as_object(fields.get("values")).values():
            if isinstance(column, list) and len(column) == len(numbers):
                known = [time for time, value in zip(numbers, column, strict=True) if value is not None]
                held += sum(time is not None and time > border for time in known)
                kept += sum(time is not None and time <= border for time in known)
    if held and not kept:
        report.add("/hold_out/after", f"all values are later than {border!r}: nothing is left to fit")
    elif kept and not held:
        report.add("/hold_out/after", f"no value is later than {border!r}: nothing is held out")


def _experiments(names: Any, raw: Mapping[str, Any], report: MistakeReport) -> None:
    if not isinstance(names, list):
        return
    known = [fields.get("name") for _, fields in located_series(raw)] if "experiments" in raw else []
    for i, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            have = ", ".join(repr(entry) for entry in known[:12]) or "none"
            report.add(join("/hold_out/experiments", i), f"there is no experiment {name!r:.80}; there are {have:.400}")
        elif name in names[:i]:
            report.add(join("/hold_out/experiments", i), f"{name!r:.80} is named already")
    if known and all(name in names for name in known):
        report.add("/hold_out/experiments", "all experiments are held out: nothing is left to fit")
