"""How an attempt at a fit can end: end state, result and error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from odelib.errors import FitError, StopReason
from odelib.result import FitResult
from worker.states import Status


@dataclass(frozen=True)
class Ending:
    """The end of a fit: its end state, and result and error as JSON text ("" if there is none).

    stages: JSON text, seconds by kind of stage, for the metrics. For a chunk of a batch `result` has its rows,
    compressed, and `stages` how many of them have which status and outcome.
    """

    status: Status
    result: str | bytes = ""
    error: str = ""
    stages: str = ""


# An attempt that does not end the fit hands it back, or drops it because another attempt has taken over.
Unfinished = Literal["hand_back", "drop"]


def ending_of_result(result: FitResult) -> Ending:
    """Return the ending of a fit with a result, however good it is."""
    seconds: dict[str, float] = {}
    for stage in result.stages:
        seconds[stage.kind] = seconds.get(stage.kind, 0.0) + stage.seconds
    status: Status = "cancelled" if result.outcome.code == "cancelled" else "succeeded"
    return Ending(status, result.to_json(), stages=json.dumps(seconds))


def ending_of_error(error: FitError, partial: str) -> Ending:
    """Return the ending of a failed fit. partial: the result of its last checkpoint, "" if there is none."""
    return Ending("failed", partial, problem_json(error.code, error.title, error.detail))


def ending_of_stop(reason: StopReason, partial: str) -> Ending | Unfinished:
    """Return the ending of a stopped fit. partial: the result of its last checkpoint, "" if there is none."""
    if reason == "interrupted":
        return "hand_back"
    if reason == "lease_lost":
        return "drop"
    if reason == "cancelled":
        return Ending("cancelled", partial)
    return Ending("succeeded", partial) if partial else Ending("failed", error=_time_limit_before_first_point())


def died_too_often(max_deaths: int) -> str:
    """Return the error of a fit whose worker died again and again."""
    return problem_json(
        "worker_died",
        "The worker process died",
        f"the worker process died {max_deaths} times in a row without progress in between, most likely because it ran "
        "out of memory; fit fewer observations or a smaller system, or give the workers more memory",
    )


def no_gpu(wait_seconds: float) -> str:
    """Return the error of a fit that needs a GPU worker when there is none."""
    return problem_json(
        "no_gpu",
        "No GPU worker",
        f"solver.device is 'cuda', but no GPU worker has been available for {wait_seconds:g} seconds; "
        "set solver.device to 'cpu' or 'auto', or start a worker for the queue 'gpu'",
    )


def out_of_memory(megabytes: int) -> str:
    """Return the error of a fit that needs more memory than allowed."""
    return problem_json(
        "out_of_memory",
        "The fit exceeds its memory limit",
        f"the fit exceeds its limit of {megabytes} MB of memory; reduce the number of times, predictions, free "
        "unknowns or equations, or ask the operator to increase ODEFIT_FIT_MEMORY_MB",
    )


def internal_error(kind: str) -> str:
    """Return the error of a fit that an unexpected exception of this kind ended."""
    return problem_json(
        "internal",
        "Internal error",
        f"an unexpected error ({kind}) ended the fit; the worker's log has the details. The same request will probably "
        "fail again; another method, other tolerances or other stages may avoid the error",
    )


def problem_json(code: str, title: str, detail: str) -> str:
    """Return an error as JSON text, in the form of all errors of the service (RFC 9457)."""
    return json.dumps({"type": f"urn:odefit:error:{code}", "title": title, "detail": detail})


def _time_limit_before_first_point() -> str:
    return problem_json(
        "time_limit",
        "The time limit was reached before the first evaluation",
        "time_limit_seconds elapsed before the guess was evaluated; increase time_limit_seconds, shorten the series, "
        "loosen solver.rtol and solver.atol, or shorten the equations, which are compiled first",
    )
