"""Data that are left out of the fit and then used to score it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from odelib.problem.fields import Count, Label, Number, Omittable, Request

EVERY = 5
MIN_TIMES = 10  # of all series together; with fewer, nothing is held out
MIN_EXPERIMENTS = 10


class HoldOut(Request):
    """Data left out of the fit and used to score it. Give exactly one of the fields."""

    after: Annotated[Omittable[Number], Field(description="Holds out all measurements later than this time.")] = None
    experiments: Annotated[
        Omittable[list[Label]],
        Field(
            min_length=1,
            description="Holds out the experiments with these names. The unknowns that belong only to them keep their "
            "guesses.",
        ),
    ] = None
    every: Annotated[
        Omittable[Count],
        Field(ge=2, description="Holds out every so many-th time of each series, but never its first or last one."),
    ] = None

    def describe(self) -> str:
        """Return which data are held out, for a message."""
        if self.after is not None:
            return f"all measurements after {self.after:g}"
        if self.experiments is not None:
            return f"the experiments {', '.join(self.experiments):.400}"
        return f"one of {self.every} times of each series"


def held_out_places(count: int, every: int) -> list[int]:
    """Return which of so many times are held out, in order: in the middle of each group of `every`.

    >>> held_out_places(12, 5)
    [2, 7]
    """
    return [place for place in range(every // 2, count - 1, every) if place > 0]


def default_hold_out(fields: Mapping[str, Any]) -> HoldOut | None:
    """Return what is held out where a request does not say so: something if it trains networks, else None.

    fields: those of a request that are valid so far. Whole experiments are held out if there are many and nothing but
    the networks and shared parameters is fitted; otherwise scattered times, which take the least from any series.
    """
    is_trained = any(stage.kind == "training" for stage in fields.get("stages") or [])
    if not is_trained or not getattr(fields.get("system"), "networks", None):
        return None
    experiments: Sequence[Any] = fields.get("experiments") or []
    if len(experiments) >= MIN_EXPERIMENTS and not _has_own_unknowns(fields, experiments):
        names = [experiments[place].name for place in held_out_places(len(experiments), EVERY)]
        return HoldOut(experiments=names)
    series = [fields["data"]] if fields.get("data") else experiments
    if sum(len(each.times) for each in series) < MIN_TIMES:
        return None
    return HoldOut(every=EVERY)


def _has_own_unknowns(fields: Mapping[str, Any], experiments: Sequence[Any]) -> bool:
    entries = [*(fields.get("initial_state") or {}).values()]
    entries += [entry for each in experiments for entry in each.initial_state.values()]
    is_free = [not isinstance(entry, str) and not getattr(entry, "is_fixed", False) for entry in entries]
    return bool(fields.get("per_experiment")) or any(is_free)
