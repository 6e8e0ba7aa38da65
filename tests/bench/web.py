"""What the queue's page costs with many mentions: 20 people who look at the list, open items and search, all at once, for a while.

The pages' own questions to the store are asked in threads, as the web server asks them, and the pages are rendered. Nothing is
written, so stores that were filled once can be kept and measured again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from fastapi import Request
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.bench.fill import PEOPLE, fill
from tests.bench.report import Row
from tests.bench.stage import tell
from tests.fixtures_services import start_postgres
from tests.service import Service, service
from triage.guard import Guard
from triage.person import Person, Role
from triage.store import Store
from triage.store.insights import periods
from triage.store.schema import mentions, meta
from triage.web import item, queue, reply

BAR_MS = 300.0
TASKS = 4_000  # open ones, of a store that large
WORDS = ("sync", "crash", "update", "the app", "love", "how do I", "login", "export", '"dark mode"', "broken -sync", "offline*")
LISTS = ("", "state=all", "state=mine", "label=bug_report", "state=all&label=praise", "state=snoozed", "angry=1", "state=all&language=de")
BESIDE = "&label=bug_report"  # what a search is narrowed to, now and then

Timed = dict[str, list[float]]


def web(folder: Path, *, few: int, many: int, people: int, seconds: float, pause: float, stores: Path | None = None) -> Iterator[Row]:
    """On both databases, with `few` mentions and with `many`: the median and the 95th percentile of each thing, in milliseconds.

    Each of the `people` does something every `pause` seconds or so. Filled stores are taken from the folder `stores`, and left there.
    """
    stores = stores.absolute() if stores is not None else None
    with Guard() as guard:
        for name, place in (("SQLite", _file), ("PostgreSQL", _server(guard, stores))):
            beside, found = (
                _measure(folder / f"{name}-{count}", place(stores or folder, count), count, people, seconds, pause) for count in (few, many)
            )
            for what, times in found.items():
                head = f"{name}, {many:,} stored, {people} people: {what}"
                if what.startswith("insights"):
                    yield Row(head, times[0], "ms", beside[what][0], f"{few:,} stored")
                    continue
                yield Row(f"{head}, median", _share(times, 0.5), "ms", _share(beside[what], 0.5), f"{few:,} stored")
                late = _share(times, 0.95)
                beside_late = _share(beside[what], 0.95)
                yield Row(f"{head}, 95th percentile", late, "ms", beside_late, f"{few:,} stored", f"at most {BAR_MS:g} ms", late <= BAR_MS)


def _file(stores: Path, count: int) -> str:
    stores.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{stores}/sqlite-{count}.db"


def _server(guard: Guard, stores: Path | None) -> Callable[[Path, int], str]:
    """The address of a database on a server that is started when it is first asked for."""
    servers: list[str] = []

    def address(_stores: Path, count: int) -> str:
        if not servers:
            servers.append(start_postgres(guard, kept=stores / "postgresql" if stores is not None else None))
        url, name = make_url(servers[0]), f"mentions{count}"
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with closing(psycopg.connect(plain, autocommit=True)) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
        return url.set(database=name).render_as_string(hide_password=False)

    return address


def _measure(folder: Path, url: str, count: int, people: int, seconds: float, pause: float) -> Timed:
    folder.mkdir()
    store = Store(url)
    made = service(folder, url, source=", brake: 1000000", started=False)
    try:
        _filled(store, folder.name, count, made.clock.now())
        with store.database.read() as connection:  # a kept store's last day is when it was filled
            newest = connection.scalar(sa.select(mentions.c.created_at).order_by(mentions.c.id.desc()).limit(1))
        assert newest is not None
        made.clock.moment = newest + timedelta(minutes=5)
        return _looked_at(made, count, people, seconds, pause)
    finally:
        made.close()
        store.close()


def _filled(store: Store, name: str, count: int, now: datetime) -> None:
    """Fill a store that is not filled yet; one that was left half filled is refused."""
    whole = sa.select(meta.c.value).where(meta.c.name == "bench_filled")
    with store.database.read() as connection:
        if connection.scalar(whole) == str(count):
            return
        if connection.scalar(sa.select(mentions.c.id).limit(1)) is not None:
            raise RuntimeError(f"{store.database.url.database} is half filled; delete it, and it is filled anew")
    started = time.perf_counter()
    fill(store.database, count, now, tasks=min(TASKS, count // 10))
    with store.database.write() as connection:
        connection.execute(sa.insert(meta).values(name="bench_filled", value=str(count)))
    tell(f"  {name}: {time.perf_counter() - started:.0f} s to load")


def _looked_at(made: Service, count: int, people: int, seconds: float, pause: float) -> Timed:
    """What each thing took: every person does one after the other, and looks at each for `pause` seconds or so."""
    found: Timed = {}

    def timed(times: Timed, what: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        times.setdefault(what, []).append((time.perf_counter() - started) * 1000)

    now = made.clock.now()
    for days, period in periods(now.date()):  # once in five minutes, whoever asks
        timed(found, f"insights of {days}", partial(made.store.insights.report, period, now))
    _list(made, "state=all&q=sink", PEOPLE[0])  # the forgiving search takes in the newest, once a process
    gc.unfreeze()  # those of the store before
    gc.collect()
    gc.freeze()  # as `triage web` does when it begins
    end = time.monotonic() + seconds

    def person(number: int) -> Timed:
        draw, times, name = Random(number), Timed(), PEOPLE[number % len(PEOPLE)]

        def look(what: str, call: Callable[[], object]) -> None:
            timed(times, what, call)
            time.sleep(pause * draw.uniform(0.5, 1.5))

        time.sleep(3 * pause * draw.random())  # people don't all begin in the same instant
        while time.monotonic() < end:
            look("list", lambda: _list(made, draw.choice(LISTS), name))
            mention = draw.randrange(1, count + 1)
            timed(times, "item", partial(_item, made, mention, name))
            look("the answer panel of it", partial(_panel, made, mention, name))
            look("exact search", partial(_list, made, _search(made, draw, count), name))
        return times

    with ThreadPoolExecutor(people) as pool:
        for times in pool.map(person, range(people)):
            for what, each in times.items():
                found.setdefault(what, []).extend(each)
    return found


def _search(made: Service, draw: Random, count: int) -> str:
    """Something to search for: words that many use, one that a single post has, or an author; sometimes among one label's posts."""
    rare, author = f"ref{draw.randrange(1, count // 10 + 1) * 10}", f"author:{_author(made, draw.randrange(1, count + 1))}"
    return f"state=all&q={quote(draw.choice((*WORDS, rare, author)))}{draw.choice(('', BESIDE))}"


def _author(made: Service, mention: int) -> str:
    with made.store.database.read() as connection:
        return str(connection.scalar(sa.select(mentions.c.author).where(mentions.c.id == mention)))


def _list(made: Service, query: str, name: str) -> None:
    """The whole page, as its handler makes it."""
    request, person = _request(made, "/", query, name)
    assert queue.queue(request, person, made).status_code == 200


def _item(made: Service, mention: int, name: str) -> None:
    """The item's pane."""
    request, person = _request(made, f"/mentions/{mention}", "", name)
    assert item.show(request, made, person, mention).status_code == 200


def _panel(made: Service, mention: int, name: str) -> None:
    """What an answer is written in, with prepared and suggested ones; the page asks for it when the item is there."""
    request, person = _request(made, f"/mentions/{mention}/reply", "", name)
    assert reply.show(request, made, person, mention).status_code == 200


def _request(made: Service, path: str, query: str, name: str) -> tuple[Request, Person]:
    person = Person(1, name, Role.TRIAGER)
    app: Any = SimpleNamespace(state=SimpleNamespace(parts=made))
    scope = {
        "type": "http",
        "path": path,
        "method": "GET",
        "query_string": query.encode(),
        "headers": [(b"hx-request", b"true")],
        "app": app,
    }
    return Request(scope | {"state": {"person": person, "session": "bench"}}), person


def _share(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]
