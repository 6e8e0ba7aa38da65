"""Mentions a second from stored page to routed: claimed, classified, given a thread and a problem, ruled on, and all of it committed.

Beside it stands one empty Celery task a message, drained by a worker with the same settings from a broker of the same
kind, in turns with it. In both the work lies ready before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.noop import NoopWorker
from tests.bench.report import Row
from tests.bench.stage import WORK_SECONDS, Stage, tell, wait
from tests.fixtures_services import start_postgres, start_redis
from triage import broker, tasks
from triage.guard import Guard
from triage.pipeline.judge import process

TIMES = 3.0
BAR = f"at least {TIMES:g} times"


def embedded(folder: Path, *, count: int, messages: int, rounds: int) -> Iterator[Row]:
    """SQLite, and `process` in this process; the empty tasks come over the embedded broker's socket."""
    with Guard() as guard, broker.embedded(folder, {}) as url, Stage(folder, f"sqlite:///{folder}/triage.db") as stage:
        empty = NoopWorker(guard, url)
        stage.store(100)
        process(stage.app)
        ours, theirs, classifying = [], [], []
        for number in range(rounds):
            theirs.append(empty.rate(messages))
            stage.store(count)
            started = time.perf_counter()
            process(stage.app)
            ours.append(count / (time.perf_counter() - started))
            classifying.append(count / _seconds_of_classifying(stage, count))
            alone = f"classifier alone {classifying[-1]:,.0f}/s"
            tell(f"  round {number + 1}: {ours[-1]:,.0f} mentions/s, {theirs[-1]:,.0f} empty tasks/s, {alone}")
        stage.check()
    figure, beside = median(ours), median(theirs)
    yield Row("routed, embedded (SQLite)", figure, "/s", beside, "empty tasks (socket)", BAR, figure >= TIMES * beside)
    yield Row("routed, embedded, beside the classifier", figure, "/s", median(classifying), "classified and nothing else")


def _seconds_of_classifying(stage: Stage, count: int) -> float:
    """How long the classifier alone takes for as many mentions, in the batches in which they are judged."""
    from tests.bench.stage import items

    found = [item.mention for item in items(count) if item.mention is not None]
    size = stage.app.config.delivery.batch
    started = time.perf_counter()
    for start in range(0, count, size):
        stage.app.classify(found[start : start + size])
    return time.perf_counter() - started


def celery(folder: Path, *, count: int, messages: int, rounds: int) -> Iterator[Row]:
    """PostgreSQL, Redis over TCP, and `triage worker` as a process that is rung with lists of ids as a poll rings it."""
    with Guard() as guard:
        url = start_redis(guard)
        with Stage(folder, start_postgres(guard)) as stage:
            empty = NoopWorker(guard, start_redis(guard))
            worker = stage.worker(guard, url)
            ours, theirs = [], []
            for number in range(rounds + 1):  # the first one warms it up
                warm = number > 0
                theirs.append(empty.rate(messages if warm else 10))
                ids = stage.store(count if warm else 100, held=True)
                stage.let_go()
                started = time.perf_counter()
                _ring(stage, ids, url)
                wait(lambda: stage.waiting() == 0, WORK_SECONDS, "the worker to route", worker)
                ours.append(len(ids) / (time.perf_counter() - started))
                if warm:
                    tell(f"  round {number}: {ours[-1]:,.0f} mentions/s, {theirs[-1]:,.0f} empty tasks/s")
            stage.check()
    figure, beside = median(ours[1:]), median(theirs[1:])
    yield Row("routed, Celery (Redis, PostgreSQL)", figure, "/s", beside, "empty tasks (TCP)", BAR, figure >= TIMES * beside)


def _ring(stage: Stage, ids: list[int], url: str) -> None:
    size = stage.app.config.delivery.batch
    with tasks.app.connection_for_write(url) as connection:
        for start in range(0, len(ids), size):
            tasks.process.apply_async(args=[ids[start : start + size]], connection=connection, retry=False)
