"""Where the product meets the outside, the simulator stands in: points, clocks, ids, the doorbell. Put back when it is done."""

from __future__ import annotations

import gc
import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog
from celery.app.task import Task
from sqlalchemy.engine import Connection

from tests.faults.sim.scheduler import Killed, Scheduler
from tests.faults.sim.store import engine
from triage import failpoint, remote, tasks
from triage.errors import StoreError
from triage.pipeline import sweep
from triage.platforms import mastodon_feeds
from triage.store import database, owners
from triage.store.database import Database

_read, _write = Database.read, Database.write


class Running:
    """The scheduler of the run that is under way, for the patches to find."""

    scheduler: Scheduler | None = None
    publish: Callable[[str, Any], None] | None = None


def _scheduler() -> Scheduler:
    assert Running.scheduler is not None
    return Running.scheduler


@contextmanager
def _reading(self: Database) -> Iterator[Connection]:
    _scheduler().point("read")
    with _read(self) as connection:
        yield connection


@contextmanager
def _writing(self: Database) -> Iterator[Connection]:
    scheduler = _scheduler()
    scheduler.point("write")
    with _write(self) as connection:
        yield connection
        if scheduler.in_transaction():
            raise Killed
        if scheduler.disk_is_full():
            raise StoreError("the disk is full; free some room, the work goes on by itself")
    scheduler.point("committed")


def _hit(name: str) -> None:
    scheduler = _scheduler()
    scheduler.seen[f"failpoint {name}"] += 1
    scheduler.point(f"{name}", failpoint=True)


def _uuid() -> UUID:
    return UUID(int=_scheduler().rng.getrandbits(128))


def _current() -> Any:
    actor = _scheduler().current
    assert actor is not None
    assert actor.process is not None
    return actor.process.app


class _Bells:
    """Each process has a bell of its own; this one finds it."""

    def ring(self, task: Any, ids: Any, batch: int = tasks.RING_BATCH) -> None:
        _current().bell.ring(task, ids, batch)


def _apply_async(self: Any, args: Any = None, **_: Any) -> None:
    assert Running.publish is not None
    Running.publish(self.name, args[0])


def _no_random() -> float:
    raise AssertionError("the product rolled a dice of its own: the run could not be repeated")


@contextmanager
def simulated() -> Iterator[None]:
    """Within it the product runs under `Running.scheduler`."""
    logging, hit = structlog.get_config(), failpoint.hit
    with ExitStack() as stack:
        change = stack.enter_context
        change(patch.object(database, "_sqlite", lambda url: engine()))
        change(patch.object(Database, "read", _reading))
        change(patch.object(Database, "write", _writing))
        for module in [module for name, module in sys.modules.items() if name.startswith("triage.")]:
            if getattr(module, "hit", None) is hit:
                change(patch.object(module, "hit", _hit))
        change(patch.object(owners, "uuid", SimpleNamespace(uuid4=_uuid)))
        change(patch.object(remote, "boot_seconds", lambda: _scheduler().now))
        change(patch.object(tasks, "current", _current))
        change(patch.object(tasks, "bell", _Bells()))
        change(patch.object(tasks, "time", SimpleNamespace(monotonic=lambda: _scheduler().now)))
        # The limit on ticks is a process's own, and the processes of a run, and all runs, share this module: each tick looks.
        change(patch.object(tasks, "TICK_AT_MOST", -math.inf))
        change(patch.object(Task, "apply_async", _apply_async))
        change(patch.object(mastodon_feeds, "LEAST_PAGE", 2))  # a burst of three posts then fills a page
        change(patch.object(random, "random", _no_random))
        change(patch.object(sweep, "UPKEEP_EVERY", sweep.UPKEEP_EVERY * 10))  # it costs a third of a run and is asked for at the end
        # Nothing is cached in here, or a logger that is used first in a run would be silent for ever.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)
        gc.collect()
        gc.freeze()  # some 100,000 objects that outlive every run: to look through them again and again is a fifth of the time
        try:
            yield
        finally:
            gc.unfreeze()
            structlog.configure(**logging)
