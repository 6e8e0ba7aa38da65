"""The queue in a real browser: what its first load costs in bytes, and how long from the key `j` to the next item shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, Response, sync_playwright

from tests.bench.report import Row
from tests.browser.conftest import CHROMIUM, serving
from tests.conftest import NO_CHROMIUM
from tests.service import service
from triage.person import Role

MOST_KB = 150.0
MOST_MS = 100.0
STEP = """async () => {
    const before = document.querySelector("#item").dataset.id;
    const begun = performance.now();
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "j", bubbles: true, cancelable: true }));
    while (document.querySelector("#item").dataset.id === before) await new Promise((next) => setTimeout(next));
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    return performance.now() - begun;
}"""


def browser(folder: Path, *, steps: int) -> Iterator[Row]:
    """The first load of a full list, and the median of so many `steps` to an item that was fetched ahead, until it is painted."""
    if CHROMIUM is None:
        raise RuntimeError(NO_CHROMIUM)
    app = service(folder, f"sqlite:///{folder}/triage.db", source=", brake: 1000")
    for number in range(steps + 30):
        app.acme.post(f"writer{number}@x.example", f"how do I sync my notebook number {number} with the one of a colleague who has left?")
    app.pass_()
    now = datetime.now(UTC)
    person = app.store.people.come(app.store.people.invite(Role.TRIAGER, "triage", now), "ana", "Ana", "", now)
    session = app.store.sessions.start(person, now, address="", agent="")
    try:
        with serving(app) as url, sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            context = started.new_context(base_url=url, viewport={"width": 1280, "height": 800})
            context.add_cookies([{"name": "triage", "value": session, "url": url}])
            page = context.new_page()
            size, plain = _first_load(page)
            what = "browser: first load of the queue, all files as served"
            yield Row(what, size, "kB", plain, "not compressed", f"at most {MOST_KB:g} kB", size <= MOST_KB)
            times = [_step(page) for _ in range(steps)]
            middle = statistics.median(times)
            yield Row(
                f"browser: key j to the next item, median of {steps}", middle, "ms", bar=f"at most {MOST_MS:g} ms", met=middle <= MOST_MS
            )
            started.close()
    finally:
        app.close()


def _first_load(page: Page) -> tuple[float, float]:
    """In kB, of all answers but the stream's: as they are served, and what is in them."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer) if "/live" not in answer.url else None)
    page.goto("/")
    page.wait_for_timeout(1000)
    served = sum(answer.request.sizes()["responseBodySize"] for answer in answers)
    return served / 1000, sum(len(answer.body()) for answer in answers) / 1000


def _step(page: Page) -> float:
    """In ms. Whoever reads an item gives the next one the time to come."""
    page.wait_for_timeout(600)
    taken: float = page.evaluate(STEP)
    return taken
