"""How an attempt at a fit can end, and what is saved then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from odelib.errors import FitError, StopReason
from odelib.result import FitResult
from worker.states import Status


@dataclass(frozen=True)
class Ending:
    """The fit has ended: its end state, with result and error as JSON text, "" for none."""

    status: Status
    result: str = ""
    error: str = ""


# Besides its end, an attempt can hand the fit back unfinished, or drop it because another attempt has it.
Unfinished = Literal["hand_back", "drop"]


def ending_of_result(result: FitResult) -> Ending:
    """A fit that came to a result; whether the result is good is the outcome's matter."""
    return Ending("cancelled" if result.outcome.code == "cancelled" else "succeeded", result.to_json())


def ending_of_error(error: FitError, partial: str) -> Ending:
    """A fit that cannot succeed; `partial` is the result from its last checkpoint, "" if there was none."""
    return Ending("failed", partial, problem_json(error.code, error.title, error.detail))


def ending_of_stop(reason: StopReason, partial: str) -> Ending | Unfinished:
    """A fit that was stopped; `partial` is the result from its last checkpoint, "" if there was none."""
    if reason == "interrupted":
        return "hand_back"
    if reason == "lease_lost":
        return "drop"
    if reason == "cancelled":
        return Ending("cancelled", partial)
    return Ending("succeeded", partial) if partial else Ending("failed", error=_time_limit_without_point())


def died_too_often(max_deaths: int) -> str:
    """The error of a fit that ended its worker again and again."""
    return problem_json(
        "worker_died",
        "The process that worked on the fit died",
        f"the process ended without a word {max_deaths} times in a row, without coming a step further in between; "
        "most often its memory ran out: fit fewer observations, or a smaller system, or give the workers more memory",
    )


def no_gpu(wait_seconds: float) -> str:
    """The error of a fit that needs a GPU where there is none."""
    return problem_json(
        "no_gpu",
        "There is no GPU worker",
        f"solver.device is 'cuda', and no worker with a GPU has been seen for {wait_seconds:g} seconds; "
        "set solver.device to 'cpu' or 'auto', or start a worker for the queue 'gpu'",
    )


def out_of_memory(megabytes: int) -> str:
    """The error of a fit that would need more memory than it may have."""
    return problem_json(
        "out_of_memory",
        "The fit needs more memory than it may have",
        f"a fit may take {megabytes} MB here, and this one needs more; give fewer times, fewer or shorter predictions, "
        "fewer free unknowns, or fewer and shorter equations, or have the service started with a higher "
        "ODEFIT_FIT_MEMORY_MB",
    )


def our_mistake(kind: str) -> str:
    """The error of a fit at which the software failed in a way that nobody foresaw."""
    return problem_json(
        "internal",
        "The service has made a mistake",
        f"an error that was not foreseen ({kind}) ended the fit; the worker's log says where. The same request will "
        "most likely fail again; another method, other tolerances or other stages may avoid it",
    )


def problem_json(code: str, title: str, detail: str) -> str:
    """An error as JSON text, in the form of all errors of the service (RFC 9457)."""
    return json.dumps({"type": f"urn:odefit:error:{code}", "title": title, "detail": detail})


def _time_limit_without_point() -> str:
    return problem_json(
        "time_limit",
        "The time limit was reached before the first point",
        "time_limit_seconds were over before the loss had been computed once; raise time_limit_seconds, or make the "
        "problem cheaper: a shorter series, looser solver.rtol and solver.atol, or fewer and shorter equations, which "
        "have to be compiled first",
    )
