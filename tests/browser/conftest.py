"""A real `triage web` over a filled store, and a real Chromium that is logged in. Nothing that a page does may reach outside.

`open_page(role)` is a page of somebody who is logged in with that role. At the end of each test every page is asked for errors in
its console (the content policy's refusals are such), for dialogs, and for requests to anywhere else: there must be none.
A file whose service must do something meanwhile has a fixture `site` of its own, made with `serving`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.conftest import NO_CHROMIUM
from tests.fixtures_services import eventually
from tests.service import CONFIG, HandClock, Service, service
from triage.guard import Guard
from triage.person import Role
from triage.store import Store
from triage.web import create

expect.set_options(timeout=15_000)  # a busy machine is no failure
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 360, "height": 740}

POSTS = (
    ("mira@x.example", "how do I sync my notes, maybe with a cable?"),
    ("noor@x.example", "hello, a photo of my desk, maybe"),
    ("sam@x.example", "how do I change my password?"),
    ("lea@x.example", "maybe the export is broken"),
    ("ivo@x.example", "love it, maybe"),
    ("uma@x.example", "how do I print?"),
    ("kai@x.example", "how do I delete my account?"),
    ("ada@x.example", "maybe broken: the search finds nothing <script>alert(1)</script>"),
)
"""What the store holds, each with an open task; nobody is sure of those that say maybe."""


@dataclass(frozen=True)
class Site:
    """The server: its address, its store, and the mentions of `POSTS` in their order."""

    url: str
    store: Store
    mentions: list[int]

    def session(self, role: Role, name: str = "") -> str:
        """The cookie of somebody new with this role; they are called role-1, role-2 and so on unless told otherwise."""
        now = datetime.now(UTC)
        name = name or f"{role}-{sum(person.role == role for person in self.store.people.all()) + 1}"
        person = self.store.people.come(self.store.people.invite(role, "triage", now), name, name.title(), "", now)
        return self.store.sessions.start(person, now, address="", agent="")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[Site]:
    """The service's web process on a free port."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("site")
    address = f"sqlite:///{folder}/triage.db"
    before = HandClock()
    before.move(hours=-1)  # what people do comes after it
    filled = service(folder, address, clock=before)
    for author, text in POSTS:
        filled.acme.post(author, text)
    filled.pass_()
    filled.close()
    config = CONFIG.format(mode="act", folder=folder, store=address, source="")
    with started(folder, config, guard) as url:
        store = Store(address)
        found = sorted({row["mention"] for row in store.views.queue()})
        store.people.come(store.people.invite(Role.ADMIN, "triage", datetime.now(UTC)), "boss", "Boss", "", datetime.now(UTC))
        yield Site(url, store, found)
        store.close()


@contextmanager
def started(folder: Path, config: str, guard: Guard, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """`triage web` as a process of its own with this config, on a free port; what it prints is in `web.log` in the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yaml").write_text(f"{config}web: {{port: {port}}}\n")
    told = os.environ | {"TRIAGE_CONFIG": str(folder / "config.yaml")} | dict(env or {})
    with (folder / "web.log").open("wb") as said:
        server = guard.start([sys.executable, "-m", "triage", "web"], env=told, stdout=said, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    assert eventually(lambda: _answers(url), 60), (folder / "web.log").read_text()
    yield url
    guard.stop(server)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/login", timeout=5).ok
    except requests.RequestException:
        return False


@contextmanager
def serving(app: Service) -> Iterator[str]:
    """The pages of a service in this process, in a thread, on a free port: a test can let it do what is due meanwhile."""
    web = create(app)
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
def browser() -> Iterator[Browser]:
    """Chromium. It ends with the module: while it runs, nothing else in this process could run an event loop."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Watch:
    """What pages did that none should. A test that provokes something takes it away by `expect`."""

    found: list[str] = field(default_factory=list)

    def over(self, context: BrowserContext, own: str) -> None:
        """Watch every page of a context."""
        context.on("console", lambda message: self.found.append(f"console: {message.text}") if message.type == "error" else None)
        context.on("weberror", lambda error: self.found.append(f"script: {error.error}"))
        context.on("request", lambda request: None if request.url.startswith((own, "data:")) else self.found.append(f"to {request.url}"))
        context.on("page", lambda page: page.on("dialog", self._dialog))

    def _dialog(self, dialog: Any) -> None:
        self.found.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def expect(self, words: str) -> None:
        """This was to be expected: what holds these words, which the browser and htmx may each have said."""
        expected = [one for one in self.found if words in one]
        assert expected, f"{words!r} is not among {self.found}"
        self.found = [one for one in self.found if one not in expected]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Nothing may be found at the end of the test."""
    watching = Watch()
    yield watching
    assert watching.found == []


@pytest.fixture
def open_page(site: Site, browser: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Call it with a role (and a name, and options of the browser's context) for a page of somebody new; None is logged in by nobody."""
    contexts: list[BrowserContext] = []

    def opened(role: Role | None = Role.TRIAGER, name: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=site.url, **({"viewport": DESK} | options))
        context.set_default_timeout(15_000)
        if role is not None:
            context.add_cookies([{"name": "triage", "value": site.session(role, name), "url": site.url}])
        watch.over(context, site.url)
        contexts.append(context)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()
