"""Two people at once, eight tabs, and what arrives without a reload, in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHROMIUM, Site, Watch, serving
from tests.conftest import NO_CHROMIUM
from tests.fixtures_services import eventually
from tests.service import Service, service
from triage.person import Role
from triage.web import live

OpenPage = Callable[..., Page]


@dataclass(frozen=True)
class LiveSite(Site):
    """A site whose service does what is due when it is told to."""

    app: Service

    def arrives(self, text: str) -> None:
        """Somebody posts a question, and it is fetched and judged."""
        self.app.acme.post("mira@x.example", f"how? {text}")
        self.app.pass_()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    """One for this file; its streams look often."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("live")
    app = service(folder, f"sqlite:///{folder}/triage.db")
    for number in range(2):
        app.acme.post(f"writer{number}@x.example", f"how do I sync {number}?")
    app.pass_()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)
        with serving(app) as url:
            yield LiveSite(url, app.store, [1, 2], app)
    app.close()


def test_two_people_see_each_other_without_a_reload(site: LiveSite, open_page: OpenPage) -> None:
    """Looking, typing, and who answers; nothing that one types is lost when the item changes."""
    hers, his = open_page(name="ana"), open_page(name="ben")
    his.goto("/mentions/1")
    hers.goto("/mentions/1")
    his.get_by_text("Ana is looking").wait_for()
    hers.get_by_text("Ben is looking").wait_for()
    answer = his.get_by_label("Answer writer0@x.example")
    answer.fill("Press")
    hers.get_by_text("Ben is typing").wait_for()
    site.store.claims.claim(1, "ana", site.app.clock.now(), over=True, holder="ben")
    hers.get_by_text("you are answering", exact=True).wait_for()
    his.get_by_text("Ana is answering").wait_for()
    expect(answer).to_have_value("Press")
    his.get_by_text("Ana is answering").click()
    his.get_by_role("button", name="Take it from Ana").click()
    his.get_by_text("you are answering", exact=True).wait_for()
    hers.get_by_text("Ben is answering").first.wait_for()


def test_what_comes_in_arrives_in_every_one_of_eight_tabs(site: LiveSite, open_page: OpenPage) -> None:
    """They share one stream, since a browser opens six connections to a server at most. Focus and ticks stay."""
    first = open_page(name="cleo")
    tabs = [first, *(first.context.new_page() for _ in range(7))]
    for tab in tabs:
        tab.goto("/")
    last = tabs[7]
    last.locator("#row-1 input").check()
    last.focus("#row-2 a")
    site.arrives("it arrived by itself")
    for tab in tabs:
        tab.get_by_text("it arrived by itself").wait_for()
    assert last.evaluate("document.activeElement.closest('.row').id") == "row-2"
    expect(last.locator("#row-1 input")).to_be_checked()
    assert last.title() == "(1) Queue · triage"
    expect(last.locator("#live")).to_have_text("1 new in the list")
    last.keyboard.press("Shift")
    assert last.title() == "Queue · triage"
    tabs[0].close()  # which may be the one that reads the stream
    tabs[1].close()
    site.arrives("and once more")
    for tab in tabs[2:]:
        tab.get_by_text("and once more").wait_for()


def test_a_lost_stream_is_told_quietly_and_comes_back(site: LiveSite, open_page: OpenPage, watch: Watch) -> None:
    """What happened meanwhile is asked for then."""
    page = open_page(name="dana")
    page.context.route("**/live?*", lambda route: route.abort())
    page.goto("/")
    page.get_by_text("not live since").wait_for()
    site.arrives("while nobody listened")
    page.context.unroute("**/live?*")
    page.get_by_text("while nobody listened").wait_for()
    page.get_by_text("not live since").wait_for(state="detached")
    watch.expect("ERR_FAILED")


def test_a_tab_that_was_logged_out_comes_back_by_itself(
    site: LiveSite, open_page: OpenPage, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its person logs in again in another tab of the browser: what they had typed stays, and is saved again from there."""
    monkeypatch.setattr(live, "SESSION_SECONDS", 0.0)
    tab = open_page(name="fay")
    tab.goto("/mentions/1")
    answer = tab.get_by_label("Answer writer0@x.example")
    answer.fill("Half")
    answer.blur()
    tab.get_by_text("draft saved").wait_for()
    fay, now = site.store.people.named("fay"), site.app.clock.now()
    site.store.sessions.end_all(fay, now, "boss")
    site.arrives("which nobody is told")
    tab.get_by_text("you were logged out").wait_for()
    session = site.store.sessions.start(fay, datetime.now(UTC), address="", agent="")
    tab.context.add_cookies([{"name": "triage", "value": session, "url": site.url}])
    other = tab.context.new_page()
    other.goto("/")
    tab.get_by_text("which nobody is told").wait_for()
    expect(answer).to_have_value("Half")
    answer.fill("Half an answer")
    answer.blur()
    assert eventually(lambda: [one.text for one in site.store.drafts.of(1) if one.person == "fay"] == ["Half an answer"])
    other.context.add_cookies([{"name": "triage", "value": site.session(Role.VIEWER, "gus"), "url": site.url}])
    other.reload()
    tab.get_by_text("somebody else has logged in").wait_for()
    watch.found = [one for one in watch.found if "status of 40" not in one]  # a page may have asked while nobody was logged in


def test_a_browser_without_locks_asks_now_and_then(site: LiveSite, open_page: OpenPage) -> None:
    """Over plain http to another machine there are none."""
    page = open_page(name="emil")
    page.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    page.clock.install()
    page.goto("/")
    site.arrives("without any stream")
    page.clock.fast_forward(21_000)
    page.clock.fast_forward(1_000)
    page.get_by_text("without any stream").wait_for()
