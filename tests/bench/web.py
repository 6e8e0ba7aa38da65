"""What the queue's page costs with many mentions: 20 people who look at the list, open items and search, all at once, for a while.

The pages' own questions to the store are asked in threads, as the web server asks them, and the pages are rendered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from fastapi import Request

from tests.bench import scale
from tests.bench.fill import fill
from tests.bench.report import Row
from tests.bench.stage import tell
from tests.fixtures_services import start_postgres
from tests.service import Service, service
from triage.guard import Guard
from triage.person import Person, Role
from triage.store import Store
from triage.web import queue

BAR_MS = 300.0
WORDS = ("sync", "crash", "update", "the app", "love", "how do I", "login", "export", '"dark mode"', "broken -sync", "offline*", "author:a")
LISTS = ("", "state=all", "state=mine", "label=bug_report", "state=all&label=praise", "state=snoozed", "angry=1", "state=all&language=de")

Timed = dict[str, list[float]]


def web(folder: Path, *, few: int, many: int, people: int, seconds: float, pause: float) -> Iterator[Row]:
    """On both databases, with `few` mentions and with `many`: the median and the 95th percentile of each thing, in milliseconds.

    Each of the `people` does something every `pause` seconds or so.
    """
    with Guard() as guard:
        for name, urls in (("SQLite", scale.files(folder)), ("PostgreSQL", scale.databases(start_postgres(guard)))):
            beside, found = (_measure(folder / f"{name}-{count}", next(urls), count, people, seconds, pause) for count in (few, many))
            for what, times in found.items():
                head = f"{name}, {many:,} stored, {people} people: {what}"
                yield Row(f"{head}, median", _share(times, 0.5), "ms", _share(beside[what], 0.5), f"{few:,} stored")
                late = _share(times, 0.95)
                beside_late = _share(beside[what], 0.95)
                yield Row(f"{head}, 95th percentile", late, "ms", beside_late, f"{few:,} stored", f"at most {BAR_MS:g} ms", late <= BAR_MS)


def _measure(folder: Path, url: str, count: int, people: int, seconds: float, pause: float) -> Timed:
    folder.mkdir()
    store = Store(url)
    made = service(folder, url, source=", brake: 1000000", started=False)
    try:
        started = time.perf_counter()
        fill(store.database, count, made.clock.now())
        tell(f"  {folder.name}: {time.perf_counter() - started:.0f} s to load")
        return _looked_at(made, count, people, seconds, pause)
    finally:
        made.close()
        store.close()


def _looked_at(made: Service, count: int, people: int, seconds: float, pause: float) -> Timed:
    """What each thing took: every person does one after the other, and looks at each for `pause` seconds or so."""
    for number in range(1, min(count, 400), 2):
        made.store.items.assign(number, None, "robin", made.clock.now())
    _ask(made, "state=all&q=sink", "robin")  # the forgiving search takes in the newest, once a process
    end = time.monotonic() + seconds

    def person(number: int) -> Timed:
        draw, times = Random(number), Timed()

        def timed(what: str, call: Callable[[], object]) -> None:
            started = time.perf_counter()
            call()
            times.setdefault(what, []).append((time.perf_counter() - started) * 1000)
            time.sleep(pause * draw.uniform(0.5, 1.5))

        while time.monotonic() < end:
            timed("list", lambda: _ask(made, draw.choice(LISTS), f"person{number}"))
            timed("item", lambda: made.store.views.show(draw.randrange(1, count + 1)))
            timed("exact search", lambda: _ask(made, f"state=all&q={draw.choice(WORDS)}", f"person{number}"))
        return times

    found: Timed = {}
    with ThreadPoolExecutor(people) as pool:
        for times in pool.map(person, range(people)):
            for what, each in times.items():
                found.setdefault(what, []).extend(each)
    return found


def _ask(made: Service, query: str, name: str) -> None:
    """The whole page, as its handler makes it."""
    person = Person(1, name, Role.TRIAGER)
    app: Any = SimpleNamespace(state=SimpleNamespace(parts=made))
    scope = {"type": "http", "path": "/", "method": "GET", "query_string": query.encode(), "headers": [], "app": app}
    request = Request(scope | {"state": {"person": person, "session": "bench"}})
    assert queue.queue(request, person, made).status_code == 200


def _share(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]
