"""The Celery app: the only file that knows Celery.

    celery -A worker.celery_app worker -Q cpu -c 2

A message only means "there is work": it is acknowledged on receipt and may be lost, doubled or late. The child that
receives it claims the fit that has waited longest in the store. Celery's results, redelivery, prefetching and remote
control are off.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import structlog
from celery import Celery, bootsteps, signals
from celery.worker import state
from kombu.exceptions import KombuError
from pydantic_core import to_json
from redis.exceptions import RedisError

from worker.errors import StoreUnavailable, WorkerError
from worker.loading import loading
from worker.log import configure_logging
from worker.on_demand import ONE_THREAD, OnDemandProcesses, simulators
from worker.settings import WorkerSettings
from worker.shared_flags import SharedFlags
from worker.states import QUEUES, Queue
from worker.store.connection import connect
from worker.store.simulations import SimulationStore
from worker.store.upkeep import UpkeepStore
from worker.store.webhooks import WebhookStore
from worker.sweep import Sweep
from worker.watchdogs import EXIT_STATUS, ConsumptionWatchdog, LoopWatchdog

if TYPE_CHECKING:
    from worker.tasks import FitRunner

TASK = "run_next_fit"
# For `celery worker`: workers need not communicate.
WORKER_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat")

_TICK_SECONDS = 0.25
_WATCH_SECONDS = 5.0

log = structlog.get_logger(__name__)
settings = WorkerSettings()
flags = SharedFlags()
_processes = 1  # children of this worker; set when it starts, before it forks them


def create_app(settings: WorkerSettings, *, current: bool = False) -> Celery:
    """Return a Celery app whose broker is the Redis of the store. It connects on first use."""
    app = Celery("odefit", broker=broker_url(settings.redis_url), set_as_current=current)
    app.conf.update(
        task_default_queue="cpu",
        task_ignore_result=True,
        task_publish_retry=False,
        task_acks_late=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=4,
        broker_transport_options={
            "ack_emulation": False,  # no redelivery: the store knows which fits wait
            "priority_steps": [0],
            "socket_connect_timeout": 3,
            "socket_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=300,  # a child first loads the numerics, and on a new machine compiles the solvers
        worker_max_memory_per_child=3_000_000,  # kB; the machine code of compiled definitions is never released
        worker_lost_wait=1.0,  # seconds until a killed child is replaced
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return app


def broker_url(redis_url: str) -> str:
    """Return the URL of the same Redis in the form that kombu takes."""
    parts = urlsplit(redis_url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        # redis-py checks certificates unless it is told not to; kombu only if it is told to.
        query = "&".join(filter(None, (parts.query, "ssl_cert_reqs=required")))
        return urlunsplit(parts._replace(query=query))
    if parts.scheme != "unix":
        return redis_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.netloc}{parts.path}?virtual_host={database}"


def broker_list(queue: Queue) -> str:
    """Return the Redis list that holds the messages of a queue."""
    return queue


class Messenger:
    """Builds and sends the messages that wake a worker."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._app = create_app(settings)
        self._envelopes = {queue: _envelope(self._app, queue) for queue in QUEUES}

    def broker_list(self, queue: Queue) -> str:
        """Return the Redis list that holds the messages of a queue."""
        return broker_list(queue)

    def message(self, queue: Queue, fit_id: str) -> bytes:
        """Return a wake-up in the form in which `broker_list(queue)` holds it.

        The store pushes it in the script that accepts the fit; sending it through Celery would cost another round trip
        and another write to disk.
        """
        envelope = self._envelopes[queue]
        task_id = str(uuid.uuid4())
        body = b64encode(to_json([[queue, fit_id], {}, {}])).decode()
        headers = envelope["headers"] | {"id": task_id, "root_id": task_id}
        properties = envelope["properties"] | {"correlation_id": task_id, "delivery_tag": task_id}
        return to_json(envelope | {"body": body, "headers": headers, "properties": properties})

    def wake(self, queue: Queue, fit_id: str) -> None:
        """Send a wake-up through Celery. Raises `StoreUnavailable`."""
        try:
            self._app.send_task(TASK, args=[queue, fit_id], queue=queue)
        except (KombuError, RedisError, OSError) as error:
            raise StoreUnavailable(f"the wake-up was not sent ({type(error).__name__})") from error


def _envelope(app: Celery, queue: Queue) -> dict[str, Any]:
    """Return a message as Celery itself publishes it, read from an in-memory broker."""
    with app.connection_for_write("memory://") as connection:
        app.send_task(TASK, args=[queue, ""], queue=queue, producer=app.amqp.Producer(connection, auto_declare=False))
        message: dict[str, Any] = connection.default_channel._get(queue)
    return message


def run_next_fit(queue: Queue, fit_id: str) -> None:
    """Run the fit that has waited longest in the queue. fit_id: the fit for which the message was sent."""
    _runner().run_next_fit(queue, fit_id)


@cache
def _runner() -> FitRunner:
    # Imported here because the parent also imports this file but must not load the numerics before it forks: their
    # thread pools do not survive a fork. The number of threads is set before they are loaded.
    os.environ.update(ONE_THREAD)
    from worker.tasks import FitRunner  # noqa: PLC0415

    return FitRunner(settings, Messenger(settings).wake, flags, processes=_processes)


def _set_up_logging(loglevel: int, **_: Any) -> None:
    configure_logging(settings.redis_url, loglevel)


def _worker_starts(sender: Any, **_: Any) -> None:
    global _processes  # noqa: PLW0603  children inherit it when Celery forks them; there is no other way to pass it
    _processes = sender.concurrency


def _child_starts(**_: Any) -> None:
    with loading():
        _runner().warm_up()
    flags.set_ready()


def _worker_stops(**_: Any) -> None:
    flags.set_stopping()


class Upkeep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Heartbeat, sweep and watchdogs, in the event loop of a worker's parent process."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._queues: list[Queue] = [queue for queue in QUEUES if queue in consumer.app.amqp.queues.consume_from]
        client = connect(settings.redis_url, retries=1)
        self._store = UpkeepStore(client, settings)
        self._sweep = Sweep(
            self._store,
            settings,
            flags,
            name=f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}",
            queues=self._queues,
            wake=Messenger(settings).wake,
            broker_list=broker_list,
        )
        waiting = SimulationStore(settings).waiting
        self._simulators = simulators(lambda: waiting() > 0, settings.simulators)
        due = WebhookStore(settings).is_due
        self._deliverers = OnDemandProcesses("worker.webhooks.process", due, 1, period=1.0)
        self._consumption_watchdog = ConsumptionWatchdog(settings.stuck_seconds)
        self._consumption_due_at = 0.0
        # On a separate connection: the watchdog runs in a signal handler, which may interrupt another command.
        responds = UpkeepStore(connect(settings.redis_url, retries=0), settings).responds
        self._loop_watchdog = LoopWatchdog(settings.stuck_seconds, _WATCH_SECONDS, responds, flags.set_stopping)
        self._loop_watchdog.start()

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Called whenever the event loop starts, also after a lost connection."""
        hub.call_repeatedly(_TICK_SECONDS, self._tick, consumer)

    def shutdown(self, consumer: Any) -> None:
        """Called once, when the worker ends."""
        self._sweep.farewell()
        self._simulators.stop()
        self._deliverers.stop()

    def _tick(self, consumer: Any) -> None:
        self._loop_watchdog.turn()
        self._sweep.tick()
        if flags.ready and not flags.stopping:
            self._simulators.tick()
            self._deliverers.tick()
        if flags.ready and time.monotonic() >= self._consumption_due_at:
            self._consumption_due_at = time.monotonic() + settings.sweep_seconds
            self._check_consumption(consumer)

    def _check_consumption(self, consumer: Any) -> None:
        try:
            waiting = any(self._store.messages(broker_list(queue)) for queue in self._queues)
        except WorkerError:
            waiting = False
        idle = len(state.reserved_requests) < consumer.pool.num_processes
        if self._consumption_watchdog.is_stuck(waiting=waiting, idle=idle, received=sum(state.total_count.values())):
            log.critical("consumes_nothing")
            flags.set_stopping()
            state.should_stop = EXIT_STATUS


app = create_app(settings, current=True)
app.task(name=TASK)(run_next_fit)
app.steps["consumer"].add(Upkeep)
signals.setup_logging.connect(_set_up_logging)
signals.worker_init.connect(_worker_starts)
signals.worker_process_init.connect(_child_starts)
signals.worker_shutting_down.connect(_worker_stops)
