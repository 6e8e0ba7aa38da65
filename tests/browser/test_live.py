"""Two people at once, eight tabs, and what arrives without a reload, in a real browser.

The page here is a small one of its own that keeps to the pages' contract (`#rows`, `#item`): the stream and live.js are what is tested.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import DictLoader, Environment

from tests.fixtures_services import eventually
from tests.service import Service, service
from triage.person import Role
from triage.store.schema import mentions
from triage.web import access, create, live, render

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

ROWS = """{% for id, text in rows %}<li class="row" id="row-{{ id }}" data-id="{{ id }}">
<a href="/mentions/{{ id }}">{{ text }}</a></li>{% endfor %}"""
PAGE = (
    """{% extends "base.html" %}{% block title %}Queue{% endblock %}{% block main %}<section id="list"><ol id="rows">"""
    + ROWS
    + """</ol></section><section id="item"{% if id %} data-id="{{ id }}"{% endif %}>{% if id %}<article class="item">
<h2>Item {{ id }}: {{ text }}</h2><textarea id="answer"></textarea></article>{% endif %}</section>{% endblock %}"""
)


def pages(app: Service) -> access.Routes:
    """The smallest pages that keep the contract."""
    routes = access.Routes()

    def texts() -> list[tuple[int, str]]:
        with app.store.database.read() as connection:
            return [(id_, text) for id_, text in connection.execute(sa.select(mentions.c.id, mentions.c.text).order_by(mentions.c.id))]

    @routes.get("/test", Role.VIEWER)
    def queue(request: Request, item: int = 0) -> HTMLResponse:
        return render.render(request, "test.html", rows=texts(), id=item, text=dict(texts()).get(item, ""))

    @routes.get("/rows", Role.VIEWER)
    def rows(request: Request) -> HTMLResponse:
        return render.render(request, "rows.html", rows=texts())

    @routes.get("/mentions/{mention_id}", Role.VIEWER)
    def item(request: Request, mention_id: int) -> HTMLResponse:
        return render.render(request, "test.html", rows=[], id=mention_id, text=dict(texts())[mention_id])

    return routes


@dataclass
class Site:
    """A site that is served, and a browser."""

    app: Service
    url: str
    browser: Browser

    def person(self, name: str) -> BrowserContext:
        """Somebody's own browser, logged in."""
        now = self.app.clock.now()
        token = self.app.store.people.invite(Role.TRIAGER, "triage", now)
        came = self.app.store.people.come(token, name, name.title(), "", now)
        session = self.app.store.sessions.start(came, now, address="", agent="")
        context = self.browser.new_context()
        context.add_cookies([{"name": "triage", "value": session, "url": self.url}])
        return context


@contextmanager
def serving(app: Service) -> Iterator[str]:
    """The pages on a free port."""
    web = create(app)
    web.include_router(pages(app).router)
    server = uvicorn.Server(uvicorn.Config(web, port=0, log_config=None, timeout_graceful_shutdown=3))
    web.state.ending = lambda: server.should_exit
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for this file."""
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)
        environment: Environment = render._environment()
        monkeypatch.setattr(environment, "loader", _both(environment))
        folder: Path = tmp_path_factory.mktemp("live")
        app = service(folder, f"sqlite:///{folder}/triage.db")
        stack.callback(app.close)
        for number in range(2):
            app.acme.post(f"writer{number}@x.example", f"how do I sync {number}?")
        app.pass_()
        url = stack.enter_context(serving(app))
        playwright = stack.enter_context(sync_api.sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        stack.callback(browser.close)
        yield Site(app, url, browser)


def _both(environment: Environment) -> object:
    from jinja2 import ChoiceLoader

    assert environment.loader is not None
    return ChoiceLoader([DictLoader({"test.html": PAGE, "rows.html": ROWS}), environment.loader])


def test_two_people_see_each_other_without_a_reload(site: Site) -> None:
    """Looking, typing, and who answers; nothing that one types is lost when the item changes."""
    ana, ben = site.person("ana"), site.person("ben")
    hers, his = ana.new_page(), ben.new_page()
    his.goto(f"{site.url}/test?item=1")
    hers.goto(f"{site.url}/test?item=1")
    his.get_by_text("Ana is looking").wait_for()
    hers.get_by_text("Ben is looking").wait_for()
    his.fill("#answer", "Press")
    hers.get_by_text("Ben is typing").wait_for()
    site.app.store.claims.claim(1, "ana", site.app.clock.now())
    hers.get_by_text("you are answering").wait_for()
    his.get_by_text("Ana is answering").wait_for()
    his.get_by_text("changed meanwhile: show").wait_for()
    assert his.input_value("#answer") == "Press"
    his.get_by_text("Ana is answering").click()
    his.get_by_role("button", name="Take it from Ana").click()
    his.get_by_text("you are answering").wait_for()
    hers.get_by_text("Ben is answering").wait_for()
    ana.close()
    ben.close()


def test_what_comes_in_arrives_in_every_one_of_eight_tabs(site: Site) -> None:
    """They share one stream, since a browser opens six connections to a server at most. Focus and place stay."""
    cleo = site.person("cleo")
    faults: list[str] = []
    tabs = [cleo.new_page() for _ in range(8)]
    for tab in tabs:
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(f"{site.url}/test")
    assert eventually(lambda: len(site.app.store.people.all()) >= 1)
    tabs[7].focus("#row-2 a")
    kept = tabs[7].query_selector("#row-2")
    site.app.acme.post("mira@x.example", "it arrived by itself")
    site.app.pass_()
    for tab in tabs:
        tab.get_by_text("it arrived by itself").wait_for()
    assert tabs[7].evaluate("document.activeElement.closest('.row').id") == "row-2"
    assert tabs[7].evaluate("row => row.isConnected", kept)
    assert tabs[7].title() == "(1) Queue"
    assert tabs[7].inner_text("#live") == "1 new in the list"
    tabs[7].keyboard.press("Shift")
    assert tabs[7].title() == "Queue"
    tabs[0].close()  # which may be the one that reads the stream
    tabs[1].close()
    site.app.acme.post("mira@x.example", "and once more")
    site.app.pass_()
    for tab in tabs[2:]:
        tab.get_by_text("and once more").wait_for()
    assert faults == []
    cleo.close()


def test_a_lost_stream_is_told_quietly_and_comes_back(site: Site) -> None:
    """What happened meanwhile is asked for then."""
    dana = site.person("dana")
    page = dana.new_page()
    dana.route("**/live?*", lambda route: route.abort())
    page.goto(f"{site.url}/test")
    page.get_by_text("not live since").wait_for()
    site.app.acme.post("mira@x.example", "while nobody listened")
    site.app.pass_()
    dana.unroute("**/live?*")
    page.get_by_text("while nobody listened").wait_for()
    page.get_by_text("not live since").wait_for(state="detached")
    dana.close()


def test_a_browser_without_locks_asks_now_and_then(site: Site) -> None:
    """Over plain http to another machine there are none."""
    emil = site.person("emil")
    page = emil.new_page()
    page.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    page.clock.install()
    page.goto(f"{site.url}/test")
    site.app.acme.post("mira@x.example", "without any stream")
    site.app.pass_()
    page.clock.fast_forward(21_000)
    page.clock.fast_forward(1_000)
    page.get_by_text("without any stream").wait_for()
    emil.close()
