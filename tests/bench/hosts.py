"""Several hosts with several workers each: how much of the time somebody had nothing to do while work was due.

Work is due from when an action was planned until somebody claims it. A worker is at work from an attempt's intent to its outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from tests.bench.report import Row
from tests.bench.stage import tell, wait
from tests.hosts import Hosts, HostsRig, why_not
from triage.guard import Guard
from triage.store.schema import actions, attempts, owners

Span = tuple[datetime, datetime]
START_SECONDS = 300.0
IDLE_BAR = 2.0  # seconds: the sweep of one second, and as much again to get going


def hosts(folder: Path, *, count: int, workers: int, bugs: int, slow: float) -> Iterator[Row]:
    """`count` hosts with `workers` each file `bugs` reports, at a tracker that takes `slow` seconds for each."""
    if why := why_not():
        raise RuntimeError(why)
    with Guard() as guard, Hosts(count) as made, HostsRig(folder, guard, made, sweep="1s") as rig, ExitStack() as stack:
        runs = [stack.enter_context(rig.process(number % count, name=f"worker{number}")) for number in range(count * workers)]
        rig.await_work(*runs)
        engine = sa.create_engine(rig.store)
        stack.callback(engine.dispose)

        def ask(statement: sa.Select[tuple[object, ...]]) -> list[tuple[object, ...]]:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(statement)]

        alive = sa.select(owners.c.id).where(owners.c.role == "worker")
        wait(lambda: len(ask(alive)) >= len(runs), START_SECONDS, "all workers to sweep", every=0.5)
        rig.jira.faults.add(kind=f"slow:{slow:g}", method="POST", path="/issue$", times=None)
        for number in range(bugs):
            rig.mastodon.post(f"author{number % 7}@else.example", f"Thing number {number} is broken")
        rig.settle(START_SECONDS + bugs * slow)
        if len(rig.jira.tickets) != bugs:
            raise RuntimeError(f"{bugs} bugs became {len(rig.jira.tickets)} tickets")
        sent = ask(sa.select(attempts.c.owner, attempts.c.started_at, attempts.c.ended_at))
        waited = ask(sa.select(actions.c.created_at, actions.c.first_intent_at).where(actions.c.kind == "ticket"))
        workers_seen = [str(row[0]) for row in ask(alive)]
    due = _union([_span(start, end) for start, end in waited])
    shares, longest, idle = [], 0.0, 0.0
    for owner in workers_seen:
        busy = _union([_span(start, end) for name, start, end in sent if name == owner])
        free = [gap for span in due for gap in _gaps(span, busy)]
        shares.append(sum(1 for name, *_ in sent if name == owner))
        idle += sum(free)
        longest = max([longest, *free])
    spent = sum(((end - start) for start, end in due), timedelta()).total_seconds()
    tell(f"  {bugs} tickets, by worker: {', '.join(map(str, shares))}")
    name = f"{count} hosts with {workers} workers each"
    yield Row(f"{name}: tickets", bugs / spent, "/s", len(workers_seen) / slow, f"if each took {slow:g} s and nobody was idle")
    yield Row(f"{name}: idle while work was due", 100 * idle / (spent * len(workers_seen)), "%")
    yield Row(f"{name}: longest so", longest, "s", bar=f"at most {IDLE_BAR:g} s", met=longest <= IDLE_BAR)
    yield Row(
        f"{name}: least done by a worker", min(shares), "tickets", bugs / len(workers_seen), "an equal share", "some", min(shares) > 0
    )


def _span(start: object, end: object) -> Span:
    assert isinstance(start, datetime)
    assert isinstance(end, datetime)
    return start, end


def _union(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _gaps(span: Span, busy: Sequence[Span]) -> list[float]:
    """The lengths, in seconds, of what of a span lies in none of the busy ones."""
    at, found = span[0], []
    for start, end in busy:
        if end <= at or start >= span[1]:
            continue
        if start > at:
            found.append((start - at).total_seconds())
        at = max(at, end)
    if at < span[1]:
        found.append((span[1] - at).total_seconds())
    return found
