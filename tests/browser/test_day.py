"""A day with the queue: `triage web` as a process, a sandbox Mastodon with its ledger, and a worker's sweep, in a real browser.

The log-in is the real one, with a password; the ledger of the Mastodon tells what was posted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import CHROMIUM, PHONE, Site, Watch, started
from tests.conftest import NO_CHROMIUM
from tests.fixtures_services import eventually
from tests.service import HandClock, Service
from triage import config as configuration
from triage import tasks
from triage.guard import Guard
from triage.person import Role
from triage.pipeline import sweep
from triage.sandbox.mastodon import MastodonServer
from triage.store import Store

OpenPage = Callable[..., Page]

CONFIG = """
mode: act
state: {folder}
store: "{store}"
sources:
  quayside: {{platform: mastodon, url: "{url}", token: {{env: TOKEN_OF_QUAYSIDE}}, every: 1s}}
trackers:
  tickets: {{tracker: memory}}
audit: {{share: 0.0}}
rules:
  - {{name: question, when: {{label: support_question}}, then: task, reason: a question wants an answer}}
  - {{name: rest, then: task, reason: somebody looks}}
"""
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Day(Site):
    """The site, its worker and its Mastodon."""

    app: Service
    mastodon: MastodonServer
    log: Path

    def work(self) -> None:
        """What a worker does that comes by now."""
        self.app.clock.moment = datetime.now(UTC)
        sweep.once(self.app)

    def deliver(self) -> None:
        """What a worker sends that comes by when each hold is over; twice, for what should not be sent again."""
        for minutes in (1, 2):
            self.app.clock.moment = datetime.now(UTC) + timedelta(minutes=minutes)
            for lane, job in sweep.lanes(self.app, sweep.due(self.app)).items():
                if lane.startswith("deliver"):
                    job()

    def post(self, text: str, author: str = "mira@x.example") -> int:
        """Somebody posts; the mention's number once a worker has fetched and judged it."""
        self.mastodon.post(author, text)

        def found() -> list[int]:
            self.work()
            return [row["mention"] for row in self.store.views.queue() if text in (row["text"] or "")]

        assert eventually(lambda: bool(found())), f"{text!r} did not arrive"
        return found()[0]

    def sent(self, text: str) -> int:
        """How many posts of ours the Mastodon has with this text."""
        return sum(text in reply["text"] for reply in self.mastodon.replies)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[Day]:
    """One for this file."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    folder = tmp_path_factory.mktemp("day")
    address = f"sqlite:///{folder}/triage.db"
    with MastodonServer(folder / "mastodon") as mastodon:
        config = CONFIG.format(folder=folder, store=address, url=mastodon.url)
        env = {"TOKEN_OF_QUAYSIDE": mastodon.token}
        app = Service(configuration.parse(config, folder / "config.yaml", env), clock=HandClock())
        tasks.know_sources(app)
        sweep.once(app)
        with started(folder, config, guard, env) as url:
            yield Day(url, Store(address), [], app, mastodon, folder / "web.log")
        app.close()


def chosen(page: Page, mention: int) -> None:
    """The item is shown."""
    expect(page.locator("#item > .item")).to_have_attribute("data-id", str(mention))
    expect(page.locator("#reply[data-at]")).to_be_visible()


def told(page: Page, words: str) -> None:
    expect(page.locator("#said")).to_contain_text(words)


def test_the_first_link_makes_an_admin_who_then_logs_in_by_password(site: Day, open_page: OpenPage, watch: Watch) -> None:
    """The link works once; log-out ends it; a wrong password is told."""
    page = open_page(None)
    link = re.search(r"http\S+/welcome\?token=\S+", site.log.read_text())
    assert link, site.log.read_text()
    page.goto(link[0])
    page.get_by_label("Name to log in with").fill("robin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#list")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.goto("/people")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    for password in ("not this one", PASSWORD):
        page.get_by_label("Name").fill("robin")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        if password != PASSWORD:
            expect(page.get_by_role("alert").filter(has_text=re.compile("name|password"))).to_be_visible()
            watch.expect("40")
    expect(page.get_by_role("heading", name="People")).to_be_visible()
    page.goto(link[0])
    expect(page.get_by_role("button", name="Begin")).to_be_hidden()
    watch.expect("40")


def test_a_list_is_worked_off_by_keys(site: Day, open_page: OpenPage) -> None:
    """Labels, ticket, note, assign, sleep, archive, help and search; the last deed is taken back."""
    ids = [site.post(f"hello, {what}, maybe", f"{what}@x.example") for what in ("wind", "rain", "snow", "fog")]
    page = open_page()
    page.goto("/")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(f"#row-{ids[0]} a").click()
    chosen(page, ids[0])
    page.keyboard.press("1")
    told(page, "it is a bug now")
    page.keyboard.press("j")
    expect(page.locator("#item")).not_to_have_attribute("data-id", str(ids[0]))
    page.goto(f"/mentions/{ids[1]}")
    page.keyboard.press("n")
    page.keyboard.type("ask the ones who know")
    page.get_by_role("button", name="Keep the note").press("Enter")
    expect(page.locator(".notes li")).to_contain_text("ask the ones who know")
    page.keyboard.press("a")
    page.get_by_role("button", name="I take it").press("Enter")
    told(page, "you have it now")
    page.keyboard.press("t")
    told(page, "the ticket is on its way")
    page.goto(f"/mentions/{ids[2]}")
    page.keyboard.press("h")
    page.get_by_role("button", name="3 hours").press("Enter")
    told(page, "it sleeps until")
    page.goto(f"/mentions/{ids[3]}")
    page.keyboard.press("e")
    told(page, "archived")
    expect(page.locator("#item > .item")).not_to_have_attribute("data-id", str(ids[3]))  # the next one has come
    page.keyboard.press("z")
    told(page, "the task is open again")
    chosen(page, ids[3])
    page.keyboard.press("/")
    expect(page.get_by_label("Search everything")).to_be_focused()
    site.deliver()
    assert [row["state"] for row in site.app.actions("ticket")] == ["done"]


def test_an_answer_is_taken_back_in_its_hold_and_then_sent_once(site: Day, open_page: OpenPage) -> None:
    """Nothing was posted before; the text is a draft again; sent, the ledger has it once."""
    site.post("how do I count my notes?", "noor@x.example")  # there is another item to go on to
    mention = site.post("how do I export my notes?")
    page = open_page()
    page.goto(f"/mentions/{mention}")
    page.keyboard.press("r")  # at once, while the panel is on its way
    expect(page.get_by_label("Answer mira@x.example")).to_be_focused()
    page.keyboard.type("Under File, then Export.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#said")).not_to_be_empty()
    expect(page.locator("#item")).not_to_have_attribute("data-id", str(mention))
    page.keyboard.press("z")
    told(page, "the answer is a draft again")
    site.deliver()
    assert site.sent("Under File") == 0
    chosen(page, mention)
    expect(page.locator("form.answer textarea")).to_have_value("Under File, then Export.")
    page.get_by_role("button", name="Send, held").click()
    expect(page.locator("#said")).not_to_contain_text("draft")
    assert eventually(lambda: any(row["state"] == "planned" for row in site.app.actions("reply")))
    site.deliver()
    assert site.sent("Under File") == 1


def test_of_two_who_answer_at_once_one_does(site: Day, open_page: OpenPage, watch: Watch) -> None:
    """They see each other; the second is told who was first and keeps the text; one post is in the ledger."""
    mention = site.post("how do I share a notebook?")
    hers, his = open_page(name="ana"), open_page(name="ben")
    for page in (hers, his):
        page.goto(f"/mentions/{mention}")
    hers.get_by_text("Ben is looking").wait_for()
    hers.locator("form.answer textarea").fill("By the button Share, says Ana.")
    his.get_by_text("Ana is typing").wait_for()
    his.locator("form.answer textarea").fill("By the button Share, says Ben.")
    hers.get_by_role("button", name="Send, held").click()
    expect(hers.locator("#said")).not_to_be_empty()
    his.get_by_role("button", name="Send, held").click()
    expect(his.locator("#refused")).to_contain_text(re.compile("ana", re.IGNORECASE))
    expect(his.locator("form.answer textarea")).to_have_value("By the button Share, says Ben.")
    watch.expect("40")
    site.deliver()
    assert (site.sent("says Ana"), site.sent("says Ben")) == (1, 0)


def test_what_comes_in_is_shown_and_found(site: Day, open_page: OpenPage) -> None:
    """Without a reload; by its words, and with a typo."""
    page = open_page()
    page.goto("/")
    expect(page.locator("#rows")).not_to_contain_text("kaleidoscope")
    mention = site.post("how do I get the kaleidoscope back?")
    page.locator(f"#row-{mention}").wait_for()
    for words in ("kaleidoscope", "kaleidoskope"):
        page.keyboard.press("/")
        page.get_by_label("Search everything").fill(words)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(words))
        expect(page.locator(f"#row-{mention}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(site: Day, open_page: OpenPage, scheme: str) -> None:
    """One pane at a time and the way back; nothing scrolls sideways; the dark scheme is dark."""
    mention = site.post(f"how do I read it on a phone, {scheme}?")
    page = open_page(Role.ADMIN, viewport=PHONE, has_touch=True, is_mobile=True, color_scheme=scheme)
    for to in ("/sources", "/insights", "/people", "/me", "/privacy", "/"):
        page.goto(to)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], to
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 3 * 64) == (scheme == "dark")
    page.locator(f"#row-{mention} a").tap()
    chosen(page, mention)
    expect(page.locator("#list")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.get_by_role("link", name="Back to the list").tap()
    expect(page.locator("#list")).to_be_visible()
    expect(page.locator(f"#row-{mention}")).to_be_visible()
