"""The answer's panel, with and without script, by people of each role."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fastapi.testclient import TestClient

from tests.service import Service, service
from triage.cli import cli
from triage.errors import NotAccepted, OutcomeUnknown, Refused, Unauthorized, UserError
from triage.mention import Mention, State, Ticket, Visibility
from triage.person import Person, Role
from triage.pipeline import people
from triage.store.schema import accounts, actions, mentions
from triage.web import create
from triage.web.access import csrf

HERE = "http://127.0.0.1:8321"
MORE = """
product: Acme Notes
groups: {legal: [lex]}
web: {hold: 15s, deputy: 4h}
answers:
  - {name: known, text: "Hello {{ author }}, {{ product }} has a ticket for it: {{ ticket }}", problem: MEM-1}
  - {name: joke, text: "Ha, {{ handle }}!", playful: true}
  - {name: thanks, kind: thanks, text: "Thank you, {{ author }}!"}
style:
  - {words: [simply], say: "leave it out", line: "Nothing is simple.", guide: "https://guide.example/#simple"}
  - {pattern: "calm\\\\s+down", line: "Nobody ever did."}
rules:
  - {name: law, when: {words: [lawyer]}, then: task, approve: legal, reason: two look}
  - {name: boss, when: {words: [contract]}, then: task, approve: admin, reason: two look}
  - {name: bug, when: {label: bug_report}, then: [ticket, task], reason: a bug}
  - {name: love, when: {label: praise}, then: archive, reason: praise}
  - {name: rest, then: task, reason: a person answers}
"""


@dataclass
class Somebody:
    """A browser with somebody's session. `htmx` asks for parts, else plain forms are sent."""

    browser: TestClient
    person: Person
    session: str
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, to: str, *, htmx: bool = False) -> httpx2.Response:
        return self.browser.get(to, headers=self._headers(htmx))

    def post(self, to: str, *, htmx: bool = False, **fields: Any) -> httpx2.Response:
        return self.browser.post(to, data=fields, headers=self._headers(htmx), follow_redirects=False)

    def _headers(self, htmx: bool) -> dict[str, str]:
        known = {"Cookie": f"triage={self.session}", "Origin": HERE, "X-CSRF-Token": csrf(self.session)}
        return known | ({"HX-Request": "true"} if htmx else {})


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Service]:
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", rules=MORE)
    yield made
    made.close()


@pytest.fixture
def enter(app: Service) -> Callable[..., Somebody]:
    """Somebody of a name and role, logged in."""
    browser = TestClient(create(app), base_url=HERE)

    def come(name: str, role: Role = Role.TRIAGER) -> Somebody:
        now = app.clock.now()
        token = app.store.people.invite(role, "triage", now)
        person = app.store.people.come(token, name, name.title(), "", now)
        return Somebody(browser, person, app.store.sessions.start(person, now, address="", agent=""))

    return come


def asked(app: Service, text: str = "how do I sync my notes?", handle: str = "noor@x.example", **how: Any) -> tuple[int, Mention]:
    post = app.acme.post(handle, text, **how)
    app.pass_()
    return app.store.desk.mention_id(post.uri), post


def fields_of(page: str) -> dict[str, Any]:
    """The hidden fields of the answer's form."""
    form = re.search(r'<form class="answer".*?</form>', page, re.DOTALL)
    assert form, page
    return dict(re.findall(r'<input type="hidden" name="(once|known|by_hand|again)" value="([^"]*)"', form[0]))


def refused(response: httpx2.Response) -> str:
    assert response.status_code in (409, 502), response.text
    return str(response.headers["hx-trigger"])


# Sending


@pytest.mark.parametrize("htmx", [False, True])
def test_an_answer_is_held_then_sent_once(app: Service, enter: Callable[..., Somebody], htmx: bool) -> None:
    """Nothing goes out before the hold is over, and the receipt is shown."""
    mention, post = asked(app)
    ana = enter("ana")
    page = ana.get(f"/mentions/{mention}/reply", htmx=htmx).text
    assert "Send, held for 15 s" in page
    assert "public, like the post: everybody can read it" in page
    answer = ana.post(f"/mentions/{mention}/reply", htmx=htmx, text="Press Sync.", **fields_of(page))
    if htmx:
        assert answer.status_code == 204
        assert "held for 15 s, then sent; z takes it back" in answer.headers["hx-trigger"]
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, f"/mentions/{mention}")
    app.pass_(seconds=14)
    assert app.acme.replies == []
    assert '<span data-left="1">' in ana.get(f"/mentions/{mention}/reply").text
    app.pass_(seconds=1)
    assert [sent.mention.parent_id for sent in app.acme.replies] == [post.remote_id]
    shown = ana.get(f"/mentions/{mention}/reply").text
    assert "<h3>Sent</h3>" in shown
    assert app.acme.replies[0].mention.url in shown
    assert app.store.drafts.of(mention) == []


def test_a_form_sent_twice_acts_once_and_tells_the_same(app: Service, enter: Callable[..., Somebody]) -> None:
    """The second one shows what became of the first."""
    mention, _ = asked(app)
    ana = enter("ana")
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    first = ana.post(f"/mentions/{mention}/reply", htmx=True, text="Press Sync.", **fields)
    second = ana.post(f"/mentions/{mention}/reply", htmx=True, text="Press Sync.", **fields)
    assert first.headers["hx-trigger"] == second.headers["hx-trigger"]
    app.pass_(seconds=15)
    third = ana.post(f"/mentions/{mention}/reply", htmx=True, text="Press Sync.", **fields)
    assert "it was sent" in third.headers["hx-trigger"]
    app.pass_()
    assert len(app.acme.replies) == 1


def test_undo_gives_the_text_back_and_too_late_says_so(app: Service, enter: Callable[..., Somebody]) -> None:
    """Within the hold the task is open again; after it the person learns when it was sent."""
    mention, _ = asked(app)
    ana = enter("ana")
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    ana.post(f"/mentions/{mention}/reply", text="Press Sync.", **fields)
    assert [row["text"] for row in app.queue()] == []
    page = ana.get(f"/mentions/{mention}/reply").text
    [action] = re.findall(r'name="answer" value="(\d+)"', page)
    assert ana.post(f"/mentions/{mention}/reply/undo", answer=action).status_code == 303
    assert [row["text"] for row in app.queue()] == ["how do I sync my notes?"]
    page = ana.get(f"/mentions/{mention}/reply").text
    assert re.search(r"<textarea[^>]*>\s*Press Sync\.</textarea>", page)
    again = ana.post(f"/mentions/{mention}/reply", text="Press Sync, then wait.", **fields_of(page))
    assert again.status_code == 303
    app.pass_(seconds=15)
    late = ana.post(f"/mentions/{mention}/reply/undo", htmx=True)
    assert "it was sent at" in refused(late)
    assert [sent.mention.text for sent in app.acme.replies] == ["@noor@x.example Press Sync, then wait."]


def test_all_posts_of_a_long_answer_are_taken_back(app: Service) -> None:
    """Also where they are several; once the first is out, none is."""
    mention, _ = asked(app)
    long = "First do this. " * 60
    ids = people.answer_mention(app, mention, long, "ana", hold=15)
    assert len(ids) > 1
    assert people.unsend(app, mention, "ana") == long
    assert {app.store.outbox.row(one)["state"] for one in ids} == {State.CANCELLED}
    people.answer_mention(app, mention, long, "ana", hold=15)
    app.acme.fail("reply", OutcomeUnknown("cut"))
    app.pass_(seconds=15)
    with pytest.raises(UserError, match="did not say whether"):
        people.unsend(app, mention, "ana")


def test_a_recovered_account_does_not_shorten_the_hold(app: Service) -> None:
    """What rested goes out at once; what is held is still held."""
    mention, _ = asked(app)
    other, _ = asked(app, "how do I print?", "mira@x.example")
    app.acme.fail("reply", NotAccepted("refused"))
    people.answer_mention(app, other, "Press Print.", "ana")
    app.pass_(seconds=1)
    people.answer_mention(app, mention, "Press Sync.", "ana", hold=60)
    app.pass_(seconds=30)
    assert [sent.mention.text for sent in app.acme.replies] == ["@mira@x.example Press Print."]
    assert people.unsend(app, mention, "ana") == "Press Sync."


def test_the_second_of_two_people_keeps_the_text(app: Service, enter: Callable[..., Somebody]) -> None:
    """Both had the panel open; the loser is told who won, with the text still there: with htmx and as a page."""
    mention, _ = asked(app)
    ana, bo = enter("ana"), enter("bo")
    stale = fields_of(bo.get(f"/mentions/{mention}/reply").text)
    ana.post(f"/mentions/{mention}/reply", text="Press Sync.", **fields_of(ana.get(f"/mentions/{mention}/reply").text))
    answer = bo.post(f"/mentions/{mention}/reply", htmx=True, text="Use the menu.", again="true", **stale)
    assert "ana answered at" in refused(answer)
    page = bo.post(f"/mentions/{mention}/reply", text="Use the menu.", again="true", **stale)
    assert page.status_code == 409
    assert "ana answered at" in page.text
    assert "Use the menu.</textarea>" in page.text
    assert [(one.person, one.text) for one in app.store.drafts.of(mention)] == [("bo", "Use the menu.")]


def test_a_failed_answer_is_loud(app: Service, enter: Callable[..., Somebody]) -> None:
    """Doubt, refusal and parking each say so, with what a person can do."""
    ana = enter("ana")
    words = []
    for number, error in enumerate((OutcomeUnknown("cut"), Refused("422: too long"), Unauthorized("answered 403", status=403))):
        mention, _ = asked(app, f"how do I do number {number}?", f"author{number}@x.example")
        app.acme.fail("reply", error)
        people.answer_mention(app, mention, "like this", "ana")
        app.pass_(seconds=1)
        page = ana.get(f"/mentions/{mention}/reply").text
        article = re.search(r'<article class="given loud" role="alert">.*?</article>', page, re.DOTALL)
        assert article, page
        words.append(re.findall(r"<h3>([^<]*)|action=\"/mentions/\d+/(\w+)\"", article[0]))
    assert [[a or b for a, b in one] for one in words] == [
        ["Not known whether it was posted", "found"],
        ["Refused: it was not posted", "found", "retry", "drop"],
        ["Refused: it was not posted", "found", "retry", "drop"],
    ]


# Whether it may be answered


def test_who_blocked_us_is_known_the_next_time(app: Service, enter: Callable[..., Somebody]) -> None:
    """A 403 on an earlier answer to the same author; on purpose it can be tried again."""
    first, _ = asked(app)
    app.acme.fail("reply", Unauthorized("acme: the server answered 403", status=403))
    people.answer_mention(app, first, "like this", "ana")
    app.pass_(seconds=1)
    mention, _ = asked(app, "how do I print my notes?")
    ana = enter("ana")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "they may have blocked us" in page
    fields = fields_of(page)
    assert fields.pop("again") == "true", "the form is behind a word of its own"
    assert "blocked us" in refused(ana.post(f"/mentions/{mention}/reply", htmx=True, text="so", **fields))
    assert ana.post(f"/mentions/{mention}/reply", htmx=True, text="so", again="true", **fields).status_code == 204


def test_what_can_not_be_answered_says_why_before_anybody_types(app: Service, enter: Callable[..., Somebody]) -> None:
    """A deleted post has no form; a draft that was begun is still shown."""
    mention, post = asked(app)
    ana = enter("ana")
    app.store.drafts.save(mention, "ana", "I had begun", app.clock.now())
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "the author deleted the post" in page
    assert "I had begun" in page
    assert 'class="send"' not in page
    assert "the author deleted the post" in refused(ana.post(f"/mentions/{mention}/reply", htmx=True, text="so", **fields))
    assert app.actions("reply") == []


def test_a_refused_token_is_told(app: Service, enter: Callable[..., Somebody]) -> None:
    """The panel says so, and nothing waits unseen behind a dead token."""
    mention, _ = asked(app)
    app.acme.fail("fetch", Unauthorized("acme: the server answered 401", status=401))
    app.pass_()
    page = enter("ana").get(f"/mentions/{mention}/reply").text
    assert "the account&#39;s token was refused" in page
    assert 'class="send"' not in page


def test_where_we_can_not_post_a_person_does(app: Service, enter: Callable[..., Somebody]) -> None:
    """Copy, open, "answered by hand": the item is closed and the text is known."""
    mention, post = asked(app)
    app.acme.manifest = replace(app.acme.manifest, replies=False)
    ana = enter("ana")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "this platform takes no answers from us" in page
    assert f'href="{post.url}"' in page
    answer = ana.post(f"/mentions/{mention}/reply", htmx=True, text="Press Sync.", **fields_of(page))
    assert "noted: answered by hand" in answer.headers["hx-trigger"]
    assert app.queue() == []
    (reply,) = app.actions("reply")
    assert (reply["state"], reply["via"], reply["closed_by"]) == (State.DONE, "human", "ana")
    assert "Answered by hand" in ana.get(f"/mentions/{mention}/reply").text


def test_an_archived_item_can_be_answered(app: Service) -> None:
    """Nobody asked for it, so its task is made and closed with the answer; taken back, it is in the queue."""
    mention, post = asked(app, "love it")
    assert app.queue() == []
    people.answer_mention(app, mention, "So do we.", "ana", hold=15)
    assert people.unsend(app, mention, "ana") == "So do we."
    assert [row["mention"] for row in app.queue()] == [mention]
    people.answer_mention(app, mention, "So do we.", "ana")
    app.pass_()
    assert [sent.mention.parent_id for sent in app.acme.replies] == [post.remote_id]
    assert app.queue() == []


def test_a_followers_post_is_answered_to_its_author_alone(app: Service, enter: Callable[..., Somebody]) -> None:
    """The words before sending are what then happens."""
    mention, _ = asked(app, visibility=Visibility.PRIVATE)
    page = enter("ana").get(f"/mentions/{mention}/reply").text
    assert "to the author alone: the post is for its author" in page
    people.answer_mention(app, mention, "so", "ana")
    app.pass_()
    assert [sent.mention.visibility for sent in app.acme.replies] == [Visibility.DIRECT]


# Drafts


def test_drafts_survive_and_are_seen_by_colleagues(app: Service, enter: Callable[..., Somebody]) -> None:
    """One per person; a log-out loses none; what comes in after the answer was sent does not bring it back."""
    mention, _ = asked(app)
    ana, bo = enter("ana"), enter("bo")
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    assert ana.post(f"/mentions/{mention}/draft", text="Press <b>Sync</b>", once=fields["once"]).json() == {"saved": True}
    app.store.sessions.end(ana.session, app.clock.now(), "ana")
    assert ana.post(f"/mentions/{mention}/draft", text="gone?").status_code in (401, 303)
    page = bo.get(f"/mentions/{mention}/reply").text
    assert "ana is writing" in page
    assert "Press &lt;b&gt;Sync&lt;/b&gt;" in page
    again = Somebody(ana.browser, ana.person, app.store.sessions.start(ana.person, app.clock.now(), address="", agent=""))
    page = again.get(f"/mentions/{mention}/reply").text
    assert "Press &lt;b&gt;Sync&lt;/b&gt;</textarea>" in page
    fields = fields_of(page)
    again.post(f"/mentions/{mention}/reply", text="Press Sync", **fields)
    assert again.post(f"/mentions/{mention}/draft", text="Press Sync", once=fields["once"]).json() == {"saved": False}
    assert app.store.drafts.of(mention) == []


def test_a_trainee_writes_drafts_and_sends_nothing(app: Service, enter: Callable[..., Somebody]) -> None:
    """A viewer doesn't even write."""
    mention, _ = asked(app)
    tim, eve = enter("tim", Role.TRAINEE), enter("eve", Role.VIEWER)
    page = tim.get(f"/mentions/{mention}/reply").text
    assert 'class="send"' not in page
    assert tim.post(f"/mentions/{mention}/draft", text="mine").status_code == 200
    assert tim.post(f"/mentions/{mention}/reply", text="mine", known=0).status_code == 403
    assert "<textarea" not in eve.get(f"/mentions/{mention}/reply").text
    assert eve.post(f"/mentions/{mention}/draft", text="mine").status_code == 403
    assert app.actions("reply") == []


def test_no_other_button_of_the_form_ever_sends(app: Service, enter: Callable[..., Somebody]) -> None:
    """Wherever a browser posts them to."""
    mention, _ = asked(app)
    ana = enter("ana")
    fields = fields_of(ana.get(f"/mentions/{mention}/reply").text)
    assert ana.post(f"/mentions/{mention}/reply", text="half", page="true", **fields).status_code == 303
    assert ana.post(f"/mentions/{mention}/reply", text="half", use="canned:joke", **fields).status_code == 200
    assert app.actions("reply") == []
    assert [one.text for one in app.store.drafts.of(mention)] == ["half"]


# Preview, prepared answers, style, suggestion


@pytest.mark.parametrize("htmx", [False, True])
def test_the_preview_counts_as_the_server_does(app: Service, enter: Callable[..., Somebody], htmx: bool) -> None:
    """The @name and the content warning count; a long text shows its posts; the style list is cited."""
    mention, _ = asked(app, warning="notes")
    ana = enter("ana")
    page = ana.post(f"/mentions/{mention}/reply/preview", htmx=htmx, text="You simply press Sync, and calm  down.").text
    assert f"{len('@noor You simply press Sync, and calm  down.') + len('notes')} of 500 characters" in page
    assert "@noor@x.example You simply" in page
    assert "“simply”: say “leave it out”" in page
    assert "<q>Nothing is simple.</q>" in page
    assert 'href="https://guide.example/#simple"' in page
    assert "“calm  down”. <q>Nobody ever did.</q>" in page
    long = ana.post(f"/mentions/{mention}/reply/preview", htmx=htmx, text="First do this. " * 60).text
    assert "2 posts: " in long
    assert "(2/2)" in long
    if not htmx:
        assert "First do this." in long.split("<textarea")[1].split("</textarea>")[0]


def test_prepared_answers_say_why_they_can_not_be_used(app: Service, enter: Callable[..., Somebody]) -> None:
    """Filled in where they fit, refused where they don't: by button, and when asked for all the same."""
    mention, _ = asked(app, "this is broken, I am furious")
    app.pass_()
    ana = enter("ana")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "Acme Notes has a ticket for it: MEM-1" in page
    assert "it jokes, and this is an angry post" in page
    assert "the post is angry" in page
    assert "can&#39;t be used" in ana.post(f"/mentions/{mention}/reply/preview", text="", use="canned:joke").text
    used = ana.post(f"/mentions/{mention}/reply/preview", text="Hm.", use="canned:known").text
    assert re.search(r"<textarea[^>]*>\s*Hm\.\n\nHello there, Acme Notes", used)
    solved = Ticket(app.tickets.tickets[0].id, "MEM-1", "", status="Closed", resolution="Done")
    app.store.tickets.changed("tickets", [solved], app.clock.now())
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "MEM-1 is solved (Done): say that instead" in page


def test_praise_is_thanked_with_one_key(app: Service, enter: Callable[..., Somebody]) -> None:
    """The prepared thank-you; once, and not for an answered post."""
    mention, _ = asked(app, "love it")
    ana = enter("ana")
    page = ana.get(f"/mentions/{mention}/reply").text
    [form] = re.findall(r'<form method="post" action="/mentions/\d+/reply" class="act".*?</form>', page, re.DOTALL)
    assert 'data-key="p"' in form
    fields: dict[str, Any] = dict(re.findall(r'name="(text|once|known)" value="([^"]*)"', form))
    ana.post(f"/mentions/{mention}/reply", htmx=True, **fields)
    app.pass_(seconds=15)
    assert [sent.mention.text for sent in app.acme.replies] == ["@noor@x.example Thank you, there!"]
    assert "Thank them" not in ana.get(f"/mentions/{mention}/reply").text


def test_an_earlier_answer_to_a_like_question_is_offered_with_its_source(app: Service, enter: Callable[..., Somebody]) -> None:
    """Never that of a private post, and never sent by itself."""
    secret, _ = asked(app, "how do I sync my notes with two phones", "mira@x.example", visibility=Visibility.DIRECT)
    people.answer_mention(app, secret, "The code is 1234.", "bo")
    app.pass_()
    ana = enter("ana")
    mention, _ = asked(app, "how do I sync all of my notes with two phones?", "zoe@x.example")
    assert "like question" not in ana.get(f"/mentions/{mention}/reply").text
    source, _ = asked(app, "how do I sync my notes with two phones", "kim@x.example")
    people.answer_mention(app, source, "Log in on both.", "bo")
    app.pass_()
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "Log in on both." in page
    assert f'href="/mentions/{source}"' in page
    assert "1234" not in page
    assert len(app.acme.replies) == 2


# Approvals


def waiting(app: Service, text: str = "my lawyer asks how", by: str = "ana") -> tuple[int, int, Mention]:
    mention, post = asked(app, text)
    (reply,) = people.answer_mention(app, mention, "It is so.", by, hold=15)
    return mention, reply, post


def test_an_answer_waits_for_its_approval(app: Service, enter: Callable[..., Somebody]) -> None:
    """By the group that the rule names, never by the writer; then it goes."""
    ana, lex, app_ = enter("ana", Role.ADMIN), enter("lex"), enter("app", Role.APPROVER)
    mention, reply, _ = waiting(app)
    app.pass_(hours=1)
    assert app.acme.replies == []
    waits = app.store.approvals.of(reply)
    assert (waits.action_id, waits.role, waits.asked_by, waits.text) == (reply, "legal", "ana", "It is so.")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "Waits for approval by legal" in page
    assert "you wrote it" in page
    for who in (ana, app_):
        assert "approve it" in refused(who.post(f"/mentions/{mention}/reply/approve", htmx=True, action=reply))
    assert "Approve and send" in lex.get(f"/mentions/{mention}/reply").text
    assert lex.post(f"/mentions/{mention}/reply/approve", action=reply).status_code == 303
    assert "lex has decided: approved" in refused(lex.post(f"/mentions/{mention}/reply/refuse", htmx=True, action=reply))
    app.pass_(seconds=1)
    assert len(app.acme.replies) == 1


def test_after_a_while_a_deputy_may(app: Service, enter: Callable[..., Somebody]) -> None:
    """Any approver but the writer, and no triager."""
    bo, cleo = enter("bo", Role.APPROVER), enter("cleo")
    mention, reply, _ = waiting(app, "a contract: how?", by="bo")
    app.pass_(hours=4)
    dan = enter("dan", Role.APPROVER)
    for who in (bo, cleo):
        assert "approve it" in refused(who.post(f"/mentions/{mention}/reply/approve", htmx=True, action=reply))
    assert dan.post(f"/mentions/{mention}/reply/approve", htmx=True, action=reply).status_code == 204
    app.pass_(seconds=1)
    assert len(app.acme.replies) == 1


def test_a_refused_answer_is_a_draft_again(app: Service, enter: Callable[..., Somebody]) -> None:
    """With the reason, and the task is open."""
    lex = enter("lex")
    mention, reply, _ = waiting(app)
    assert lex.post(f"/mentions/{mention}/reply/refuse", htmx=True, action=reply, why="too frank").status_code == 204
    assert app.store.outbox.row(reply)["error"] == "lex did not approve the answer: too frank"
    assert [row["mention"] for row in app.queue()] == [mention]
    assert [(one.person, one.text) for one in app.store.drafts.of(mention)] == [("ana", "It is so.")]
    app.pass_(hours=5)
    assert app.acme.replies == []


@pytest.mark.parametrize("what", ["edited", "deleted"])
def test_an_edited_or_deleted_post_voids_the_approval(app: Service, enter: Callable[..., Somebody], what: str) -> None:
    """Nothing goes out, whoever approves; the text is a draft. An edited post's task is open, a deleted one's has nothing to answer."""
    lex = enter("lex")
    mention, reply, post = waiting(app)
    if what == "edited":
        app.acme.edit(post.remote_id, "my lawyer asks how, and why")
    else:
        app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    assert "triage has decided: void" in refused(lex.post(f"/mentions/{mention}/reply/approve", htmx=True, action=reply))
    assert app.store.outbox.row(reply)["state"] == State.CANCELLED
    with pytest.raises(UserError, match="void"):
        app.store.approvals.of(reply)
    assert [(one.person, one.text) for one in app.store.drafts.of(mention)] == [("ana", "It is so.")]
    assert [row["mention"] for row in app.queue()] == ([mention] if what == "edited" else [])
    app.pass_(hours=5)
    assert app.acme.replies == []


def test_no_way_around_an_approval(app: Service) -> None:
    """It is neither parked nor told as found before it is decided; what is parked and retried still waits, in part and whole."""
    mention, _ = asked(app, "my lawyer asks how")
    ids = people.answer_mention(app, mention, "First do this. " * 60, "ana")
    now = app.clock.now()
    for one in ids:
        with pytest.raises(UserError, match=rf"answer {ids[0]} waits for approval by legal; nothing was changed"):
            app.store.desk.park(one, "ana", now)
        _parked(app, one)
        with pytest.raises(UserError, match=rf"answer {ids[0]} waits for approval by legal; nothing was changed"):
            app.store.desk.found(one, "1000", "ana", now)
    assert app.store.approvals.open() == []  # what is stopped in another way can't be let go
    with pytest.raises(UserError, match="the answer is parked; nothing was changed"):
        app.store.approvals.approve(ids[0], "lex", now)
    for one in ids:
        app.store.desk.retry(one, "ana", now)
    assert [one.action_id for one in app.store.approvals.open()] == [ids[0]]
    app.pass_(hours=1)
    assert app.acme.replies == []


def _parked(app: Service, action: int) -> None:
    """As an earlier version did by a person's word, and this one where the source was not in the config for a while."""
    with app.store.database.write() as connection:
        connection.execute(sa.update(actions).where(actions.c.id == action).values(state="parked"))


def test_an_edit_during_the_hold_keeps_the_text(app: Service) -> None:
    """The answer was for another text: it is a draft again, with what was begun since below it."""
    mention, post = asked(app)
    people.answer_mention(app, mention, "Press Sync.", "ana", hold=600)
    app.store.drafts.save(mention, "ana", "One more thing.", app.clock.now())
    app.acme.edit(post.remote_id, "how do I print?")
    app.pass_(hours=2)
    assert app.acme.replies == []
    assert [one.text for one in app.store.drafts.of(mention)] == ["Press Sync.\n\nOne more thing."]
    assert [row["mention"] for row in app.queue()] == [mention]


def test_forms_are_forgotten_after_a_day(app: Service) -> None:
    """The table does not grow for ever."""
    mention, _ = asked(app)
    people.answer_mention(app, mention, "so", "ana", once="abc")
    assert app.store.replies.carried_out("abc")
    app.pass_(hours=26)
    assert not app.store.replies.carried_out("abc")


def test_hostile_text_stays_text(app: Service, enter: Callable[..., Somebody]) -> None:
    """In the post, the draft, the answer, the name and what a far side says."""
    evil = "</textarea><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
    mention, _ = asked(app, f"how? {evil}")
    ana, bo = enter("ana"), enter("bo")
    bo.post(f"/mentions/{mention}/draft", text=evil)
    ana.post(f"/mentions/{mention}/draft", text=evil)
    app.acme.fail("reply", Refused(evil))
    people.answer_mention(app, mention, evil, "bo")
    app.pass_(seconds=1)
    for page in (ana.get(f"/mentions/{mention}/reply").text, ana.post(f"/mentions/{mention}/reply/preview", text=evil).text):
        assert "<script>alert" not in page
        assert "<img" not in page.replace('<img src="/assets', "")
    too_long = ana.post(f"/mentions/{mention}/draft", htmx=True, text="x" * 20_001)
    assert "20,000 characters" in refused(too_long)


# One way to answer


@pytest.fixture
def command(app: Service, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What `triage answer` says, or the refusal that it ends with."""

    @contextmanager
    def here() -> Iterator[Service]:
        yield app

    monkeypatch.setattr("triage.cli.people.opened", here)

    def run(*words: object) -> str:
        done = CliRunner().invoke(cli, ["answer", *map(str, words), "--by", "sam"])
        return str(done.exception) if isinstance(done.exception, UserError) else done.output

    return run


def test_the_command_holds_an_answer_and_tells_how_to_take_it_back(app: Service, command: Callable[..., str]) -> None:
    """As the page does; `--now` sends it itself, and another answer is meant only with `--again`."""
    asked(app)
    (task,) = (row["id"] for row in app.queue())
    said = command(task, "Press Sync.")
    (reply,) = app.actions("reply")
    held = app.clock.now() + timedelta(seconds=15)
    whom, told = said.splitlines()
    assert whom == "to noor@x.example, mention 1: how do I sync my notes?"
    assert told == f"reply {reply['id']}: held until {held:%H:%M:%S} UTC, then a worker sends it; take it back: triage drop {reply['id']}"
    app.store.desk.drop(reply["id"], "sam", app.clock.now())
    app.pass_(hours=1)
    assert (app.acme.replies, [row["id"] for row in app.queue()]) == ([], [task])
    assert "done: " in command(task, "Press Sync.", "--now")
    assert [sent.mention.text for sent in app.acme.replies] == ["@noor@x.example Press Sync."]
    assert f"task {task} is done by sam" in command(task, "Or pull down.")
    with app.store.database.write() as connection:
        connection.execute(sa.update(actions).where(actions.c.id == task).values(state=str(State.PLANNED), closed_at=None))
    assert "sam answered at" in command(task, "Or pull down.")
    assert len(app.acme.replies) == 1
    assert "held until" in command(task, "Or pull down.", "--again")
    app.pass_(seconds=15)
    assert len(app.acme.replies) == 2


@pytest.mark.parametrize("what", ["deleted", "token"])
def test_the_command_asks_what_the_page_asks(app: Service, command: Callable[..., str], what: str) -> None:
    """Nothing is planned, and the task stays open."""
    first, _ = asked(app)
    task = app.queue()[0]["id"]
    with app.store.database.write() as connection:
        if what == "deleted":
            connection.execute(sa.update(mentions).where(mentions.c.id == first).values(deleted_at=app.clock.now()))
        elif what == "token":
            later = app.clock.now() + timedelta(hours=1)
            refused_ = {"refusals": 3, "paused_until": later, "paused_why": "401"}
            connection.execute(sa.update(accounts).where(accounts.c.name == "acme").values(refused_))
    said = command(task, "Press Sync.")
    assert {"deleted": "the author deleted the post", "token": "the account's token was refused"}[what] in said
    assert "nothing was sent. Next: " in said
    assert app.actions("reply") == []
    assert [row["state"] for row in app.actions("task")] == [State.PLANNED]


def test_an_answer_closes_every_open_task_of_its_post(app: Service) -> None:
    """In one transaction, sent twice once; taken back all of them are open again, unless another answer stands."""
    mention, _ = asked(app)
    (task,) = app.actions("task")
    with app.store.database.write() as connection:
        row = {name: value for name, value in task.items() if name != "id"}
        second = connection.execute(sa.insert(actions).values(row | {"key": "another"}).returning(actions.c.id)).scalar_one()
    both = [task["id"], second]

    def open_tasks() -> list[int]:
        return sorted(row["id"] for row in app.queue() if row["kind"] == "task")

    assert open_tasks() == both
    (first,) = people.answer_mention(app, mention, "Press Sync.", "ana", hold=15, once="form")
    assert people.answer_mention(app, mention, "Press Sync.", "ana", hold=15, once="form") == [first]
    assert open_tasks() == []
    people.unsend(app, mention, "ana")
    assert open_tasks() == both
    (reply,) = people.answer(app, second, "Press Sync.", "ana", hold=15)
    assert app.store.outbox.row(reply)["payload"]["task_id"] == second
    people.answer_mention(app, mention, "Or pull down.", "bo", hold=15)
    people.unsend(app, mention, "ana")
    assert open_tasks() == []
    people.unsend(app, mention, "bo")
    assert open_tasks() == both


def test_what_is_posted_by_hand_needs_its_approval_too(app: Service, enter: Callable[..., Somebody]) -> None:
    """The approved text goes to who posts it; another text, or none approved, is refused."""
    mention, post = asked(app, "my lawyer asks how")
    app.acme.manifest = replace(app.acme.manifest, replies=False)
    ana, lex = enter("ana"), enter("lex")
    page = ana.get(f"/mentions/{mention}/reply").text
    assert "by_hand" not in fields_of(page)
    assert "Send for approval by legal" in page
    said = refused(ana.post(f"/mentions/{mention}/reply", htmx=True, text="It is so.", by_hand=True))
    assert "the rule asks for approval by legal before it is posted; nothing was noted" in said
    ana.post(f"/mentions/{mention}/reply", htmx=True, text="It is so.", **fields_of(page))
    (reply,) = app.actions("reply")
    assert (reply["state"], reply["via"]) == (State.PLANNED, "human")
    for path in ("reply/posted", "reply/approve"):
        assert "approv" in refused(ana.post(f"/mentions/{mention}/{path}", htmx=True, action=reply["id"]))
    with pytest.raises(UserError, match=f"answer {reply['id']} waits for approval by legal"):
        app.store.desk.close(reply["id"], "ana", app.clock.now(), "")
    assert "Waits for approval by legal" in ana.get(f"/mentions/{mention}/reply").text
    assert (
        "approved: post it by hand now"
        in lex.post(f"/mentions/{mention}/reply/approve", htmx=True, action=reply["id"]).headers["hx-trigger"]
    )
    app.pass_(hours=1)
    row = app.store.outbox.row(reply["id"])
    assert (row["state"], row["reason"]) == (State.PLANNED, f"answered by ana, approved by lex; post it by hand at {post.url}")
    assert "asks for approval" in refused(ana.post(f"/mentions/{mention}/reply", htmx=True, text="It isn't.", by_hand=True))
    ana.post(f"/mentions/{mention}/reply/posted", htmx=True, action=reply["id"])
    assert app.store.outbox.row(reply["id"])["state"] == State.DONE
    assert app.queue() == []


def test_who_may_approve_posts_by_hand_and_the_trail_says_so(app: Service, enter: Callable[..., Somebody]) -> None:
    """Nobody else read the answer first."""
    mention, _ = asked(app, "my lawyer asks how")
    app.acme.manifest = replace(app.acme.manifest, replies=False)
    lex = enter("lex")
    page = lex.get(f"/mentions/{mention}/reply").text
    assert fields_of(page)["by_hand"] == "true"
    lex.post(f"/mentions/{mention}/reply", htmx=True, text="It is so.", **fields_of(page))
    assert app.queue() == []
    trail = [line for line in app.store.items.look(mention).trail if line["who"] == "lex"]
    assert any("needed no approval" in line["what"] and "approval by legal" in line["detail"] for line in trail)


def test_a_trainee_claims_what_is_free_and_takes_nothing_from_anybody(app: Service, enter: Callable[..., Somebody]) -> None:
    """They are not offered it, and refused it."""
    mention, _ = asked(app)
    ana, tim = enter("ana"), enter("tim", Role.TRAINEE)
    tim.post(f"/mentions/{mention}/claim", htmx=True)
    now = app.clock.now()
    assert app.store.claims.of([mention], now)[mention].by == "tim"
    ana.post(f"/mentions/{mention}/claim", htmx=True, over=True)
    assert app.store.claims.of([mention], now)[mention].by == "ana"
    assert tim.post(f"/mentions/{mention}/claim", htmx=True, over=True, holder="ana").status_code == 403
    assert app.store.claims.of([mention], now)[mention].by == "ana"


def test_nobody_passes_by_an_approval_while_the_rule_is_not_known(app: Service) -> None:
    """An edited post waits to be judged anew, and its rule may be another then; of a rule that is gone nobody knows whom it asked."""
    mention, _ = asked(app, "how do I share?")
    with app.store.database.write() as connection:
        connection.execute(sa.update(mentions).where(mentions.c.id == mention).values(due_at=app.clock.now()))
    with pytest.raises(UserError, match="not judged yet"):
        people.answer_mention(app, mention, "Press Share.", "ana")
    app.pass_(seconds=1)
    assert people.answer_mention(app, mention, "Press Share.", "ana")
    assert people.approval(app.config, "renamed since") == next(rule.approve for rule in app.config.rules if rule.approve)
