"""Celery: one short task a verb, lists of ids as arguments, the beat schedule. The only code that enqueues.

Redis is a doorbell. The database is the truth, and the worker's own sweep does everything that is due, with a broker or
without one; a task only makes it sooner, and on more machines. So nothing is acknowledged late, no result is kept, and
a ring that fails is forgotten.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import structlog
from celery import Celery, signals
from celery.platforms import SecurityWarning

from triage import config as configuration
from triage import doorbell, logs
from triage.app import App
from triage.errors import UserError
from triage.heartbeat import beat
from triage.pipeline import deliver as delivering
from triage.pipeline import intake, judge, sweep
from triage.store.inbox import Due

log = structlog.get_logger()

# It warns root of pickled messages; ours are JSON alone, and a container often runs as root.
warnings.filterwarnings("ignore", category=SecurityWarning)

TICK_SECONDS = 2.0
TICK_AT_MOST = 0.25  # so often one process looks when it is rung; a flood of rings must not become a flood of queries
RING_BATCH = 50
QUIET_SECONDS = 10.0  # after a ring that failed, don't try the bell again for so long


@cache
def current() -> App:
    """This process's app, made after any fork."""
    path = os.environ.get("TRIAGE_CONFIG")
    return App(configuration.load(Path(path) if path else None), role="worker")


def _broker() -> tuple[str, str]:
    """REDIS_URL, else the config's broker, and the queue's name; a config that can't be read is said when the worker starts."""
    path = os.environ.get("TRIAGE_CONFIG")
    named, site = None, ""
    try:
        config = configuration.load(Path(path) if path else None)
        named, site = config.broker, config.site
    except UserError:
        pass
    # A Redis may be shared, with another install of ours too: each site has a queue of its own.
    return os.environ.get("REDIS_URL") or named or "redis://127.0.0.1:6379/0", f"triage.{site}" if site else "triage"


doorbell.listen_well()
URL, QUEUE = _broker()
app = Celery("triage")
app.conf.update(
    broker_url=URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # for ever: after the default of 100, about an hour, the worker would end
    broker_channel_error_retry=True,  # a Redis that became read-only would end the worker
    broker_connection_timeout=2,
    broker_transport_options={
        "visibility_timeout": 300,
        "socket_connect_timeout": 2,
        "socket_timeout": 5,
        "socket_keepalive": True,
        # By default these are shared with every other Celery app of the same Redis, and our time-out would repeat their tasks.
        **{f"{name}_key": f"{QUEUE}.{name}" for name in ("unacked", "unacked_index", "unacked_mutex")},
    },
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,
    task_ignore_result=True,
    task_acks_late=False,  # with Celery 5.7.0 a busy worker that lost Redis exited; the sweep finds what was lost
    task_default_queue=QUEUE,
    task_create_missing_queues=False,
    worker_pool="threads",  # forked children would share the locks by which an owner is known to be alive
    worker_concurrency=4,
    worker_consumer="triage.doorbell:Listener",
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    beat_scheduler="triage.doorbell:Ringer",
    beat_schedule={
        "tick": {"task": "triage.tick", "schedule": TICK_SECONDS, "args": [[]], "options": {"expires": TICK_SECONDS * 2, "retry": False}}
    },
)


class _Bell:
    """Rings, and goes quiet for a while when there is nobody to hear it."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def ring(self, task: Any, ids: Sequence[Any], batch: int = RING_BATCH) -> None:
        """Publish the ids in batches. A failure is no error: the sweep does the work."""
        for start in range(0, len(ids), batch):
            if time.monotonic() < self._quiet_until:
                return
            try:
                task.apply_async(args=[list(ids[start : start + batch])], retry=False, expires=120)
            except Exception as error:  # noqa: BLE001 - whatever the broker has, the work that was done stands
                self._quiet_until = time.monotonic() + QUIET_SECONDS
                log.debug("nobody heard the bell", why=str(error))


bell = _Bell()


def _numbers(ids: Any) -> list[int]:
    """Whatever a message holds, only row numbers come out: anybody who reaches Redis can forge one."""
    return [id_ for id_ in ids if type(id_) is int and 0 < id_ < 2**63][:1000] if isinstance(ids, list) else []


def _outdated() -> bool:
    """Whether the database has a newer schema than this program, which then leaves everything to newer workers."""
    return bool(current().store.place.check(current().clock.now()).newer)


def _names(ids: Any) -> list[str]:
    return [name for name in ids if isinstance(name, str) and name in current().sources] if isinstance(ids, list) else []


@app.task(name="triage.poll")  # type: ignore[untyped-decorator]
def poll(ids: list[str]) -> None:
    """Fetch from these sources."""
    if not _outdated():
        bell.ring(process, intake.poll(current(), _names(ids)), batch=current().config.delivery.batch)


@app.task(name="triage.process")  # type: ignore[untyped-decorator]
def process(ids: list[int]) -> None:
    """Judge these mentions."""
    if not _outdated():
        bell.ring(deliver, judge.process(current(), _numbers(ids)))


@app.task(name="triage.deliver")  # type: ignore[untyped-decorator]
def deliver(ids: list[int]) -> None:
    """Carry out these actions."""
    delivering.deliver(current(), _numbers(ids))


@app.task(name="triage.reconcile")  # type: ignore[untyped-decorator]
def reconcile(ids: list[int]) -> None:
    """Look for what became of these actions."""
    delivering.reconcile(current(), _numbers(ids))


_ticked_at = -TICK_AT_MOST


@app.task(name="triage.tick")  # type: ignore[untyped-decorator]
def tick(ids: list[int]) -> None:
    """The beat: ring for everything that is due."""
    global _ticked_at
    now = time.monotonic()
    if now - _ticked_at < TICK_AT_MOST:
        return
    _ticked_at = now
    ring_due(sweep.due(current()))


def ring_due(todo: Due) -> None:
    """Ring once for each lane of what is due."""
    for name in todo.polls:
        if name in current().sources:
            bell.ring(poll, [name])
    bell.ring(process, todo.mentions, batch=current().config.delivery.batch)
    for task, pairs in ((deliver, todo.actions), (reconcile, todo.doubts)):
        for via in sorted({via for _, via in pairs}):
            bell.ring(task, [id_ for id_, name in pairs if name == via])


# The worker's own sweep

_stop = Event()


def ready() -> App:
    """This process's app, with all that a worker needs. Raises the `UserError`s of config, secrets, store and model."""
    parts = current()
    parts.verify()
    begin(parts)
    parts.classifier()
    return parts


@contextmanager
def _or_end() -> Iterator[None]:
    """A mistake of the user's ends the process with one message. Celery logs what a signal's handler raises, and goes on without it."""
    try:
        yield
    except UserError as error:
        print(f"triage: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _setup_logging(**_: Any) -> None:
    """Our own logging in place of Celery's."""
    with _or_end():
        log_config = current().config.log
    logs.setup(log_config.level, as_json=log_config.format == "json", name=os.environ.get("TRIAGE_PROCESS", ""))


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _start_sweep(conf: Any = None, **_: Any) -> None:
    """Start sweeping before there is a broker, and whether there is one or not."""
    if conf is not None and conf.worker_pool not in ("threads", "solo"):
        raise SystemExit(f"triage: the worker runs its own sweep in threads; start it with --pool threads, not {conf.worker_pool}")
    with _or_end():
        parts = ready()
    Thread(target=_sweep_or_end, args=(parts, _stop), name="sweep", daemon=True).start()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_sweep(**_: Any) -> None:
    _stop.set()


def know_sources(parts: App) -> None:
    """Every account of the config has its row; a source's first poll starts at now."""
    now = parts.clock.now()
    parts.store.accounts.know("tracker", parts.trackers)
    parts.store.accounts.know("notifier", parts.notifiers)
    for name in parts.sources:
        parts.store.inbox.add_source(name, now, now + timedelta(seconds=parts.config.delivery.rescan))


def begin(parts: App) -> None:
    """What a service does before its first sweep: know its sources, and forget pauses, since the tokens may be new."""
    know_sources(parts)
    parts.store.accounts.unpause(parts.clock.now())


def run_sweep(parts: App, stop: Event) -> None:
    """Sweep and follow the streams until `stop` is set."""
    for name in parts.sources:
        if parts.platform(name).manifest.streams:
            Thread(target=_follow, args=(parts, name, stop), name=f"stream {name}", daemon=True).start()
    delivery = parts.config.delivery
    sweep.Sweeper(parts, every=delivery.sweep, threads=delivery.threads, beat=beat).run(stop)


def _sweep_or_end(parts: App, stop: Event) -> None:
    """Without its sweep a worker is no worker: whoever keeps it running starts it again."""
    try:
        run_sweep(parts, stop)
    except BaseException:
        log.exception("the sweep has died")
    if not stop.is_set():
        log.error("this worker ends, since it does not sweep any more")
        os.kill(os.getpid(), signal.SIGTERM)


def _follow(parts: App, name: str, stop: Event) -> None:
    wait = 1.0
    while not stop.is_set():
        started = time.monotonic()
        try:
            intake.follow(parts, name, stop, lambda ids: bell.ring(process, ids))
        except UserError as error:
            log.debug("the stream stopped", source=name, why=str(error))
        except Exception as error:  # noqa: BLE001 - a stream is a convenience: re-reading finds what it missed
            log.debug("the stream stopped", source=name, why=str(error))
        wait = 1.0 if time.monotonic() - started > 60 else min(wait * 2, 300.0)
        stop.wait(wait)


__all__ = ["app", "begin", "current", "know_sources", "ready", "run_sweep"]
