"""Held-out data: some data are held out, and some are left to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odelib.problem.checks.raw import MistakeReport, as_list, as_number, as_object, listed
from odelib.problem.checks.series import located_series
from odelib.problem.hold_out import held_out_places
from odelib.problem.pointers import join


def check_hold_out(raw: Mapping[str, Any], report: MistakeReport) -> None:
    """Check `hold_out` against the series."""
    hold_out = raw.get("hold_out")
    if not isinstance(hold_out, Mapping):
        return
    if sum(name in hold_out for name in ("after", "experiments", "every")) != 1:
        report.add("/hold_out", "give exactly one of 'after', 'experiments' and 'every'")
    elif "every" in hold_out:
        _every(hold_out["every"], raw, report)
    elif "after" in hold_out:
        _after(hold_out["after"], raw, report)
    else:
        _experiments(hold_out["experiments"], raw, report)


def _after(after: Any, raw: Mapping[str, Any], report: MistakeReport) -> None:
    limit = as_number(after)
    if limit is None:
        return
    fitted = held_out = 0
    for _, fields in located_series(raw):
        times = [as_number(time) for time in as_list(fields.get("times"))]
        for column in as_object(fields.get("values")).values():
            if isinstance(column, list) and len(column) == len(times):
                measured = [time for time, value in zip(times, column, strict=True) if value is not None]
                held_out += sum(time is not None and time > limit for time in measured)
                fitted += sum(time is not None and time <= limit for time in measured)
    if held_out and not fitted:
        report.add("/hold_out/after", f"all measurements are later than {limit!r}, so none is left to fit")
    elif fitted and not held_out:
        report.add("/hold_out/after", f"no measurement is later than {limit!r}, so none is held out")


def _every(every: Any, raw: Mapping[str, Any], report: MistakeReport) -> None:
    counts = [len(as_list(fields.get("times"))) for _, fields in located_series(raw)]
    if counts and isinstance(every, int) and every >= 2 and not any(held_out_places(n, every) for n in counts):
        report.add("/hold_out/every", f"no series is long enough for every {every}-th of its times to be held out")


def _experiments(names: Any, raw: Mapping[str, Any], report: MistakeReport) -> None:
    if not isinstance(names, list):
        return
    known = [fields.get("name") for _, fields in located_series(raw)] if "experiments" in raw else []
    choices = listed(repr(name) for name in known if isinstance(name, str))
    for i, name in enumerate(names):
        if isinstance(name, str) and name not in known:
            detail = f"no experiment is named {name!r:.80}; known names: {choices:.400}"
            report.add(join("/hold_out/experiments", i), detail)
        elif name in names[:i]:
            report.add(join("/hold_out/experiments", i), f"{name!r:.80} is listed more than once")
    if known and all(name in names for name in known):
        report.add("/hold_out/experiments", "all experiments are held out, so none is left to fit")
