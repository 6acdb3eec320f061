"""The names in Redis: every key, and the fields of a fit that leave the store."""

from __future__ import annotations

from typing import Final

_PREFIX = "odefit:"

KEYS: Final = {
    # + id: hash, everything about one fit
    "FIT": _PREFIX + "fit:",
    # + queue: sorted set of the ids that nobody works on; score: the order in which they were accepted
    "READY": _PREFIX + "ready:",
    # sorted set of the ids that somebody works on; score: when the lease lapses
    "LEASES": _PREFIX + "leases",
    # sorted set of the ids that were asked to stop while under a lease; score: when
    "CANCELLING": _PREFIX + "cancelling",
    # sorted set of the ids that have ended; score: when they expire
    "EXPIRIES": _PREFIX + "expiries",
    # + status:system, either may be empty for "any": sorted set of ids in the order of acceptance
    "INDEX": _PREFIX + "index:",
    # counts the fits accepted
    "SEQUENCE": _PREFIX + "sequence",
    # + hash of an idempotency key: the id of its fit
    "IDEMPOTENCY": _PREFIX + "idempotency:",
    # sorted set of worker processes; score: when last seen
    "WORKERS": _PREFIX + "workers",
    # held by the worker whose turn it is to sweep
    "SWEEP_TURN": _PREFIX + "sweep-turn",
    # hash: since when sweeps have been watching for GPU workers without a gap, the last sweep, the last GPU worker
    "GPU_WATCH": _PREFIX + "gpu-watch",
    # + queue: hash, since when messages have been missing, and how many
    "MISSING": _PREFIX + "missing:",
    # pub/sub channel on which the ids of fits go out as they end
    "ENDED_CHANNEL": _PREFIX + "ended",
}

# What a script returns of a fit, in this order, after its id and before its result.
RECORD_FIELDS: Final = (
    "status",
    "system",
    "created_at",
    "labels",
    "attempts",
    "started_at",
    "finished_at",
    "expires_at",
    "progress",
    "error",
)
