"""The sweep: find everything that is due, and do it. It needs no broker; a bell only makes it sooner.

What is due is done in lanes, one a far side, so that a slow tracker keeps nobody from being polled or alerted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Event

import structlog

from triage.errors import StoreError, UserError
from triage.failpoint import hit
from triage.pipeline import intake
from triage.pipeline.deliver import deliver, reconcile
from triage.pipeline.judge import process
from triage.pipeline.linking import look_at_links
from triage.pipeline.parts import Parts
from triage.pipeline.trust import review
from triage.pipeline.upkeep import audit, count, expire, let_go, many_answers, read_tickets, tidy, wake
from triage.store.inbox import Due

log = structlog.get_logger()

LIMIT = 500
UPKEEP_EVERY = timedelta(minutes=1)
BEAT_SECONDS = 1.0

Job = Callable[[], int]


def due(parts: Parts) -> Due:
    """What there is to do now. An action whose sender is dead becomes a doubt here.

    Nothing where the schema is newer than this program; no sends but alerts where the store is a copy.
    """
    hit("before_sweep")
    stand = parts.store.place.check(parts.clock.now())
    if stand.newer:
        return Due()
    parts.store.outbox.orphans(parts.clock.now())
    return parts.store.inbox.due(parts.clock.now(), limit=LIMIT, only=parts.notifiers if stand.copied else None)


def lanes(parts: Parts, todo: Due) -> dict[str, Job]:
    """The jobs that are due, by lane. Each returns how much it did; no two of a lane should run at once in a process."""
    jobs: dict[str, Job] = {}
    for name in todo.polls:
        if name in parts.sources:
            jobs[f"poll {name}"] = partial(_count, intake.poll, parts, [name])
    for name in todo.rescans:
        if name in parts.sources:
            jobs[f"rescan {name}"] = partial(_count, intake.rescan, parts, [name])
    if todo.rereads:
        jobs["reread"] = partial(_count, intake.reread, parts)
    if todo.mentions:
        jobs["judge"] = partial(_count, process, parts)
    for via, ids in _by_via(todo.actions).items():
        jobs[f"deliver {via}"] = partial(_count, deliver, parts, ids)
    for via, ids in _by_via(todo.doubts).items():
        jobs[f"look {via}"] = partial(_count, reconcile, parts, ids)
    return jobs


def upkeep(parts: Parts) -> int:
    """What is done now and then."""
    now = parts.clock.now()
    if parts.store.place.check(now).newer:
        return 0
    done = wake(parts) + many_answers(parts) + read_tickets(parts) + audit(parts) + count(parts)
    done += tidy(parts) + expire(parts) + review(parts) + let_go(parts) + look_at_links(parts)
    return done + parts.store.accounts.end_alerts(now) + parts.store.place.end_restore(now)


def once(parts: Parts) -> Counter[str]:
    """One full pass in this thread: everything that is due, and what follows from it, until nothing is left.

    Returns how much each lane did.
    """
    did: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    while True:
        jobs = {lane: job for lane, job in lanes(parts, due(parts)).items() if tried[lane] < 50}
        if not jobs:
            break
        for lane, job in jobs.items():
            tried[lane] += 1
            did[lane] += safely(lane, job)
    did["upkeep"] += safely("upkeep", partial(upkeep, parts))
    return did


class Sweeper:
    """The worker's own sweep, in threads of its own, once every `every` seconds."""

    def __init__(self, parts: Parts, *, every: float, threads: int, beat: Callable[[], None]) -> None:
        self._parts = parts
        self._every = every
        self._beat = beat
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="sweep")
        self._busy: dict[str, Future[int]] = {}
        self._upkeep_at: datetime | None = None
        self._seen_at: datetime | None = None

    def run(self, stop: Event) -> None:
        """Sweep until `stop` is set; what is under way is then finished."""
        while not stop.is_set():
            safely("sweep", self._tick)
            hit("after_sweep")
            left = self._every
            while True:  # a sweep may be rare, the sign of life is not
                self._beat()
                if stop.wait(min(left, BEAT_SECONDS)) or left <= BEAT_SECONDS:
                    break
                left -= BEAT_SECONDS
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _tick(self) -> int:
        now = self._parts.clock.now()
        jobs = lanes(self._parts, due(self._parts))
        if self._upkeep_at is None or now >= self._upkeep_at:
            self._upkeep_at = now + UPKEEP_EVERY
            jobs["upkeep"] = partial(upkeep, self._parts)
        if self._seen_at is None or now - self._seen_at > timedelta(seconds=20):
            self._seen_at = now
            self._parts.store.owners.seen(now)
            self._parts.store.place.beat(now)
        for lane, job in jobs.items():
            running = self._busy.get(lane)
            if running is None or running.done():
                self._busy[lane] = self._pool.submit(safely, lane, job)
        return len(jobs)


def safely(lane: str, job: Job) -> int:
    """One job that fails must not keep the others from being done; the next sweep tries it again."""
    try:
        return job()
    except StoreError as error:
        log.error("the store can't be used", lane=lane, why=str(error))
    except UserError as error:
        log.error("somebody has to mend this", lane=lane, why=str(error))
    except Exception:
        log.exception("failed", lane=lane)
    return 0


def _count(verb: Callable[..., list[int]], parts: Parts, *ids: object) -> int:
    return len(verb(parts, *ids))


def _by_via(pairs: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for id_, via in pairs:
        grouped.setdefault(via, []).append(id_)
    return grouped
