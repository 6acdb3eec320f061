"""The metrics of the service, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.http.parameters import NO_PARAMETERS
from service.http.schemas import error_responses
from service.http.state import state_of
from worker.memory import resident_bytes
from worker.store.metrics import BUCKETS, Numbers

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = {"text/plain": {"schema": {"type": "string"}}}

router = APIRouter(tags=["health"], dependencies=NO_PARAMETERS)

# name of the metric → kind, help, and the prefix of its numbers, whose rest is the value of the label; or the number.
_GAUGES: Mapping[str, tuple[str, str, str]] = {
    "odefit_queued_fits": ("Fits that wait.", "queue", "queued:"),
    "odefit_oldest_queued_fit_seconds": ("Age of the fit that has waited longest.", "queue", "oldest:"),
    "odefit_stored_fits": ("Stored fits by status.", "status", "fits:"),
    "odefit_running_fits": ("Fits under a lease.", "", "running"),
    "odefit_queued_simulations": ("Simulations and plots that wait.", "", "simulations"),
    "odefit_pending_webhooks": ("Webhooks that are not delivered yet.", "", "webhooks"),
    "odefit_workers": ("Live worker processes.", "", "workers"),
    "odefit_worker_memory_bytes": ("Resident memory of all live workers and their children.", "", "worker_memory"),
}


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "The metrics", "content": _TEXT},
        **error_responses("unauthorized", "invalid_parameter", "store_unavailable"),
    },
)
async def get_metrics(request: Request) -> Response:
    """Return metrics of the queue, the fits, the workers, Redis and this process, in the text format of Prometheus."""
    state = state_of(request)
    numbers = await state.in_thread(state.metrics.read)
    lines = [*_gauges(numbers), *_counters(numbers.counters), *_durations(numbers.counters), *_redis(numbers.redis)]
    lines += _metric("odefit_api_memory_bytes", "gauge", "Resident memory of this API process.", {"": resident_bytes()})
    statuses = {f'status="{status}"': count for status, count in sorted(state.responses.items())}
    lines += _metric("odefit_http_responses_total", "counter", "Responses of this API process.", statuses)
    return Response("\n".join(lines) + "\n", media_type=_MEDIA_TYPE)


def _metric(name: str, kind: str, text: str, samples: Mapping[str, float]) -> list[str]:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    return lines + [
        f"{name}{{{labels}}} {value:.10g}" if labels else f"{name} {value:.10g}" for labels, value in samples.items()
    ]


def _gauges(numbers: Numbers) -> Iterator[str]:
    for name, (text, label, key) in _GAUGES.items():
        if label:
            found = {f'{label}="{k.removeprefix(key)}"': v for k, v in numbers.now.items() if k.startswith(key)}
        else:
            found = {"": numbers.now[key]}
        yield from _metric(name, "gauge", text, found)


def _counters(counters: Mapping[str, float]) -> Iterator[str]:
    ended: dict[str, float] = {}
    failed: dict[str, float] = {}
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for key, value in sorted(counters.items()):
        kind, *labels = key.split(":")
        if kind == "ended":
            ended[f'status="{labels[0]}",outcome="{labels[1]}"'] = value
        elif kind == "failed":
            failed[f'code="{labels[0]}"'] = value
        elif kind in ("stage_seconds", "stage_count"):
            (sums if kind == "stage_seconds" else counts)[f'stage="{labels[0]}",outcome="{labels[1]}"'] = value
    yield from _metric("odefit_ended_fits_total", "counter", "Ended fits by status and outcome.", ended)
    yield from _metric("odefit_failed_fits_total", "counter", "Failed fits by the code of their error.", failed)
    yield from _metric("odefit_stage_seconds_total", "counter", "Running time of stages, by outcome of the fit.", sums)
    yield from _metric("odefit_stages_total", "counter", "Stages that ran, by outcome of the fit.", counts)


def _durations(counters: Mapping[str, float]) -> Iterator[str]:
    for kind, text in (("run", "From the first start of a fit to its end."), ("wait", "From submission to the start.")):
        name = f"odefit_fit_{kind}_seconds"
        yield from (f"# HELP {name} {text}", f"# TYPE {name} histogram")
        for upper in BUCKETS:
            yield f'{name}_bucket{{le="{upper:g}"}} {counters.get(f"{kind}_le:{upper:g}", 0):.10g}'
        count = counters.get(f"{kind}_count", 0)
        yield from (
            f'{name}_bucket{{le="+Inf"}} {count:.10g}',
            f"{name}_sum {counters.get(f'{kind}_sum', 0):.10g}",
            f"{name}_count {count:.10g}",
        )


def _redis(info: Mapping[str, float]) -> Iterator[str]:
    yield from _metric("odefit_redis_memory_bytes", "gauge", "Memory of Redis.", {"": info["used_memory"]})
    yield from _metric("odefit_redis_memory_limit_bytes", "gauge", "Its limit; 0 for none.", {"": info["maxmemory"]})
    yield from _metric("odefit_redis_clients", "gauge", "Connections to Redis.", {"": info["connected_clients"]})
    yield from _metric("odefit_redis_uptime_seconds", "gauge", "Since its start.", {"": info["uptime_in_seconds"]})
    commands = {"": info["total_commands_processed"]}
    yield from _metric("odefit_redis_commands_total", "counter", "Commands that Redis has processed.", commands)
