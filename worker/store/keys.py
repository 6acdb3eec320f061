"""The names in Redis: all keys, and the fields of a fit that scripts return."""

from __future__ import annotations

from typing import Final

_PREFIX = "odefit:"

KEYS: Final = {
    # + id: hash, everything about one fit
    "FIT": _PREFIX + "fit:",
    # + queue: sorted set of the ids of waiting fits; score: the order in which they start
    "READY": _PREFIX + "ready:",
    # sorted set of the ids of fits under a lease; score: when the lease lapses
    "LEASES": _PREFIX + "leases",
    # sorted set of the ids of fits under a lease that were asked to stop; score: when
    "CANCELLING": _PREFIX + "cancelling",
    # sorted set of the ids of ended fits; score: when they expire
    "EXPIRIES": _PREFIX + "expiries",
    # + status:system, where empty means any: sorted set of ids; score: the order of acceptance
    "INDEX": _PREFIX + "index:",
    # + id of a key + :status:system: as INDEX, of the fits that were submitted with the key
    "OWNER_INDEX": _PREFIX + "owner-index:",
    # hash: id of a key → what is known of it (JSON)
    "API_KEYS": _PREFIX + "api-keys",
    # hash: digest of a key → its id
    "API_KEY_DIGESTS": _PREFIX + "api-key-digests",
    # + id of a key + :minute: its submissions in that minute
    "RATE": _PREFIX + "rate:",
    # number of fits accepted so far
    "SEQUENCE": _PREFIX + "sequence",
    # + hash of an idempotency key: id of its fit
    "IDEMPOTENCY": _PREFIX + "idempotency:",
    # sorted set of worker processes; score: last heartbeat
    "WORKERS": _PREFIX + "workers",
    # hash: worker process → its resident memory and that of its children, in bytes
    "WORKER_MEMORY": _PREFIX + "worker-memory",
    # hash: of each queue and lane the place of the fit that started last, and of each key there its last place
    "TURNS": _PREFIX + "turns",
    # hash: kind of fits → how long they took, in seconds
    "COSTS": _PREFIX + "costs",
    # + queue: held for a moment by the fit that makes way for a small one
    "YIELD": _PREFIX + "yield:",
    # hash: how many fits ended how, and how long they took
    "COUNTERS": _PREFIX + "counters",
    # held by the worker whose turn it is to sweep
    "SWEEP_TURN": _PREFIX + "sweep-turn",
    # hash: start of the uninterrupted watch for GPU workers, last sweep, last heartbeat of a GPU worker
    "GPU_WATCH": _PREFIX + "gpu-watch",
    # + queue: hash: since when messages have been missing, and how many
    "MISSING": _PREFIX + "missing:",
    # sorted set of the ids of ended fits whose webhook is to be delivered; score: when
    "WEBHOOKS": _PREFIX + "webhooks",
    # + id: hash, a batch of series
    "BATCH": _PREFIX + "batch:",
    # + id of a batch: hash, chunk → its series, as compressed lines of JSON, until their rows are there
    "BATCH_SERIES": _PREFIX + "batch-series:",
    # + id of a batch: list, the place of the first series of each chunk, then the number of all series
    "BATCH_STARTS": _PREFIX + "batch-starts:",
    # + id of a batch: hash, chunk → the rows of its series, as compressed lines of JSON
    "BATCH_ROWS": _PREFIX + "batch-rows:",
    # + id of a batch: hash, chunk that ended before all rows were there → what happened to the other series (JSON)
    "BATCH_ENDS": _PREFIX + "batch-ends:",
    # + id of a batch: hash, status:… and outcome:… → number of series
    "BATCH_COUNTS": _PREFIX + "batch-counts:",
    # + id of a batch: set of the ids of its chunks that wait or run
    "BATCH_OPEN": _PREFIX + "batch-open:",
    # + id of a key, or empty for all: sorted set of the ids of batches; score: the order of acceptance
    "BATCH_INDEX": _PREFIX + "batch-index:",
    # sorted set of the ids of ended batches; score: when they expire
    "BATCH_EXPIRIES": _PREFIX + "batch-expiries",
    # list of the ids of waiting simulations
    "SIMULATIONS": _PREFIX + "simulations",
    # + id: hash, the task of a simulation (JSON) and its caller's channel, for as long as the caller waits
    "SIMULATION": _PREFIX + "simulation:",
    # + id: the answer to a simulation
    "SIMULATED": _PREFIX + "simulated:",
    # sorted set of the channels of the processes that wait for a simulation; score: since when
    "IDLE_SIMULATORS": _PREFIX + "idle-simulators",
    # + process: pub/sub channel of a process that simulates; it publishes the ids of simulations that wait for it
    "SIMULATOR_CHANNEL": _PREFIX + "simulator:",
    # + process: pub/sub channel of a process of the API; it publishes the ids of its simulations that were answered
    "SIMULATED_CHANNEL": _PREFIX + "simulated-for:",
    # pub/sub channel that publishes the ids of fits when their progress was saved
    "PROGRESS_CHANNEL": _PREFIX + "progress",
    # pub/sub channel that publishes the ids of fits when they end
    "ENDED_CHANNEL": _PREFIX + "ended",
}

# The fields of a fit that scripts return, in this order, between its id and its result.
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
    "owner",
)

# The fields of a batch that scripts return, in this order, between its id and its counts.
BATCH_FIELDS: Final = (
    "status",
    "system",
    "created_at",
    "labels",
    "series",
    "started_at",
    "finished_at",
    "expires_at",
    "owner",
)
