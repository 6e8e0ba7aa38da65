"""Budgets, 429s, refused tokens, outages and the brake, against stand-in servers, with a clock moved by hand for us and for them."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.service import HandClock, Service
from triage import config as configuration
from triage import tasks
from triage.budget import POSTS, Purpose, Use
from triage.pipeline import intake, people, sweep
from triage.sandbox.jira import JiraServer
from triage.sandbox.mastodon import MastodonServer
from triage.store import Store
from triage.store.schema import accounts

CONFIG = """
mode: act
state: {folder}
store: "{store}"
sources:
  quay: {{platform: mastodon, url: "{mastodon}", token: {{file: "{token}"}}, own_posts: false, every: 30s, brake: 5000}}
  acme: {{platform: memory, every: 1h}}
trackers:
  tickets: {{tracker: jira, url: "{jira}", deployment: cloud, user: "{user}", token: {{env: JIRA}}, project: QUAY}}
notifiers:
  oncall: {{notifier: memory}}
rules:
  - {{name: bug, when: {{words: [broken]}}, then: ticket, reason: a bug is filed}}
  - {{name: all, then: task, reason: a person answers}}
"""
FORMS = ["0", "-5", "86400", "date", "past", "junk", "empty", "twice", "none", "iso", "epoch", "45"]


class World:
    """Several workers of one service, a Mastodon and a Jira, all on one clock."""

    def __init__(self, folder: Path, store: str) -> None:
        self.clock = HandClock()
        self.mastodon = MastodonServer(folder / "ledgers").start()
        self.jira = JiraServer(folder / "ledgers").start()
        self.token = folder / "token"
        self.token.write_text(self.mastodon.token)
        self._text = CONFIG.format(
            folder=folder, store=store, mastodon=self.mastodon.url, jira=self.jira.url, user=self.jira.email, token=self.token
        )
        self._folder = folder
        self.workers: list[Service] = []
        self.app = self.worker()
        sweep.once(self.app)
        self._asked = 0
        self.said: list[Any] = []

    def worker(self) -> Service:
        """One more worker, as a process of its own would be."""
        made = Service(configuration.parse(self._text, self._folder / "config.yaml", {"JIRA": self.jira.token}), clock=self.clock)
        tasks.know_sources(made)
        self.workers.append(made)
        return made

    def pass_(self, **by: float) -> None:
        """Move everybody's clock and let each worker do all that is due."""
        self.clock.move(**by)
        for server in (self.mastodon, self.jira):
            server.knobs.skew += timedelta(**by).total_seconds()
        for worker in self.workers:
            sweep.once(worker)

    def asked(self, server: MastodonServer | JiraServer, method: str = "", path: str = "", fault: str = "") -> int:
        """How many such requests a server saw."""
        return sum(
            method in ("", one["method"]) and path in one["path"] and (not fault or str(one["fault"]).startswith(fault))
            for one in server.requests
        )

    def reply(self, text: str) -> None:
        """Somebody asks, and a person answers; the answer waits to be sent."""
        self.mastodon.post("mira@x.example", f"how do I do it? {text}")

    def answer_all(self) -> None:
        """A person answers every open task, while the account can't send."""
        for row in self.app.queue():
            if row["state"] == "open":
                people.answer(self.app, row["id"], f"like this, for number {row['mention']}", "ana")

    def states(self, kind: str) -> Counter[str]:
        return Counter(row["state"] for row in self.app.actions(kind))

    def alerts(self) -> list[str]:
        return [row["name"] for row in self.app.store.views.status(self.clock.now())["alerts"]]

    def account(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.app.store.views.status(self.clock.now())["accounts"] if one["name"] == name]
        return dict(found)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()
        for server in (self.mastodon, self.jira):
            server.stop()
            server.ledger.close()


@pytest.fixture
def world(tmp_path: Path, store_url: str) -> Iterator[World]:
    made = World(tmp_path, store_url)
    yield made
    made.close()


def test_a_429_in_any_form_loses_nothing_and_sends_nothing_twice(world: World) -> None:
    """On a poll, on each kind of write, and on the reading that comes before a write: each is refused once, then all is done."""
    kinds = [(world.mastodon, "GET", "/notifications"), (world.mastodon, "GET", "/statuses"), (world.mastodon, "POST", "/statuses")]
    for form in FORMS:
        world.mastodon.post("mira@x.example", f"it is broken by {form}")
        world.mastodon.post("mira@x.example", f"how do I do {form}?")
        world.pass_(minutes=2)
        world.mastodon.post("mira@x.example", f"broken again by {form}")
        faults = [
            server.faults.add(kind=f"429:{form}", method=method, path=path)
            for server, method, path in [*kinds, (world.jira, "POST", "/issue")]
        ]
        world.clock.move(seconds=40)  # else the post was read just now, and is not read again
        world.answer_all()
        for _ in range(8):
            world.pass_(minutes=61)
            if all(fault.hits for fault in faults) and not (world.states("reply") + world.states("ticket"))["planned"]:
                break
        assert [fault.hits for fault in faults] == [1, 1, 1, 1], form
        assert set(world.states("reply")) == {"done"}, form
        assert set(world.states("ticket")) == {"done"}, form
    told = [reply["text"] for reply in world.mastodon.replies]
    assert len(told) == len(set(told)) == world.states("reply")["done"] == len(FORMS)
    labels = [label for ticket in world.jira.tickets for label in ticket.labels if label.startswith("triage-")]
    assert len(labels) == len(set(labels)) == world.states("ticket")["done"] == len(FORMS) * 2
    assert world.app.store.views.count() == len(FORMS) * 3
    assert world.alerts() == []


@pytest.mark.parametrize("form", ["0", "120"])
def test_a_storm_of_429s_costs_few_calls(world: World, form: str) -> None:
    """An hour of it, with 30 tickets waiting and two workers: some twenty calls, and each ticket once in the end."""
    world.worker()
    world.jira.faults.add(kind=f"429:{form}", times=None)
    for number in range(30):
        world.mastodon.post("mira@x.example", f"it is broken, {number}")
    for _ in range(40):
        world.pass_(seconds=90)
    assert 3 <= world.asked(world.jira, fault="429") <= 40
    assert world.account("tickets")["state"] == "paused"
    assert world.alerts() == ["TrackerFailing"]
    world.jira.faults.clear()
    for _ in range(12):
        world.pass_(seconds=30)
    assert world.states("ticket") == {"done": 30}
    assert len(world.jira.tickets) == 30
    assert max(row["attempt"] for row in world.app.actions("ticket")) < 40
    assert world.alerts() == []


def test_a_restart_does_not_forget_that_a_server_asked_for_rest(world: World) -> None:
    """The pause of a refused token is forgotten, since the token may be new; a 429 is not."""
    store, now = world.app.store, world.clock.now()
    store.accounts.failed("tracker", "tickets", "429", now, pause=False, after=1800.0)
    store.accounts.failed("source", "quay", "401", now, pause=True)
    tasks.begin(world.app)
    assert store.accounts.rests("tickets", now)
    assert not store.accounts.rests("quay", now)
    assert store.accounts.leave("quay", Purpose.POLL, now).probe  # one tries the new token
    assert not store.accounts.leave("quay", Purpose.POLL, now).go  # and the others wait for what comes of it


def test_a_refused_token_costs_one_call_a_step_whatever_waits(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Three workers, 100 answers and the polls: a call at once, after 5, 20, 80 minutes; one line, one alert; the rest goes on."""
    world.worker()
    world.worker()
    for number in range(100):
        world.reply(str(number))
    world.pass_(seconds=30)
    world.mastodon.knobs.revoked = True
    caplog.clear()
    world.answer_all()
    refused = []
    for _ in range(14):
        before = world.asked(world.mastodon)
        world.pass_(minutes=5)
        refused.append(world.asked(world.mastodon) - before)
    assert [step for step, calls in enumerate(refused) if calls] == [0, 1, 4]
    assert sum(refused) == 3
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1, warned
    assert world.alerts() == ["AccountPaused"]
    assert world.account("tickets")["state"] == world.account("acme")["state"] == "ok"
    world.mastodon.knobs.revoked = False
    for _ in range(20):
        world.pass_(seconds=55)
    assert world.states("reply") == {"done": 100}
    assert len(world.mastodon.replies) == len({reply["text"] for reply in world.mastodon.replies}) == 100
    assert world.alerts() == []


def test_a_new_token_in_its_file_needs_no_restart(world: World) -> None:
    """It is read when the account is tried again; a file that is empty at that moment changes nothing."""
    world.pass_(seconds=30)
    new = world.mastodon.renew_token()
    world.pass_(seconds=30)
    assert world.alerts() == ["AccountPaused"]
    world.token.write_text("")
    world.pass_(minutes=5)
    world.token.write_text(new)
    world.pass_(minutes=16)
    assert world.alerts() == []
    world.mastodon.post("mira@x.example", "hello there")
    world.pass_(seconds=30)
    assert world.app.store.views.count() == 1


def test_a_tracker_that_is_away_for_six_hours_is_asked_seldom_and_filled_steadily(world: World) -> None:
    """Hundreds of tickets wait; two workers. A call every five minutes; when it is back they go out one a second, the oldest first."""
    world.worker()
    count = 200 if world.app.store.database.is_sqlite else 120  # more of them would say nothing new
    for number in range(count):
        world.mastodon.post(f"author{number}@x.example", f"it is broken, {number}")
    world.jira.faults.add(kind="reset_before", times=None)
    for _ in range(60):
        world.pass_(minutes=6)
    assert world.states("ticket") == {"planned": count - 3, "doubt": 3}  # from the third failure on only looks try it
    assert 50 <= world.asked(world.jira) <= 90
    assert world.alerts() == ["TrackerFailing"]
    world.jira.faults.clear()
    before = len(world.jira.requests)
    world.pass_(minutes=6)
    rates = [world.asked(world.jira, "POST")]
    for _ in range(60):
        world.pass_(seconds=10)
        rates.append(world.asked(world.jira, "POST"))
        if world.states("ticket")["done"] == count:
            break
    assert world.states("ticket") == {"done": count}
    made = [len([one for one in world.jira.requests[before:] if one["method"] == "POST"])]
    assert made == [count]
    steps = [later - earlier for earlier, later in pairwise(rates)]
    assert max(steps) <= 12  # after the first twenty one a second
    filed = [int(ticket.summary.rpartition(" ")[2]) for ticket in world.jira.tickets]
    later = [number for number in filed if number > 2]  # those before had tried, were in doubt, and are looked for before they go again
    assert later == sorted(later)
    assert world.alerts() == []


def test_a_source_that_is_away_is_tried_by_one_at_a_time(world: World) -> None:
    """503 on everything for six hours, with 60 answers and 10 doubts waiting: the doubts are not looked at either."""
    for number in range(60):
        world.reply(str(number))
    world.pass_(seconds=30)
    world.mastodon.faults.add(kind="status_before:503", times=None)
    world.answer_all()
    before = len(world.mastodon.requests)
    for _ in range(60):
        world.pass_(minutes=6)
    assert len(world.mastodon.requests) - before <= 90
    assert world.alerts() == ["SourceFailing"]
    world.mastodon.faults.clear()
    for _ in range(40):
        world.pass_(seconds=30)
    assert set(world.states("reply")) <= {"done"}
    assert len(world.mastodon.replies) == len({reply["text"] for reply in world.mastodon.replies}) == 60
    assert world.alerts() == []


def test_a_poll_leaves_a_share_for_answers_and_goes_on_from_where_it_was(world: World) -> None:
    """A burst of 1,000 mentions and a limit of 40 requests: a fifth of it stays, all is read in the end, an answer goes out between."""
    world.reply("first")
    world.pass_(seconds=30)
    world.mastodon.knobs.rate_limit = 40
    world.mastodon.knobs.page_limit = 20
    for number in range(1000):
        world.mastodon.post("mira@x.example", f"hello {number}")
    world.pass_(seconds=31)
    assert 0 < world.app.store.views.count() < 1001
    requests = world.account("quay")["requests"]
    assert 5 <= requests["left"] <= 8
    assert requests["limit"] == 40
    first = next(row for row in world.app.queue() if "first" in row["text"])
    people.answer(world.app, first["id"], "like this", "ana")
    world.pass_(seconds=1)
    assert len(world.mastodon.replies) == 1
    for _ in range(40):
        world.pass_(minutes=2)
    assert world.app.store.views.count() == 1001
    assert not [one for one in world.mastodon.requests if one["status"] == 429]


def test_answers_beyond_the_limit_on_posts_are_held_and_people_get_the_hint(world: World) -> None:
    """The limit is told by the answers to posts; what is beyond it waits for the next three hours, and polls go on."""
    world.mastodon.knobs.posts_limit = 8
    for number in range(20):
        world.reply(str(number))
    world.pass_(seconds=30)
    world.answer_all()
    world.pass_(minutes=1)
    world.pass_(minutes=1)
    assert world.states("reply") == {"done": 8, "planned": 12}
    held = [row for row in world.app.queue() if row["state"] == "held"]
    assert len(held) == 12
    assert held[0]["reason"].startswith("the 8 posts that the server takes are spent until ")
    assert world.account("quay")["posts"]["left"] == 0
    assert world.account("quay")["state"] == "ok"
    assert world.alerts() == ["ManyAnswers"]
    assert "one public post" in world.app.store.views.status(world.clock.now())["alerts"][0]["summary"]
    world.mastodon.post("eve@x.example", "hello")
    world.pass_(minutes=1)
    assert world.app.store.views.count() == 21
    assert world.asked(world.mastodon, "POST", "/statuses") == 8
    world.pass_(hours=3)
    world.pass_(minutes=1)
    world.pass_(hours=3)
    world.pass_(minutes=2)
    assert world.states("reply") == {"done": 20}
    assert world.alerts() == []


def test_a_limit_on_posts_that_is_found_by_a_429_keeps_answers_alone(world: World) -> None:
    """Somebody else posted with the same account: one refused post, and the source is polled on."""
    for number in range(5):
        world.reply(str(number))
    world.pass_(seconds=30)
    world.answer_all()
    world.mastodon.knobs.posts_limit = 0
    for _ in range(6):
        world.pass_(minutes=1)
    assert world.asked(world.mastodon, "POST", "/statuses") == 1
    world.mastodon.post("eve@x.example", "hello")
    world.pass_(minutes=1)
    assert world.app.store.views.count() == 6
    world.mastodon.knobs.posts_limit = None
    for _ in range(4):
        world.pass_(hours=1)
    assert world.states("reply") == {"done": 5}


def test_where_a_server_says_nothing_we_count(world: World) -> None:
    """Against what its kind of server allows, and several workers count together."""
    world.worker()
    world.mastodon.knobs.rate_headers = False
    for _ in range(10):
        world.pass_(seconds=21)
        world.mastodon.post("mira@x.example", "hello")
    asked = world.asked(world.mastodon)
    known = world.account("quay")["requests"]
    assert known["limit"] == 300
    assert abs((300 - known["left"]) - asked) <= 20  # up to nine a process are not written down yet


def test_a_rescan_that_finds_little_left_comes_later(world: World) -> None:
    """It needs three fifths of the limit; the poll goes on meanwhile."""
    store = world.app.store
    store.accounts.spent("source", "quay", "", Use(1, 300, 150, 240.0), world.clock.now(), None)
    with store.database.write() as connection:
        connection.execute(
            sa.update(accounts).where(accounts.c.name == "quay").values(rescan_at=world.clock.now(), due_at=world.clock.now())
        )
    assert intake.rescan(world.app, ["quay"]) == []
    with store.database.read() as connection:
        row = connection.execute(sa.select(accounts).where(accounts.c.name == "quay")).mappings().one()
    assert row["rescan_at"] == world.clock.now() + timedelta(seconds=240)
    before = world.asked(world.mastodon, "GET", "/notifications")
    intake.poll(world.app, ["quay"])
    assert world.asked(world.mastodon, "GET", "/notifications") == before + 1


def test_backfill_waits_for_its_share(world: World) -> None:
    """It is told until when and why, and goes on."""
    store = world.app.store
    store.accounts.spent("source", "quay", "", Use(1, 300, 10, 240.0), world.clock.now(), None)
    waits: list[str] = []

    def wait(until: Any, why: str) -> None:
        waits.append(why)
        world.clock.moment = until

    intake.backfill(world.app, "quay", world.clock.now() - timedelta(days=1), act=False, progress=lambda _: None, wait=wait)
    assert len(waits) == 1
    assert "10 of 300 requests are left" in waits[0]


def test_status_and_metrics_tell_the_budget(world: World) -> None:
    """The limit, what is left, and when it is whole again."""
    from triage import metrics
    from triage.store import health

    world.app.store.accounts.spent("source", "quay", "", Use(1, 300, 120, 240.0), world.clock.now(), None)
    world.app.store.accounts.spent("source", "quay", POSTS, Use(1, 300, 7, 3600.0), world.clock.now(), None)
    snapshot = health.snapshot(world.app.store.database, world.clock.now(), mode="act", sources=["quay"], others=[])
    text = metrics.render(snapshot).decode()
    assert 'triage_budget_left{account="quay",role="source",what="requests"} 120.0' in text
    assert 'triage_budget_limit{account="quay",role="source",what="posts"} 300.0' in text
    assert 'triage_budget_reset_seconds{account="quay",role="source",what="posts"} 3600.0' in text


def test_the_brake_holds_when_many_claim_at_the_same_moment(tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight workers, 24 tickets, a brake of 5: each would count before the others have committed, if they did not take turns."""
    from tests.service import service
    from triage.store.outbox import Outbox

    app = service(tmp_path, store_url, source=", brake: 5")
    for number in range(24):
        app.acme.post(f"author{number}@x.example", f"it is broken {number}")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    from triage.pipeline.judge import process

    process(app)
    ids = [row["id"] for row in app.actions("ticket")]
    assert len(ids) == 24
    slow = Outbox._work

    def work(self: Outbox, *given: Any) -> Any:
        time.sleep(0.05)  # between the count and the commit
        return slow(self, *given)

    monkeypatch.setattr(Outbox, "_work", work)
    stores = [Store(store_url, brake={"acme": 5}) for _ in range(8)]
    start = threading.Barrier(8)
    claimed: list[int] = []

    def claim(store: Store, mine: list[int]) -> None:
        start.wait()
        claimed.extend(action_id for action_id in mine if store.outbox.claim(action_id, app.clock.now()) is not None)

    threads = [threading.Thread(target=claim, args=(store, ids[number::8])) for number, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert len(claimed) == 5
    assert Counter(row["state"] for row in app.actions("ticket")) == {"sending": 5, "parked": 19}
    app.close()


def test_a_restart_does_not_reset_the_brake(tmp_path: Path, store_url: str) -> None:
    """What was filed within the hour counts, whoever filed it; what was parked stays so until a person says otherwise."""
    from tests.service import service

    app = service(tmp_path, store_url, source=", brake: 2")
    for number in range(3):
        app.acme.post("mira@x.example", f"it is broken {number}")
    app.pass_()
    clock = app.clock
    app.close()
    clock.move(minutes=30)
    again = service(tmp_path, store_url, source=", brake: 2", clock=clock, started=False)
    again._made["platforms", "acme"] = app.acme
    tasks.begin(again)
    again.acme.post("mira@x.example", "it is broken 9")
    again.pass_()
    assert Counter(row["state"] for row in again.actions("ticket")) == {"done": 2, "parked": 2}
    again.pass_(minutes=31)
    again.acme.post("mira@x.example", "it is broken 10")
    again.pass_()
    assert Counter(row["state"] for row in again.actions("ticket")) == {"done": 3, "parked": 2}
    again.close()
