"""The settings of the workers and the store: environment variables that begin with `ODEFIT_`.

`docs/settings.md` lists them with those of the service.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]


class WorkerSettings(BaseSettings):
    """Settings of the workers and the store. An empty variable counts as unset."""

    model_config = SettingsConfigDict(env_prefix="ODEFIT_", env_ignore_empty=True, frozen=True)

    # `redis://[:PASSWORD@]HOST:PORT/DB`, `rediss://…` or `unix://[:PASSWORD@]/PATH?db=DB`; never shown, because of the
    # password.
    redis_url: Annotated[str, Field(repr=False)] = "redis://127.0.0.1:6379/0"

    max_queued_fits: Annotated[int, Field(ge=1)] = 10_000
    max_unfinished_batches: Annotated[int, Field(ge=1)] = 100
    results_kept_seconds: Seconds = 604_800.0

    # Fits that are expected to take longer are long: they wait behind small ones, but only for long_wait_seconds if no
    # long one has started meanwhile. A running fit makes way for a small one that waits, after slice_seconds.
    long_seconds: Seconds = 10.0
    long_wait_seconds: Seconds = 30.0
    slice_seconds: Seconds = 2.0

    # Simulations run in processes of their own, which a worker starts when some are waiting.
    max_queued_simulations: Annotated[int, Field(ge=1)] = 100
    simulation_seconds: Seconds = 10.0
    simulators: Annotated[int, Field(ge=0)] = 2
    simulator_idle_seconds: Seconds = 600.0

    # Whether webhooks may call addresses that are not public, such as those of a private network.
    webhook_private_addresses: bool = False

    # The worker of a running fit renews its lease with every pulse; a lease that lapses counts as a death.
    lease_seconds: Seconds = 15.0
    pulse_seconds: Seconds = 0.25
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 2.0
    max_deaths: Annotated[int, Field(ge=1)] = 3

    sweep_seconds: Seconds = 3.0
    gpu_wait_seconds: Seconds = 60.0

    # Time between asking a fit to stop and killing its process.
    cancel_grace_seconds: Seconds = 1.0
    stop_grace_seconds: Seconds = 4.0

    # Memory that a fit may use on top of what its process has; None: a share of the machine's (worker/memory.py).
    fit_memory_mb: Annotated[int, Field(ge=64)] | None = None

    # A worker that takes no message for so long while Redis responds ends itself, to be restarted.
    stuck_seconds: Seconds = 60.0

    @property
    def heartbeat_seconds(self) -> float:
        """Time for which a worker counts as live after its last heartbeat."""
        return 5 * self.sweep_seconds
