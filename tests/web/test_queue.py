"""The list as a person sees it: tabs, filters, search, saved lists, many items at once, and what it says when it is empty."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.service import Service, service
from triage.errors import NotAccepted, UserError
from triage.mention import Visibility
from triage.person import Person, Role
from triage.store.filters import Filters
from triage.store.schema import items
from triage.web import create
from triage.web.access import csrf
from triage.web.queue import wakes

URL = "http://127.0.0.1:8321"
RULES = """
rules:
  - {name: alarm, when: {words: [data]}, then: task, urgent: true, reason: it is urgent}
  - {name: bug, when: {label: bug_report}, then: [ticket, task], reason: a bug}
  - {name: question, when: {label: support_question}, then: task, reason: a question}
  - {name: rest, then: archive, reason: the rest}
"""


class Visitor:
    """Somebody's browser."""

    def __init__(self, app: Service, role: Role = Role.TRIAGER, name: str = "ana") -> None:
        now = app.clock.now()
        person = app.store.people.come(app.store.people.invite(role, "triage", now), name, name.title(), "", now)
        self.session = app.store.sessions.start(person, now, address="", agent="")
        self.client = TestClient(create(app), base_url=URL, follow_redirects=False)
        self.client.cookies.set("triage", self.session)

    def get(self, path: str = "/") -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def ids(self, path: str = "/rows") -> list[int]:
        return [int(id_) for id_ in re.findall(r'id="row-(\d+)"', self.get(path))]

    def post(self, path: str, part: bool = True, **form: Any) -> Any:
        headers = {"Origin": URL, "X-CSRF-Token": csrf(self.session)} | ({"HX-Request": "true"} if part else {})
        return self.client.post(path, data=form, headers=headers)

    def told(self, path: str, **form: Any) -> dict[str, Any]:
        answer = self.post(path, **form)
        found: dict[str, Any] = json.loads(answer.headers["HX-Trigger"])
        return found


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """Six posts on each database: a question, a bug, one that is urgent, praise, a private question, and a bug that is not sure."""
    made = service(tmp_path, store_url, rules=RULES)
    made.acme.post("noor@x.example", "how do I sync my notes?")
    made.acme.post("mira@x.example", "sync is broken since the update, I am furious")
    made.acme.post("vera@y.example", "all my data is gone, how?")
    made.acme.post("omar@y.example", "love it")
    made.acme.post("lena@y.example", "how do I reset it?", visibility=Visibility.DIRECT)
    made.acme.post("noor@x.example", "maybe it is broken")
    made.pass_()
    yield made
    made.close()


@pytest.fixture
def ana(app: Service) -> Visitor:
    """A triager."""
    return Visitor(app)


def text_of(html: str) -> str:
    """What a screen reader reads, about."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_what_is_urgent_comes_first_then_the_oldest(app: Service, ana: Visitor) -> None:
    """Praise that was archived is not open; it is among all, newest first."""
    assert ana.ids() == [3, 1, 2, 5, 6]
    assert ana.ids("/rows?state=all") == [6, 5, 4, 3, 2, 1]


def test_a_row_tells_in_words(app: Service, ana: Visitor) -> None:
    """Who, where, what, how sure, how long ago, why it is here, and its ticket."""
    told = text_of(ana.get("/rows"))
    for words in (
        "bug 95 %",
        "mira@x.example",
        "sync is broken since the update",
        "angry",
        "urgent",
        "only to us",
        "a question",
        "MEM-1",
        "40 % not sure",
        "Select the post by noor@x.example",
        "written",
    ):
        assert words in told, words


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("label=bug_report", [2, 6]),
        ("label=nonsense", [3, 1, 2, 5, 6]),
        ("source=acme&label=support_question", [3, 1, 5]),
        ("source=nowhere", []),
        ("private=1", [5]),
        ("angry=1", [2]),
        ("unsure=1", [6]),
        ("assigned=nobody", [3, 1, 2, 5, 6]),
        ("assigned=ana", []),
        ("language=de", []),
        ("q=sync", [1, 2]),
        ("q=sync+label:bug", [2]),
        ("q=-sync", [3, 5, 6]),
        ("q=ticket:mem-1", [2]),
        ("state=all&q=author:noor", [6, 1]),
        ("state=all&q=author:noor@x.example+maybe", [6]),
        ("state=all&q=love", [4]),
        ("state=all&q=love&label=praise", [4]),
        ("state=all&q=love&label=noise", []),
        ("state=all&label=praise", [4]),
        ("state=all&q=-how+-broken", [4]),
        ("state=all&q=ticket:MEM-1", [2]),
        ("state=all&q=brokn", [6, 2]),
        ("state=all&q=%22+AND+(", []),
        ("state=nonsense", [3, 1, 2, 5, 6]),
        ("after=nonsense", [3, 1, 2, 5, 6]),
        ("state=all&after=nonsense", [6, 5, 4, 3, 2, 1]),
    ],
)
def test_filters_and_search(app: Service, ana: Visitor, query: str, ids: list[int]) -> None:
    """The page and its rows alone say the same."""
    assert ana.ids(f"/rows?{query}") == ids
    assert ana.ids(f"/?{query}") == ids


def test_a_list_comes_in_pieces(app: Service) -> None:
    """Each begins where the one before ended, in every state; nothing is left out and nothing comes twice."""
    queue, now = app.store.queue, app.clock.now()
    for id_ in range(1, 7):
        app.store.items.assign(id_, None, "ana", now)
    with app.store.database.write() as connection:
        for id_ in range(1, 7):
            values = {
                "answered_at": now - timedelta(hours=id_ % 4),
                "answered_by": "ana",
                "snoozed_until": now + timedelta(hours=id_ % 3 + 1),
            }
            connection.execute(sa.update(items).where(items.c.mention_id == id_).values(values))
    later = now + timedelta(hours=9)
    for state, at in (("open", later), ("all", now), ("answered", now), ("snoozed", now)):
        whole = [row.mention for row in queue.page(Filters(state), "ana", at).rows]
        assert len(whole) >= 5
        pieces: list[int | None] = []
        after = ""
        while True:
            page = queue.page(Filters(state), "ana", at, after, 2)
            pieces += [row.mention for row in page.rows]
            if not (after := page.after):
                break
        assert pieces == whole, state


def test_a_long_list_has_a_button_for_more(app: Service, ana: Visitor) -> None:
    """It asks for the next rows with the same filters."""
    for number in range(60):
        app.acme.post(f"w{number}@x.example", f"how do I sync {number}?")
    app.pass_()
    html = ana.get("/rows?label=support_question")
    more = re.search(r'hx-get="(/rows\?after=[^"]+)"', html)
    assert more
    rest = unescape(more[1])
    assert "label=support_question" in rest
    first, second = ana.ids("/rows?label=support_question"), ana.ids(rest)
    assert (len(first), len(second), set(first) & set(second)) == (50, 13, set())
    assert "That was all" in ana.get(rest)


def test_tabs_count(app: Service, ana: Visitor) -> None:
    """Open, mine, snoozed and waiting."""
    now = app.clock.now()
    app.store.items.assign(1, "ana", "ana", now)
    app.store.items.snooze(5, now + timedelta(hours=1), "ana", now)
    app.store.items.snooze(6, None, "ana", now)
    tabs = text_of(re.search(r'<nav id="tabs".*?</nav>', ana.get(), re.DOTALL)[0])  # type: ignore[index]
    assert tabs == "Open 3 Mine 1 Snoozed 2 Waiting Answered All"
    assert ana.ids("/rows?state=mine") == [1]
    assert ana.ids("/rows?state=snoozed") == [5, 6]
    assert "wakes in 1 h" in text_of(ana.get("/rows?state=snoozed"))
    assert "yours" in text_of(ana.get())
    app.clock.move(hours=2)
    assert 5 in ana.ids()
    assert 6 not in ana.ids()


def test_what_was_answered_waits_for_its_author(app: Service, ana: Visitor) -> None:
    """Until they write again in the thread; then it is no longer waited for, and the answer is still told of."""
    post = app.acme.post("vik@x.example", "how do I leave?")
    app.pass_()
    (mention,) = [row.mention for row in app.store.queue.page(Filters("all"), "ana", app.clock.now(), limit=1).rows]
    assert mention
    app.store.items.close(mention, "ana", app.clock.now())
    with app.store.database.write() as connection:
        connection.execute(sa.delete(items).where(items.c.mention_id == mention))
        connection.execute(sa.insert(items).values(mention_id=mention, answered_by="ana", answered_at=app.clock.now()))
    assert ana.ids("/rows?state=waiting") == ana.ids("/rows?state=answered") == [mention]
    assert "answered by ana" in text_of(ana.get("/rows?state=answered"))
    app.acme.post("vik@x.example", "thanks, how else?", reply_to=post.remote_id)
    app.pass_()
    assert ana.ids("/rows?state=waiting") == []
    assert ana.ids("/rows?state=answered") == [mention]
    assert "2 posts" in text_of(ana.get("/rows?state=answered"))


def test_what_is_mine_stays_until_it_is_done(app: Service, ana: Visitor) -> None:
    """Also a post that nobody had a task about; a closed one is gone."""
    now = app.clock.now()
    app.store.items.assign(4, "ana", "robin", now)
    app.store.items.assign(1, "ana", "robin", now)
    assert set(ana.ids("/rows?state=mine")) == {1, 4}
    ana.post("/bulk", do="close", ids=[1])
    assert ana.ids("/rows?state=mine") == [4]


def test_failures_are_loud(app: Service) -> None:
    """A refused ticket stays in the list, first, and says so."""
    app.tickets.fail("file", NotAccepted("refused"), times=99)
    app.acme.post("elif@x.example", "another thing is broken")
    app.pass_()
    for _ in range(60):
        app.pass_(hours=1)
    ana = Visitor(app)
    html = ana.get()
    assert "failed: parked" in text_of(html)
    assert 7 in ana.ids()[:2]


def test_a_task_without_a_post_is_closed_in_the_list(app: Service, ana: Visitor) -> None:
    """It has no page of its own."""
    app.store.desk.merge_task("triage/merge/1", "MEM-1 and MEM-2 are <b>one</b>", app.clock.now())
    html = ana.get()
    assert "MEM-1 and MEM-2 are &lt;b&gt;one&lt;/b&gt;" in html
    task = re.search(r"/tasks/(\d+)/close", html)
    assert task
    assert ana.told(f"/tasks/{task[1]}/close")["said"] == "closed"
    assert "belongs to no post" not in ana.get()
    assert "by ana" in ana.told(f"/tasks/{task[1]}/close")["refused"]
    assert "can&#39;t be" in ana.post(f"/tasks/{task[1]}/sing", part=False).text


def test_many_at_once(app: Service, ana: Visitor) -> None:
    """Label, assign, snooze and close by the verbs of single items; the trail names who did it."""
    assert ana.told("/bulk", do="label", label="praise", ids=[1, 2])["said"] == "2 items labelled praise"
    assert ana.ids("/rows?state=all&label=praise") == [4, 2, 1]
    assert ana.told("/bulk", do="assign", to="ana", ids=[3])["said"] == "1 item assigned to ana"
    assert ana.told("/bulk", do="snooze", until="3h", ids=[3], back="state=open&label=bug_report") == {
        "said": "1 item snoozed for 3 hours",
        "done": {"to": "/?label=bug_report"},
    }
    assert ana.ids("/rows?state=snoozed") == [3]
    events = [(event["who"], event["what"]) for event in app.store.views.show(3)["events"]]
    assert ("ana", "assigned") in events
    assert ("ana", "snoozed") in events


def test_what_could_not_be_done_is_told_for_each(app: Service, ana: Visitor) -> None:
    """The others are done all the same, with and without script."""
    told = ana.told("/bulk", do="close", ids=[1, 4, 99])
    assert told["refused"].startswith("1 item archived; not done: item 4: nothing is open")
    assert "item 99" in told["refused"]
    assert told["done"] == {"to": "/"}
    assert 1 not in ana.ids()
    answer = ana.post("/bulk", part=False, do="label", label="noise", ids=[2, 99])
    assert answer.status_code == 303
    assert "1 item labelled noise; not done: item 99" in text_of(ana.get())


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"do": "close"}, "nothing is selected"),
        ({"do": "sing", "ids": [1]}, "nothing that can be done here"),
        ({"do": "label", "label": "bugg", "ids": [1]}, "choose a label"),
        ({"do": "assign", "ids": [1]}, "choose a person"),
        ({"do": "snooze", "until": "x", "ids": [1]}, "choose until when"),
        ({"do": "close", "ids": list(range(201))}, "200 at most"),
        ({"do": "assign", "to": "nobody2", "ids": [1]}, "there is no colleague"),
    ],
)
def test_a_deed_that_makes_no_sense_is_refused(app: Service, ana: Visitor, form: dict[str, Any], why: str) -> None:
    """With the next step, and nothing is done."""
    assert why in ana.told("/bulk", **form)["refused"]
    assert ana.ids() == [3, 1, 2, 5, 6]


def test_a_viewer_looks_and_changes_nothing(app: Service) -> None:
    """No boxes, no bar, and no writes."""
    vic = Visitor(app, Role.VIEWER, "vic")
    html = vic.get()
    assert 'id="row-1"' in html
    assert 'name="ids"' not in html
    assert 'action="/bulk"' not in html
    assert vic.post("/bulk", do="close", ids=[1]).status_code == 403


def test_lists_are_saved_and_deleted(app: Service, ana: Visitor) -> None:
    """One's own alone; a name is given once; what an address can't hold is left out."""
    told = ana.told("/saved", name="  Bugs,  angry ", query="label=bug_report&angry=1&evil=1&state=all")
    assert told["done"] == {"to": "/?state=all&label=bug_report&angry=1"}
    ana.post("/saved", name="Bugs, angry", query="label=bug_report")
    (kept,) = app.store.saved.of("ana")
    assert (kept.name, kept.query) == ("Bugs, angry", "label=bug_report")
    assert "/?label=bug_report" in ana.get()
    assert "needs a name" in ana.told("/saved", name=" \u00a0", query="")["refused"]
    other = Visitor(app, Role.VIEWER, "vic")
    assert "not there any more" in other.told(f"/saved/{kept.id}/forget")["refused"]
    assert ana.told(f"/saved/{kept.id}/forget")["said"] == "the list is deleted"
    assert app.store.saved.of("ana") == []


def test_what_strangers_write_stays_text(app: Service, ana: Visitor) -> None:
    """Markup, quotes and marks that turn the direction of writing."""
    evil = '</a><script>alert(1)</script>"><img src=x onerror=alert(1)> \u202e drow how'
    app.acme.post('"><b>x@x.example', evil)
    app.pass_()
    html = ana.get("/?state=all&q=%22%3E%3Cscript%3Ealert(2)")
    html += ana.get("/?state=all")
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "<b>x@x" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert re.search(r'class="text theirs" dir="auto">[^<]*&lt;/a&gt;', html)
    assert "<bdi>" in html


def test_an_empty_list_says_why(tmp_path: Path, store_url: str) -> None:
    """Nothing polled, nothing open, nothing that matches, nobody waited for."""
    made = service(tmp_path, store_url, mode="observe", rules=RULES)
    ana = Visitor(made)
    assert "Nothing has come in yet" in ana.get()
    made.acme.post("omar@y.example", "love it")
    made.pass_()
    assert "triage only observes" in ana.get()
    for query, words in {
        "q=nonsense": "No match",
        "label=noise": "No match",
        "state=mine": "Nothing is yours",
        "state=snoozed": "Nothing sleeps",
        "state=waiting": "Nobody is waited for",
        "state=answered": "Nothing was answered",
    }.items():
        assert words in ana.get(f"/?{query}"), query
    made.close()
    acting = service(tmp_path, store_url, rules=RULES)
    assert "Nothing is open." in text_of(Visitor(acting, name="bo").get())
    acting.close()


def test_a_filtered_list_of_a_large_store_goes_on_below(app: Service, ana: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks through so many a page, says so, and finds what is further back."""
    monkeypatch.setattr("triage.store.queue.LOOK", 2)
    html = ana.get("/rows?state=all&label=praise")
    assert "No match among the newest" in html
    more = re.search(r'hx-get="(/rows\?after=[^"]+)"', html)
    assert more
    assert ana.ids(unescape(more[1])) == [4]


def test_what_is_due_rises(tmp_path: Path, store_url: str) -> None:
    """Target times by label; the row says when, and loudly when it is late."""
    targets = "targets: [{label: bug_report, first_response: 2h, resolution: 10h}]\n"
    made = service(tmp_path, store_url, rules=RULES + targets)
    made.acme.post("noor@x.example", "how do I sync?")
    made.acme.post("mira@x.example", "it is broken")
    made.pass_()
    ana = Visitor(made)
    assert ana.ids() == [1, 2]
    assert "due in 1 h" in text_of(ana.get())
    made.clock.move(minutes=100)
    assert ana.ids() == [2, 1]
    assert "first answer: breaches in 19 min" in text_of(ana.get())
    made.clock.move(hours=1)
    assert "first answer: late by 40 min" in text_of(ana.get())
    with made.store.database.write() as connection:
        connection.execute(sa.insert(items).values(mention_id=2, answered_by="ana", answered_at=made.clock.now()))
    assert "resolution: due in 7 h" in text_of(ana.get())
    made.close()


def test_mornings_are_those_of_the_person() -> None:
    """Nine by their own clock, also when it is changed over night."""
    friday = datetime(2026, 3, 27, 22, 30, tzinfo=UTC)

    def by(zone: str) -> Person:
        return Person(1, "ana", Role.TRIAGER, zone=zone)

    assert wakes("monday", "", by("Europe/Berlin"), friday) == datetime(2026, 3, 30, 7, tzinfo=UTC)
    assert wakes("tomorrow", "", by("America/New_York"), friday) == datetime(2026, 3, 28, 13, tzinfo=UTC)
    with pytest.raises(UserError, match="choose until when"):
        wakes("", "", by("UTC"), friday)
