"""What a large store costs: each thing that the service does, on a store with many mentions, beside one with few.

No far side and no classifier takes part: it is the database alone, as the service asks it, in a process that is warm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.bench.fill import fill, link_of
from tests.bench.report import Row
from tests.bench.stage import tell
from tests.fixtures_services import start_postgres
from tests.service import Service, service
from triage.contracts import Item, Page
from triage.delivery import Move
from triage.guard import Guard
from triage.mention import Author, Mention, Receipt, State, Ticket
from triage.pipeline import judge, sweep, upkeep
from triage.store import Store
from triage.store.schema import problems
from triage.web.health import take_snapshot

SWEEP_BAR_MS = 50.0
TEXTS = ("Sync is broken since the update", "how do I sync?", "love it", "hello there", "hello again", "love this app")
PAGE, TICKETS = 40, 50

Figures = dict[str, float]


def scale(folder: Path, *, few: int, many: int, rounds: int, batch: int = 500, due: int = 100) -> Iterator[Row]:
    """On both databases, with `few` mentions and with `many`; each figure is the median of so many rounds, in milliseconds.

    `batch` mentions are judged at once, and `due` are due in a sweep.
    """
    with Guard() as guard:
        for name, urls in (("SQLite", files(folder)), ("PostgreSQL", databases(start_postgres(guard)))):
            beside, figures = (_measure(folder / f"{name}-{count}", next(urls), count, rounds, batch, due) for count in (few, many))
            for what, figure in figures.items():
                unit = "B" if what.startswith("disk") else "s" if what.startswith("loading") else "ms"
                is_sweep = what.startswith("sweep")
                bar = f"at most {SWEEP_BAR_MS:g} ms" if is_sweep else ""
                met = figure <= SWEEP_BAR_MS if is_sweep else None
                yield Row(f"{name}, {many:,} stored: {what}", figure, unit, beside[what], f"{few:,} stored", bar, met)


def files(folder: Path) -> Iterator[str]:
    """Two addresses of stores that are not there yet."""
    for number in range(2):
        yield f"sqlite:///{folder}/{number}.db"


def databases(server: str) -> Iterator[str]:
    """The same on a PostgreSQL server."""
    for number in range(2):
        plain = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg.connect(plain, autocommit=True)) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(f"scale{number}")))
        yield make_url(server).set(database=f"scale{number}").render_as_string(hide_password=False)


def _measure(folder: Path, url: str, count: int, rounds: int, batch: int, due: int) -> Figures:
    folder.mkdir()
    store = Store(url)
    made = service(folder, url, source=", brake: 1000000", started=False)
    try:
        started = time.perf_counter()
        stored = fill(store.database, count, made.clock.now())
        seconds = time.perf_counter() - started
        tell(f"  {folder.name}: {seconds:.0f} s to load, {stored / 1e6:,.0f} MB")
        return measure(made, count, rounds, batch, due) | {"disk a mention": stored / count, "loading it in bulk": seconds}
    finally:
        made.close()
        store.close()


def measure(made: Service, count: int, rounds: int, batch: int, due: int) -> Figures:
    """Milliseconds of each thing that the service does, on a store that holds the mentions 1 to `count`."""
    figures: dict[str, list[float]] = {}
    now = made.clock.now
    store = made.store
    posted = count

    def timed(what: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        figures.setdefault(what, []).append((time.perf_counter() - started) * 1000)

    def page(size: int, *texts: str) -> Page:
        nonlocal posted
        first, posted = posted + 1, posted + size
        return Page(tuple(_item(number, texts[number % len(texts)], now()) for number in range(first, posted + 1)), "")

    store.inbox.claim_source("acme", now(), now() + timedelta(days=9))  # its next poll is not what is measured
    tickets = _some_tickets(made)
    for _ in range(2):
        timed("to count the whole store, every 15 minutes", lambda: store.count(now()))
    for turn in range(rounds + 1):  # the first one warms it up
        made.clock.move(seconds=5)
        timed("sweep, nothing due", lambda: sweep.due(made))
        timed(f"add a page of {PAGE}", lambda: store.inbox.add_page("acme", page(PAGE, *TEXTS), expect=None, now=now()))
        judge.process(made)
        store.inbox.add_page("acme", page(batch, *TEXTS), expect=None, now=now())
        timed(f"claim, rules and outbox of a batch of {batch}", lambda: judge.process(made))
        _carry_out(made)
        store.inbox.add_page("acme", page(due, TEXTS[0]), expect=None, now=now())
        timed(f"sweep, {due} mentions due", lambda: sweep.due(made))
        judge.process(made)
        timed(f"sweep, {due} actions due", lambda: sweep.due(made))
        todo = sweep.due(made).actions
        assert len(todo) >= due, f"{len(todo)} actions are due, not {due}"
        timed("claim and finish an action", lambda: _carry_out(made, limit=1))
        _carry_out(made)
        timed("triage queue", store.views.queue)
        timed("triage status", lambda: store.views.status(now()))
        timed("metrics", lambda: take_snapshot(made))
        timed("reread_due of 400", lambda: store.inbox.reread_due(now() + timedelta(days=2), 400))
        timed(f"tickets_changed of {TICKETS}", partial(store.tickets.changed, "tickets", _read_back(tickets, turn), now()))
        timed("triage show by link", partial(_show, made, link_of(count // 3 + turn)))
        timed("relabel", partial(judge.relabel, made, count // 2 + turn, "praise", "robin"))
    for _ in range(rounds + 1):
        made.clock.move(minutes=61)
        store.turns.take("counted", now(), upkeep.COUNT_EVERY)  # what it counts has a row of its own
        timed("upkeep with the hourly audit", lambda: sweep.upkeep(made))
    return {what: median(times[1:]) for what, times in figures.items()}


def _item(number: int, text: str, now: datetime) -> Item:
    uri = f"https://bench.example/users/writer{number % 97}/statuses/{number}"
    author = Author(f"writer{number % 97}@bench.example")
    return Item(str(number), b"{}", Mention(uri, "mastodon", "acme", str(number), author, f"@acme {text} {number}", now, url=uri))


def _carry_out(made: Service, limit: int = 10_000) -> None:
    """Claim and finish what is due, as if each far side had taken it."""
    outbox = made.store.outbox
    while limit > 0 and (todo := made.store.inbox.due(made.clock.now(), limit=min(limit, sweep.LIMIT)).actions):
        for id_, _ in todo:
            work = outbox.claim(id_, made.clock.now())
            if work is not None:
                outbox.finish(work, Move(State.DONE, "made", receipt=Receipt(f"9{id_}", f"MEM-{id_}")), made.clock.now())
        limit -= len(todo)


def _show(made: Service, link: str) -> None:
    made.store.views.show(made.store.desk.mention_id(link))


def _some_tickets(made: Service) -> list[Ticket]:
    newest = sa.select(problems.c.ticket_id).where(problems.c.ticket_id.is_not(None)).order_by(problems.c.id.desc()).limit(TICKETS)
    with made.store.database.read() as connection:
        return [Ticket(id_, f"QUAY-{id_}", f"https://jira.example/browse/QUAY-{id_}") for id_ in connection.execute(newest).scalars()]


def _read_back(tickets: list[Ticket], turn: int) -> list[Ticket]:
    return [replace(ticket, status=f"Status {turn}") for ticket in tickets]
