"""One item: what its page shows, and what a person does with it. On both databases, with the far sides in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.service import Service, service
from tests.web.site import Site
from triage.errors import Missing, OutcomeUnknown, Refused, UserError
from triage.mention import Attachment, State
from triage.person import Person, Role
from triage.pipeline import items as verbs
from triage.pipeline import people
from triage.store.items import FOREVER
from triage.store.seen import Seen
from triage.web import access, create
from triage.web.keys import KEYS
from triage.web.queue import wakes

HERE = "http://127.0.0.1:8321"
SUGGEST = """
rules:
  - {name: maybe, when: {words: [maybe]}, then: ticket, mode: suggest, reason: a person decides}
  - {name: bug, when: {label: bug_report}, then: [ticket, task], reason: a bug}
  - {name: rest, then: task, reason: the rest}
"""


class Somebody:
    """A person with a browser without script, or with htmx."""

    def __init__(self, made: Service, name: str, role: Role = Role.TRIAGER) -> None:
        now = made.clock.now()
        self.made = made
        self.person: Person = made.store.people.come(made.store.people.invite(role, "triage", now), name, name.title(), "", now)
        session = made.store.sessions.start(self.person, now, address="", agent="")
        self.browser = TestClient(create(made), base_url=HERE, follow_redirects=False, cookies={"triage": session})
        self.browser.headers |= {"Origin": HERE, "X-CSRF-Token": access.csrf(session)}

    def page(self, address: str, *, part: bool = False) -> str:
        answer = self.browser.get(address, headers={"HX-Request": "true"} if part else {})
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, mention: int, verb: str, *, part: bool = True, **fields: Any) -> Response:
        seen = {"seen": str(self.made.store.items.look(mention).seen)} | fields
        return self.browser.post(f"/mentions/{mention}/{verb}", data=seen, headers={"HX-Request": "true"} if part else {})

    def does(self, mention: int, verb: str, **fields: Any) -> str:
        """Do it; what was said."""
        answer = self.post(mention, verb, **fields)
        told = json.loads(answer.headers.get("hx-trigger", "{}"))
        assert answer.status_code == 204, told
        assert told["done"] == {"to": f"/mentions/{mention}"}
        said: str = told["said"]
        return said

    def refused(self, mention: int, verb: str, **fields: Any) -> str:
        """Try it; why it was refused."""
        answer = self.post(mention, verb, **fields)
        assert answer.status_code in (403, 404, 409, 422), answer.text
        why: str = json.loads(answer.headers["hx-trigger"])["refused"]
        return why


@pytest.fixture
def made(store_url: str, tmp_path: Path) -> Iterator[Service]:
    running = service(tmp_path, store_url, rules=SUGGEST)
    yield running
    running.close()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Service]:
    """For what is no matter of the database."""
    running = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=SUGGEST)
    yield running
    running.close()


def arrive(made: Service, author: str, text: str, **more: Any) -> int:
    """A post arrives and is judged; its mention."""
    post = made.acme.post(author, text, **more)
    made.pass_()
    return made.store.desk.mention_id(post.uri)


def states(made: Service, mention: int) -> list[tuple[str, str]]:
    return [(row["kind"], row["state"]) for row in made.store.items.look(mention).actions]


# What the page shows


def test_the_page_tells_the_post_its_thread_its_author_and_why_it_is_here(made: Service) -> None:
    """As plain text; our own answer stands in the thread, marked as ours."""
    ana = Somebody(made, "ana")
    earlier = arrive(made, "mira@x.example", "sync is broken since 2.4.1 on Windows 11")
    post = made.acme.post("noor@x.example", "how do I <b>sync</b>?", warning="tech", created_at=made.clock.now())
    shown = replace(post, attachments=(Attachment("image", "https://x.example/a.png", "a desk"),))
    made.acme._world.posts[post.remote_id] = shown
    made.pass_()
    first = made.store.desk.mention_id(post.uri)
    task = next(row["id"] for row in made.queue() if row["mention"] == first)
    made.clock.move(seconds=5)
    people.answer(made, task, "Press Sync.", "ana")
    made.clock.move(seconds=5)
    made.pass_()
    later = arrive(made, "noor@x.example", "hello, it helped", reply_to=post.remote_id, created_at=made.clock.now())
    page = ana.page(f"/mentions/{first}")
    assert "how do I &lt;b&gt;sync&lt;/b&gt;?" in page
    assert "<b>Content warning:</b>" in page
    assert 'href="https://x.example/a.png" rel="noopener noreferrer nofollow"' in page
    assert "a desk" in page
    assert "<img" not in page.split("</header>", 1)[1], "nothing is loaded from outside"
    assert "public: everybody can read it" in page
    assert "the rest: support question at 0.95, sure" in page or "2 posts since" in page
    below = ana.page(f"/mentions/{later}", part=True)
    assert "<html" not in below
    assert re.search(r"<b>Us</b> \(ana\).*Press Sync\.", below, re.DOTALL)
    assert "<b>The same author</b>" in below
    about = ana.page(f"/mentions/{earlier}")
    assert "2.4.1" in about
    assert "Windows 11" in about
    assert "MEM-1" in about
    assert "This is the first post by this author" in about


def test_a_post_that_was_edited_deleted_or_could_not_be_read_says_so(made: Service) -> None:
    """With what it said before."""
    ana = Somebody(made, "ana")
    post = made.acme.post("mira@x.example", "how do I sync?")
    made.acme.show_broken(b"{}", "no id")
    made.pass_()
    mention = made.store.desk.mention_id(post.uri)
    made.acme.edit(post.remote_id, "how do I print?")
    made.pass_(hours=2)
    page = ana.page(f"/mentions/{mention}")
    assert "Its author edited this post" in page
    assert "how do I sync?" in page
    made.acme.delete(post.remote_id)
    made.pass_(hours=2)
    assert "Its author deleted this post" in ana.page(f"/mentions/{mention}")
    broken = made.store.views.quarantined()[0]["id"]
    assert "could not be read" in ana.page(f"/mentions/{broken}")
    answer = ana.browser.get("/mentions/999999")
    assert (answer.status_code, "there is no mention 999999" in answer.text) == (404, True)


def test_who_is_not_sure_names_the_two_likeliest_labels(lite: Service) -> None:
    """And a person's label is told as theirs."""
    ana = Somebody(lite, "ana")
    mention = arrive(lite, "mira@x.example", "maybe broken")
    page = ana.page(f"/mentions/{mention}")
    assert "maybe, not sure (40 %)" in page
    assert page.count("either") == 1
    ana.does(mention, "label", name="praise")
    assert "labelled by ana" in ana.page(f"/mentions/{mention}")


def test_why_is_worked_out_when_somebody_asks(lite: Service) -> None:
    """As a part, and as a page of its own without script."""
    ana = Somebody(lite, "ana")
    mention = arrive(lite, "mira@x.example", "the export is broken")
    found = {
        "verdict": {"label": "bug_report", "by": "test", "by_person": False, "at": None},
        "model": {"by": "m", "label": "bug_report", "scores": {"bug_report": 0.9}, "doubts": [], "confidence": 0.9, "threshold": 0.5},
        "evidence": {"label": "bug_report", "other": "noise", "for": [{"kind": "word", "what": "<broken>", "share": 0.4}], "against": []},
        "nearest": {"label": [{"label": "bug_report", "text": "it is broken"}], "others": []},
        "rule": {"name": "bug", "reason": "a bug", "skipped": [{"rule": "maybe", "because": "no such word"}]},
        "signals": [],
    }
    with patch("triage.pipeline.why.why", return_value=found):
        part, page = ana.page(f"/mentions/{mention}/why", part=True), ana.page(f"/mentions/{mention}/why")
    assert "&lt;broken&gt;" in part
    assert "<html" not in part
    assert "no such word" in page
    assert "<html" in page


def test_roles_see_what_they_may_do(lite: Service) -> None:
    """A viewer looks, a trainee writes notes, and neither is told otherwise by the server."""
    mention = arrive(lite, "mira@x.example", "how do I sync?")
    viewer, trainee = Somebody(lite, "vera", Role.VIEWER), Somebody(lite, "theo", Role.TRAINEE)
    assert "data-key" not in viewer.page(f"/mentions/{mention}", part=True).replace('data-key="w"', "")
    assert 'data-key="n"' in trainee.page(f"/mentions/{mention}")
    assert "needs the role triager" in trainee.refused(mention, "close")
    assert "needs the role trainee" in viewer.refused(mention, "note", text="x")
    assert trainee.does(mention, "note", text="is this ours?").startswith("noted")


def test_every_key_of_the_help_is_one_of_the_page_or_of_the_script(lite: Service) -> None:
    """And no element has a key that the help does not tell; search, reply and praise are other rooms' elements."""
    ana = Somebody(lite, "ana")
    mention = arrive(lite, "mira@x.example", "maybe broken")
    told = {key for _, keys in KEYS for key, _ in keys}
    there = set(re.findall(r'data-key="(.)"', ana.page(f"/mentions/{mention}")))
    script = (Path(access.__file__).parent / "static" / "app.js").read_text()
    assert there <= told
    assert told - there <= {"j", "k", "x", "?", "Esc", "/", "r", "p", "b"}
    assert all(f"{key}: () =>" in script for key in ("j", "k", "x", '"?"'))


# What a person does


def test_a_label_is_set_confirmed_and_taken_back(made: Service) -> None:
    """Taking back sets the one before, and opens the task that the label had ended."""
    ana = Somebody(made, "ana")
    mention = arrive(made, "mira@x.example", "how do I sync?")
    assert states(made, mention) == [("task", "planned")]
    assert ana.does(mention, "label", name="bug_report") == "it is a bug now; z takes it back"
    assert ("ticket", "planned") in states(made, mention)
    made.clock.move(seconds=1)
    assert ana.does(mention, "undo") == "taken back: the label is support question again"
    assert ("ticket", "cancelled") in states(made, mention)
    assert ("task", "planned") in states(made, mention)
    verdict = made.store.items.look(mention).verdict
    assert verdict is not None
    assert (verdict.label, verdict.by) == ("support_question", "ana")
    assert "you did nothing" in ana.refused(mention, "undo")
    made.clock.move(seconds=1)
    ana.does(mention, "label", name="support_question")
    assert "you only confirmed" in ana.refused(mention, "undo")
    assert "there is no label" in ana.refused(mention, "label", name="rubbish")


def test_a_stale_page_says_what_changed_and_does_nothing(made: Service) -> None:
    """Somebody labelled it, or its author edited it."""
    ana, bo = Somebody(made, "ana"), Somebody(made, "bo")
    post = made.acme.post("mira@x.example", "how do I sync?")
    made.pass_()
    mention = made.store.desk.mention_id(post.uri)
    stale = str(made.store.items.look(mention).seen)
    ana.does(mention, "label", name="praise")
    for verb, fields in (
        ("label", {"name": "noise"}),
        ("close", {}),
        ("ticket", {}),
        ("snooze", {"until": "3h"}),
        ("same", {"other": str(mention)}),
    ):
        if verb != "same":
            assert "ana has labelled it praise meanwhile" in bo.refused(mention, verb, seen=stale, **fields), verb
    stale = str(made.store.items.look(mention).seen)
    made.acme.edit(post.remote_id, "how do I print?")
    made.pass_(hours=2)
    assert "edited the post meanwhile" in bo.refused(mention, "assign", seen=stale, to="bo")
    assert "reload the page" in bo.refused(mention, "close", seen="nonsense")
    assert made.store.items.look(mention).item["assignee"] is None


@pytest.mark.parametrize("verb", ["label", "close"])
def test_of_two_at_once_one_wins_and_the_other_is_told_who(made: Service, verb: str) -> None:
    """Ten rounds: one winner each."""
    acts: dict[str, Callable[[int, str, Seen], Any]] = {
        "label": lambda mention, who, seen: verbs.label(made, mention, "praise" if who == "ana" else "noise", who, seen=seen),
        "close": lambda mention, who, seen: made.store.items.close(mention, who, made.clock.now(), seen=seen),
    }
    for number in range(10):
        mention = arrive(made, f"writer{number}@x.example", "how do I sync?")
        seen = made.store.items.look(mention).seen

        def act(who: str, mention: int = mention, seen: Seen = seen) -> str:
            try:
                acts[verb](mention, who, seen)
            except UserError as error:
                return str(error)
            return ""

        with ThreadPoolExecutor(2) as pool:
            told = dict(zip(("ana", "bo"), pool.map(act, ("ana", "bo")), strict=True))
        [winner] = [who for who, why in told.items() if not why]
        [why] = [why for why in told.values() if why]
        assert winner in why


def test_archiving_closes_the_tasks_and_z_opens_them(made: Service) -> None:
    """Who comes second is told who was first; what is only stuck is no task."""
    ana, bo = Somebody(made, "ana"), Somebody(made, "bo")
    mention = arrive(made, "mira@x.example", "how do I sync?")
    assert ana.does(mention, "close", why="spam") == "archived; z takes it back"
    assert "ana has closed it already" in bo.refused(mention, "close")
    assert "you did nothing" in bo.refused(mention, "undo")
    made.clock.move(minutes=1)
    assert ana.does(mention, "undo") == "taken back: the task is open again"
    assert states(made, mention) == [("task", "planned")]
    ana.does(mention, "close")
    made.clock.move(minutes=6)
    assert "within the last five minutes" in ana.refused(mention, "undo")


def test_a_ticket_is_taken_back_until_it_is_sent(made: Service) -> None:
    """Then it says which ticket is filed."""
    ana = Somebody(made, "ana")
    mention = arrive(made, "mira@x.example", "how do I sync?")
    assert "on its way" in ana.does(mention, "ticket")
    assert ("task", "planned") in states(made, mention)
    made.clock.move(seconds=1)
    assert ana.does(mention, "undo") == "taken back: nothing is filed, and the label is support question again"
    assert sorted(states(made, mention)) == [("task", "planned"), ("ticket", "cancelled")]
    made.pass_()
    assert made.tickets.tickets == []
    ana.does(mention, "ticket")
    made.pass_()
    assert "the ticket MEM-1 is filed" in ana.refused(mention, "undo")
    assert [ticket.key for ticket in made.tickets.tickets] == ["MEM-1"]


def test_a_program_accepts_a_suggestion_as_it_has_seen_it(made: Service) -> None:
    """Of the post and of its task: not once its author has edited the post."""
    program = Site(made).program(Role.TRIAGER, "ana")
    mention = arrive(made, "mira@x.example", "maybe broken")
    (task,) = (row["id"] for row in made.queue())
    seen = program.get(f"/api/mentions/{mention}").json()["seen"]
    (post,) = made.acme._world.posts
    made.acme.edit(post, "maybe broken for me alone")
    made.pass_(hours=2)
    for path in (f"/api/mentions/{mention}/accept", f"/api/tasks/{task}/accept"):
        refused = program.post(path, json={"seen": seen})
        assert (refused.status_code, "edited the post meanwhile" in refused.text) == (409, True), refused.text
    assert made.actions("ticket") == []
    assert program.post(f"/api/tasks/{task}/accept").status_code == 200


def test_a_suggestion_is_accepted_and_taken_back(made: Service) -> None:
    """While its ticket is not sent; then the suggestion stands again."""
    ana = Somebody(made, "ana")
    mention = arrive(made, "mira@x.example", "maybe broken")
    assert "Accept: file a ticket" in ana.page(f"/mentions/{mention}")
    ana.does(mention, "accept")
    assert states(made, mention) == [("task", "done"), ("ticket", "planned")]
    assert "no rule suggests anything" in ana.refused(mention, "accept")
    made.clock.move(seconds=1)
    assert ana.does(mention, "undo") == "taken back: nothing is filed, and the item is open again"
    assert states(made, mention) == [("task", "planned"), ("ticket", "cancelled")]
    ana.does(mention, "accept")
    made.pass_()
    assert len(made.tickets.tickets) == 1


def test_sleep_ends_with_its_time_with_a_word_or_with_the_author(made: Service) -> None:
    """Another's reply does not wake it; the author's next one in the same thread does."""
    ana = Somebody(made, "ana")
    post = made.acme.post("mira@x.example", "how do I sync?")
    made.pass_()
    mention = made.store.desk.mention_id(post.uri)
    ana.does(mention, "snooze", until="3h")
    assert "It sleeps" in ana.page(f"/mentions/{mention}")
    made.pass_(hours=2)
    assert made.store.items.look(mention).item["snoozed_until"] is not None
    made.pass_(hours=1, seconds=1)
    assert made.store.items.look(mention).item["snoozed_until"] is None
    assert ana.does(mention, "snooze", until="reply") == "it sleeps until they write again; z takes it back"
    assert made.store.items.look(mention).item["snoozed_until"] == FOREVER
    arrive(made, "noor@x.example", "how do I, too?", reply_to=post.remote_id)
    arrive(made, "mira@x.example", "how do I print? this is something else")
    assert made.store.items.look(mention).item["until_reply"]
    arrive(made, "mira@x.example", "hello, found it", reply_to=post.remote_id)
    woken = made.store.items.look(mention)
    assert (woken.item["snoozed_until"], woken.item["until_reply"]) == (None, False)
    assert any(line["detail"] == "its author has written again" for line in woken.trail)
    ana.does(mention, "snooze", until="tomorrow")
    assert ana.does(mention, "undo") == "taken back: it is awake again"
    ana.does(mention, "snooze", until="at", at="2099-01-01T10:00")
    assert ana.does(mention, "wake") == "it is awake"
    assert "does not sleep" in ana.refused(mention, "wake")
    assert "choose a day" in ana.refused(mention, "snooze", until="at", at="never")
    assert "is over already" in ana.refused(mention, "snooze", until="at", at="2001-01-01T10:00")


def test_an_item_is_assigned_once(made: Service) -> None:
    """To somebody who is there; who assigns by an old page is told; z gives it back."""
    ana, bo = Somebody(made, "ana"), Somebody(made, "bo")
    mention = arrive(made, "mira@x.example", "how do I sync?")
    assert ana.does(mention, "assign", to="ana") == "you have it now; z takes it back"
    assert "it was given to ana meanwhile" in bo.refused(mention, "assign", to="bo")
    assert bo.does(mention, "assign", to="bo", was="ana") == "you have it now; z takes it back"
    assert "bo has it now" in ana.refused(mention, "undo")
    assert bo.does(mention, "undo") == "taken back: ana has it again"
    assert "no colleague 'carl'" in bo.refused(mention, "assign", to="carl", was="ana")
    assert bo.does(mention, "assign", was="ana") == "nobody has it now; z takes it back"


def test_a_note_is_for_colleagues_alone(made: Service) -> None:
    """It names people that are there; nothing that is sent holds it; sent twice it is kept once; its writer takes it back."""
    ana, _bo = Somebody(made, "ana"), Somebody(made, "bo")
    mention = arrive(made, "mira@x.example", "how do I sync?")
    secret = "@bo this customer is <b>difficult</b>, see ana@x.example"
    assert ana.does(mention, "note", text=secret) == "noted for bo; z takes it back"
    ana.does(mention, "note", text=secret)
    page = ana.page(f"/mentions/{mention}")
    assert page.count("this customer is &lt;b&gt;difficult&lt;/b&gt;") == 1
    assert "no colleague 'carl'" in ana.refused(mention, "note", text="ask @carl")
    assert "the note is empty" in ana.refused(mention, "note", text="  ")
    assert "characters at most" in ana.refused(mention, "note", text="x" * 10_001)
    ana.does(mention, "ticket")
    task = next(row["id"] for row in made.queue() if row["mention"] == mention)
    people.answer(made, task, "Press Sync.", "ana")
    made.pass_()
    made.pass_()
    sent = json.dumps([repr(made.tickets.tickets), repr(made.acme.replies), repr(made.actions())])
    assert "MEM-1" in sent
    assert "difficult" not in sent
    lines = [line for line in made.store.items.look(mention).trail if line["what"] == "wrote a note"]
    assert len(lines) == 1
    assert "difficult" not in lines[0]["detail"]
    other = arrive(made, "noor@x.example", "how do I print?")
    ana.does(other, "note", text="wrong one")
    assert ana.does(other, "undo") == "taken back: the note is gone"
    assert made.store.items.look(other).notes == []


def test_the_same_problem_from_another_thread_joins_its_ticket(made: Service) -> None:
    """Named by a mention or by the ticket's key; later replies to it follow."""
    ana = Somebody(made, "ana")
    first = arrive(made, "mira@x.example", "sync is broken")
    post = made.acme.post("noor@x.example", "how do I make it go on?")
    made.pass_()
    mention = made.store.desk.mention_id(post.uri)
    assert "MEM-1" in ana.page(f"/mentions/{mention}/same", part=True)
    assert "this very item" in ana.refused(mention, "same", other=str(mention))
    assert "none of the newest" in ana.refused(mention, "same", other="MEM-7")
    assert "there is no mention 999" in ana.refused(mention, "same", other="999")
    assert ana.does(mention, "same", other="mem-1") == f"it belongs to the problem of mention {first} now; its ticket is told"
    made.pass_()
    assert ("comment", "done") in states(made, mention)
    look = made.store.items.look(mention)
    assert look.ticket is not None
    assert look.ticket.key == "MEM-1"
    assert [post.elsewhere for post in look.above] == [True]
    assert "belongs to the same problem" in ana.refused(mention, "same", other=str(first))
    assert "can't be taken back" in ana.refused(mention, "undo")
    reply = arrive(made, "noor@x.example", "it is still broken", reply_to=post.remote_id)
    assert made.store.items.look(reply).problem == look.problem
    assert len(made.tickets.tickets) == 1
    ana.does(mention, "label", name="bug_report")
    assert made.store.items.look(mention).problem == look.problem
    made.pass_()
    assert len(made.tickets.tickets) == 1


def test_two_tickets_are_not_joined_and_a_planned_one_is_cancelled(made: Service) -> None:
    """The next step is said."""
    ana = Somebody(made, "ana")
    first = arrive(made, "mira@x.example", "sync is broken")
    second = arrive(made, "noor@x.example", "search is broken")
    assert "both have tickets, MEM-2 and MEM-1" in ana.refused(second, "same", other=str(first))
    question = arrive(made, "lea@x.example", "how do I sync?")
    assert f"open mention {question} and join it to this one" in ana.refused(second, "same", other=str(question))
    made.tickets.fail("file", OutcomeUnknown("cut"))
    doubtful = arrive(made, "kai@x.example", "print is broken")
    assert "its own ticket is doubt" in ana.refused(doubtful, "same", other=str(first))
    third = arrive(made, "ivo@x.example", "how do I search?")
    ana.does(third, "ticket")
    ana.does(third, "same", other=str(second))
    assert ("ticket", "cancelled") in states(made, third)
    made.pass_()
    assert ("comment", "done") in states(made, third)
    assert {ticket.key for ticket in made.tickets.tickets} >= {"MEM-1", "MEM-2"}
    assert not any("how do I search" in str(ticket.summary) for ticket in made.tickets.tickets if hasattr(ticket, "summary"))


def test_what_was_refused_is_loud_until_somebody_decides(made: Service) -> None:
    """Sent again, found there, or dropped; and only by the item that it belongs to."""
    ana = Somebody(made, "ana")
    made.tickets.fail("file", Refused("the project is closed"), times=3)
    mention, other, third = (arrive(made, f"{name}@x.example", "this is broken") for name in ("mira", "noor", "lea"))
    page = ana.page(f"/mentions/{mention}")
    assert "The ticket to tickets was refused" in page
    assert "the project is closed" in page
    stuck = {
        id_: next(row["id"] for row in made.store.items.look(id_).actions if row["kind"] == "ticket") for id_ in (mention, other, third)
    }
    assert "has no action" in ana.refused(mention, "drop", action=stuck[other])
    ana.does(mention, "retry", action=stuck[mention])
    made.pass_()
    assert ("ticket", "done") in states(made, mention)
    ana.does(other, "found", action=stuck[other], key="https://tracker.example/browse/MEM-9")
    assert "MEM-9" in ana.page(f"/mentions/{other}")
    ana.does(third, "drop", action=stuck[third])
    assert ("ticket", str(State.CANCELLED)) in states(made, third)
    assert "The ticket to tickets was refused" not in ana.page(f"/mentions/{third}")


def test_forms_work_without_script(lite: Service) -> None:
    """What was done is said on the page that comes next; a refusal is a page that says why."""
    ana = Somebody(lite, "ana")
    mention = arrive(lite, "mira@x.example", "how do I sync?")
    answer = ana.post(mention, "close", part=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/mentions/{mention}")
    assert "archived; z takes it back" in ana.page(f"/mentions/{mention}")
    again = ana.post(mention, "close", part=False)
    assert (again.status_code, "ana has closed it already" in again.text) == (409, True)


def test_everything_that_is_done_leaves_a_line_in_the_trail(lite: Service) -> None:
    """With the name of who did it."""
    ana = Somebody(lite, "ana")
    mention, other = arrive(lite, "mira@x.example", "maybe broken"), arrive(lite, "noor@x.example", "this is broken")
    for verb, fields in (
        ("assign", {"to": "ana"}),
        ("note", {"text": "hm"}),
        ("snooze", {"until": "monday"}),
        ("wake", {}),
        ("accept", {}),
        ("undo", {}),
        ("label", {"name": "support_question"}),
        ("label", {"name": "support_question"}),
        ("ticket", {}),
        ("same", {"other": str(other)}),
        ("close", {}),
    ):
        lite.clock.move(seconds=1)
        ana.does(mention, verb, **fields)
    mine = [line["what"].split(" (")[0] for line in lite.store.items.look(mention).trail if line["who"] == "ana"]
    assert {
        "assigned",
        "wrote a note",
        "snoozed",
        "woke it",
        "accepted a suggestion",
        "took back",
        "relabelled",
        "confirmed the label",
        "filed by hand",
        "same problem",
        "closed the task",
    } <= set(mine)


def test_nobody_finds_a_mention_that_is_not_there(lite: Service) -> None:
    """Neither by looking nor by writing."""
    with pytest.raises(Missing, match="no mention 77"):
        lite.store.items.look(77)
    with pytest.raises(Missing, match="no mention 77"):
        lite.store.items.close(77, "ana", lite.clock.now())


def test_sleep_is_counted_in_the_persons_own_zone() -> None:
    """Tomorrow and Monday are at nine o'clock there."""
    ana = Person(1, "ana", Role.TRIAGER, zone="Asia/Tokyo")
    now = datetime(2026, 5, 1, 20, 0, tzinfo=UTC)  # a Friday; in Tokyo it is Saturday already
    assert wakes("3h", "", ana, now) == now + timedelta(hours=3)
    assert wakes("tomorrow", "", ana, now) == datetime(2026, 5, 3, 0, 0, tzinfo=UTC)
    assert wakes("monday", "", ana, now) == datetime(2026, 5, 4, 0, 0, tzinfo=UTC)
    assert wakes("at", "2026-05-02T09:30", ana, now) == datetime(2026, 5, 2, 0, 30, tzinfo=UTC)
    assert wakes("reply", "", ana, now) is None


def test_a_page_is_not_called_stale_because_somebody_began_to_answer(site: Site) -> None:
    """A claim is shown by itself; a note, a label or an answer changes the sign by which a page that somebody types in knows."""
    site.app.acme.post("mira@x.example", "how do I export?")
    site.app.pass_()
    ana = site.visitor(Role.TRIAGER, "ana")

    def told() -> str:
        found = re.search(r'data-told="(\w+)"', ana.get("/mentions/1", part=True).text)
        assert found is not None
        return found[1]

    before = told()
    site.app.store.claims.claim(1, "ana", site.app.clock.now())
    assert told() == before
    site.app.store.items.note(1, "look at this", "ana", site.app.clock.now())
    assert told() != before
