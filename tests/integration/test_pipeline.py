"""The whole way on both databases, with far sides in memory and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service, service
from triage.errors import NotAccepted, OutcomeUnknown, RateLimited, Refused, Unauthorized, UserError
from triage.mention import Visibility
from triage.pipeline import intake, items, judge, people


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    made = service(tmp_path, store_url)
    yield made
    made.close()


def states(app: Service, kind: str) -> list[str]:
    return [row["state"] for row in app.actions(kind)]


def test_a_sure_bug_report_becomes_one_ticket_and_a_task(app: Service) -> None:
    """A thread gets one ticket; its later report is a comment on it; each reporter is to be acknowledged."""
    first = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.pass_()
    (ticket,) = app.tickets.tickets
    assert "Words that spoke for it" in ticket.text
    assert states(app, "ticket") == ["done"]
    assert states(app, "comment") == ["done"]
    assert [(row["what"], row["ticket"]["key"]) for row in app.queue()] == [("acknowledge", "MEM-1"), ("acknowledge", "MEM-1")]


def test_two_reports_of_one_thread_in_one_page_make_one_ticket(app: Service) -> None:
    """The second one sees the ticket that the same batch has planned."""
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.acme.post("eve@y.example", "broken, yes", reply_to=first.remote_id)
    app.pass_()
    assert states(app, "ticket") == ["done"]
    assert states(app, "comment") == ["done", "done"]


def test_the_four_labels_go_their_ways(app: Service) -> None:
    """A question waits for a person; praise and noise are archived, praise by a new author with a task to thank."""
    app.acme.post("a@x.example", "how do I do it")
    app.acme.post("b@x.example", "I love it")
    app.acme.post("c@x.example", "hello there")
    app.acme.post("d@x.example", "maybe broken")
    app.pass_()
    assert [row["what"] for row in app.queue()] == ["answer", "thank", "judge"]
    assert states(app, "archive") == ["done", "done"]
    assert app.tickets.tickets == []


def test_a_first_poll_starts_at_now(tmp_path: Path, store_url: str) -> None:
    """What was posted before the first poll is left alone."""
    made = service(tmp_path, store_url, started=False)
    made.acme.post("mira@x.example", "it is broken")
    made.pass_()
    assert made.store.views.count() == 0
    made.acme.post("mira@x.example", "it is broken again")
    made.pass_()
    assert made.store.views.count() == 1
    made.close()


def test_a_private_post_files_nothing(app: Service) -> None:
    """Whatever it says, it goes to a person and nowhere else."""
    app.acme.post("mira@x.example", "it is broken and all my data is gone", visibility=Visibility.DIRECT)
    app.pass_()
    assert app.tickets.tickets == []
    assert not app.oncall.alerts
    assert [row["visibility"] for row in app.queue()] == ["direct"]


def test_a_critical_post_raises_an_alert_until_its_task_is_closed(app: Service) -> None:
    """The alert is repeated while it is open, and resolved when a person has closed the task."""
    app.acme.post("mira@x.example", "broken: all my data is gone")
    app.pass_()
    assert [row["urgent"] for row in app.queue()] == [True]
    assert app.tickets.tickets == []
    (told,) = app.oncall.alerts.values()
    assert (told.severity, told.open, told.times) == ("critical", True, 1)
    app.store.desk.close(app.queue()[0]["id"], "ana", app.clock.now(), "phoned them")
    app.pass_()
    (told,) = app.oncall.alerts.values()
    assert (told.open, told.times) == (False, 2)
    app.pass_(minutes=30)
    assert next(iter(app.oncall.alerts.values())).times == 2


def test_an_alert_is_raised_again_with_its_task(app: Service) -> None:
    """Closed and taken back, answered and taken back: each time a new alert with a key of its own, which is over with the task."""
    app.acme.post("mira@x.example", "broken: all my data is gone")
    app.pass_()
    (task,) = app.queue()
    (first,) = app.oncall.alerts.values()
    app.store.desk.close(task["id"], "ana", app.clock.now(), "phoned them")
    app.pass_()
    items.undo(app, task["mention"], "ana")
    app.pass_()
    again = list(app.oncall.alerts.values())[-1]
    assert [(one.open, one.times) for one in app.oncall.alerts.values()] == [(False, 2), (True, 1)]
    assert again.key.startswith(f"{first.key}/")
    assert (again.name, again.severity, again.labels) == (first.name, first.severity, first.labels)
    people.answer(app, task["id"], "We bring it back.", "ana", hold=60)
    app.pass_()
    people.unsend(app, task["mention"], "ana")
    app.pass_()
    assert [(one.open, one.times) for one in app.oncall.alerts.values()] == [(False, 2), (False, 2), (True, 1)]
    assert len({key.rsplit("/", 1)[0] for key in list(app.oncall.alerts)[1:]}) == 1
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["UrgentPost"]
    app.store.desk.close(task["id"], "ana", app.clock.now(), "phoned them")
    app.pass_(minutes=30)
    assert [one.open for one in app.oncall.alerts.values()] == [False, False, False]
    assert app.store.views.status(app.clock.now())["alerts"] == []


def test_an_answer_is_posted_once_and_by_one_person(app: Service) -> None:
    """Of two people one wins, the other is told who was first."""
    app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    task = app.queue()[0]["id"]
    people.answer(app, task, "like this", "ana")
    with pytest.raises(UserError, match="by ana"):
        people.answer(app, task, "or like that", "lee")
    app.pass_()
    assert [sent.mention.text for sent in app.acme.replies] == ["@eve@x.example like this"]
    assert app.queue() == []


def test_a_long_answer_is_a_thread_in_order(app: Service) -> None:
    """Each part waits for the one before it and answers it."""
    app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    people.answer(app, app.queue()[0]["id"], "First do this. " * 60, "ana")
    app.pass_()
    sent = [reply.mention for reply in app.acme.replies]
    assert len(sent) > 1
    assert [post.parent_id for post in sent[1:]] == [post.remote_id for post in sent[:-1]]


def test_an_edit_voids_an_approved_answer_and_reopens_the_task(app: Service) -> None:
    """What was approved for the old text is not posted below the new one."""
    post = app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    app.acme.fail("reply", NotAccepted("down", after=60))
    people.answer(app, app.queue()[0]["id"], "like this", "ana")
    app.pass_()
    app.acme.edit(post.remote_id, "how do I undo it?")
    app.pass_(minutes=5)
    app.pass_()
    assert app.acme.replies == []
    assert states(app, "reply") == ["cancelled"]
    assert [row["text"] for row in app.queue()] == ["how do I undo it?"]


def test_an_edit_of_a_filed_post_is_told_on_the_ticket(app: Service) -> None:
    """The ticket learns of the new text."""
    post = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.edit(post.remote_id, "it is broken since 3.2")
    app.pass_(hours=2)
    app.pass_()
    assert [row["payload"]["what"] for row in app.actions("comment") if row["state"] == "done"] == ["edited"]
    assert states(app, "ticket") == ["done"]


def test_a_deleted_post_cancels_what_was_planned(app: Service) -> None:
    """Nothing is filed for a post that is gone before its ticket is made, and its task goes."""
    app.tickets.fail("file", NotAccepted("down", after=120))
    post = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.delete(post.remote_id)
    app.pass_(minutes=10)
    assert app.tickets.tickets == []
    assert states(app, "ticket") == ["cancelled"]
    assert app.queue() == []


def test_a_ticket_passes_to_the_next_report_when_its_own_is_deleted(app: Service) -> None:
    """The problem is still there: somebody else reported it too."""
    app.tickets.fail("file", NotAccepted("down", after=120))
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.pass_()
    app.acme.delete(first.remote_id)
    app.pass_(minutes=10)
    app.pass_(minutes=10)
    assert len(app.tickets.tickets) == 1
    assert [row["mention_id"] for row in app.actions("ticket")] == [2]


def test_an_unknown_outcome_is_looked_for_and_found(app: Service) -> None:
    """A ticket that was made although the connection broke is found by its marker, not made again."""
    app.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    assert states(app, "ticket") == ["doubt"]
    app.pass_(seconds=61)
    assert states(app, "ticket") == ["done"]
    assert len(app.tickets.tickets) == 1


def test_what_is_not_found_is_tried_once_more_and_then_parked(app: Service) -> None:
    """Three clean looks allow one retry; after three more a person decides, and is told on call."""
    app.tickets.fail("file", OutcomeUnknown("cut"), times=2)
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    for _ in range(8):
        app.pass_(minutes=6)
    assert states(app, "ticket") == ["parked"]
    assert app.actions("ticket")[0]["attempt"] == 2
    assert [row["kind"] for row in app.queue() if row["state"] == "parked"] == ["ticket"]
    action = app.actions("ticket")[0]["id"]
    app.store.desk.retry(action, "ana", app.clock.now())
    app.pass_()
    assert states(app, "ticket") == ["done"]
    assert len(app.tickets.tickets) == 1


def test_a_person_can_say_that_it_exists(app: Service) -> None:
    """`found` settles a parked ticket, and the comments that waited for it go to that ticket."""
    app.tickets.fail("file", Refused("no such project"))
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.pass_()
    assert states(app, "ticket") == ["rejected"]
    assert states(app, "comment") == ["planned"]
    app.store.desk.found(app.actions("ticket")[0]["id"], "HELP-7", "ana", app.clock.now())
    assert {row["ticket"]["key"] for row in app.queue() if row["ticket"]} == {"HELP-7"}
    assert app.actions("comment")[0]["due_at"] is not None


def test_a_revoked_token_pauses_the_account_with_one_call_and_one_alert(app: Service) -> None:
    """Other reports wait for it instead of failing one by one."""
    app.tickets.fail("file", Unauthorized("401"), times=100)
    for number in range(5):
        app.acme.post("mira@x.example", f"it is broken {number}")
    app.pass_()
    assert sum(row["attempt"] for row in app.actions("ticket")) == 1
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["AccountPaused"]
    app.pass_(minutes=2)
    assert sum(row["attempt"] for row in app.actions("ticket")) == 1
    app.tickets.heal()
    app.pass_(minutes=10)
    assert states(app, "ticket") == ["done"] * 5
    assert app.store.views.status(app.clock.now())["alerts"] == []


def test_a_429_is_waited_for(app: Service) -> None:
    """As long as the server asks, by everything that goes there: one failed call, not one for each ticket."""
    app.tickets.fail("file", RateLimited("slow down", after=300), times=3)
    for number in range(3):
        app.acme.post("mira@x.example", f"it is broken {number}")
    app.pass_()
    app.pass_(minutes=4)
    assert sorted(row["attempt"] for row in app.actions("ticket")) == [0, 0, 1]
    app.tickets.heal()
    app.pass_(minutes=2)
    assert states(app, "ticket") == ["done"] * 3


def test_a_reply_that_is_forbidden_is_a_persons_matter(app: Service) -> None:
    """This author does not want it; the source goes on being polled."""
    app.acme.fail("reply", Unauthorized("403", status=403))
    app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    people.answer(app, app.queue()[0]["id"], "like this", "ana")
    app.acme.post("bob@x.example", "how do I do that?")
    app.pass_()
    assert states(app, "reply") == ["rejected"]
    assert app.store.views.count() == 2
    assert app.store.views.status(app.clock.now())["alerts"] == []


def test_a_dropped_action_ends_its_alert(app: Service) -> None:
    """What nobody wants any more is not stuck."""
    app.tickets.fail("file", OutcomeUnknown("cut"), times=2)
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    for _ in range(8):
        app.pass_(minutes=6)
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["ActionStuck"]
    app.store.desk.drop(app.actions("ticket")[0]["id"], "ana", app.clock.now())
    assert app.store.views.status(app.clock.now())["alerts"] == []


def test_a_deleted_post_is_told_on_its_ticket(app: Service) -> None:
    """What was filed stays, and says so."""
    post = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    app.pass_()
    assert [(row["payload"]["what"], row["state"]) for row in app.actions("comment")] == [("deleted", "done")]


def test_the_brake_parks_and_alerts(tmp_path: Path, store_url: str) -> None:
    """More tickets an hour than a source may cause are parked; a person releases them one by one."""
    app = service(tmp_path, store_url, source=", brake: 2")
    for number in range(4):
        app.acme.post("mira@x.example", f"it is broken {number}")
    app.pass_()
    assert sorted(states(app, "ticket")) == ["done", "done", "parked", "parked"]
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["Brake"]
    parked = next(row["id"] for row in app.actions("ticket") if row["state"] == "parked")
    app.store.desk.retry(parked, "ana", app.clock.now())
    app.pass_()
    assert sorted(states(app, "ticket")) == ["done", "done", "done", "parked"]
    app.store.desk.drop(next(row["id"] for row in app.actions("ticket") if row["state"] == "parked"), "ana", app.clock.now())
    app.pass_()
    assert app.store.views.status(app.clock.now())["alerts"] == []
    app.close()


def test_observe_sends_nothing(tmp_path: Path, store_url: str) -> None:
    """What would be done is stored and shown; no ticket, no alert, no answer goes out."""
    app = service(tmp_path, store_url, mode="observe")
    app.acme.post("mira@x.example", "it is broken")
    app.acme.post("eve@x.example", "broken: all my data is gone")
    app.acme.post("bob@x.example", "how do I do it?")
    app.pass_()
    assert app.tickets.tickets == []
    assert not app.oncall.alerts
    assert states(app, "ticket") == ["observed"]
    question = next(row for row in app.queue() if row["what"] == "answer")
    with pytest.raises(UserError, match="mode: act"):
        people.answer(app, question["id"], "like this", "ana")
    app.close()


def test_backfill_observes(tmp_path: Path, store_url: str) -> None:
    """History is stored and judged, and nothing follows from it; what was posted since the last poll is no history."""
    app = service(tmp_path, store_url, started=False)
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.post("bob@x.example", "broken since a minute")
    since = app.clock.now().replace(year=2000)
    assert len(intake.backfill(app, "acme", since, act=False, progress=lambda _: None, wait=lambda *_: None)) == 1
    app.pass_()
    assert [ticket.summary for ticket in app.tickets.tickets] == ["bob@x.example: broken since a minute"]
    assert [row["author"] for row in app.queue()] == ["bob@x.example"]
    assert sorted(states(app, "ticket")) == ["done", "observed"]
    app.close()


def test_relabel_files_or_withdraws_and_tells_the_ticket(app: Service) -> None:
    """A person's word is followed: a missed bug is filed, and a ticket learns that it was none."""
    app.acme.post("mira@x.example", "hello, nothing works any more")
    app.acme.post("bob@x.example", "it is broken, not")
    app.pass_()
    judge.relabel(app, 1, "bug_report", "ana")
    judge.relabel(app, 2, "noise", "ana")
    app.pass_()
    assert len(app.tickets.tickets) == 2
    assert [row["payload"]["text"] for row in app.actions("comment")] == ["ana relabelled this post from bug_report to noise."]
    assert {row["mention"] for row in app.queue()} == {1}
    assert app.store.views.corrections() == [("hello, nothing works any more", "bug_report"), ("it is broken, not", "noise")]


def test_a_post_that_cannot_be_judged_is_quarantined_alone(app: Service) -> None:
    """The others of its batch go on."""
    app.acme.post("mira@x.example", "it is broken")
    app.acme.post("eve@x.example", "unjudgeable")
    app.acme.show_broken(b'{"id": 7}', "no status")
    app.pass_()
    assert len(app.tickets.tickets) == 1
    assert {row["why"] for row in app.store.views.quarantined()} == {
        "it could not be judged: ValueError: a text that the classifier can't take",
        "no status",
    }


def test_a_post_that_kills_its_worker_twice_is_quarantined(app: Service) -> None:
    """The attempt is counted before the work, and what was begun comes alone the second time."""
    app.acme.post("mira@x.example", "it is broken")
    app.acme.post("eve@x.example", "hello")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    inbox, delivery = app.store.inbox, app.config.delivery

    def begin(*, suspect: bool) -> list[int]:
        taken = inbox.claim(app.clock.now(), seconds=delivery.claim_seconds, limit=10, poison=2, suspect=suspect)
        return [one.id for one in taken]

    assert begin(suspect=False) == [1, 2]
    app.clock.move(minutes=5)
    assert begin(suspect=False) == []
    assert begin(suspect=True) == [1]
    app.clock.move(minutes=5)
    judge.process(app)
    assert [row["id"] for row in app.store.views.quarantined()] == [1]
    assert app.store.views.show(2)["status"] == "archived"


def test_a_sender_that_died_leaves_a_doubt(app: Service, tmp_path: Path, store_url: str) -> None:
    """An action whose process is gone is looked for; one whose process merely is silent is left alone."""
    other = service(tmp_path, store_url, clock=app.clock, started=False)
    app.acme.post("mira@x.example", "it is broken")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    (action,) = (id_ for id_ in judge.process(app) if app.store.outbox.row(id_)["kind"] == "ticket")
    work = other.store.outbox.claim(action, app.clock.now())
    assert work is not None
    app.pass_(hours=1)
    assert states(app, "ticket") == ["sending"]
    other.close()
    app.pass_(seconds=1)
    assert states(app, "ticket") == ["doubt"]


def test_a_receipt_for_this_very_attempt_counts_although_it_was_in_doubt(app: Service) -> None:
    """A process that was taken for dead and comes back with a receipt is believed."""
    from triage.delivery import Move
    from triage.mention import Receipt, State

    app.acme.post("mira@x.example", "it is broken")
    app.clock.move(seconds=11)
    intake.poll(app, ["acme"])
    (action,) = (id_ for id_ in judge.process(app) if app.store.outbox.row(id_)["kind"] == "ticket")
    work = app.store.outbox.claim(action, app.clock.now())
    assert work is not None
    app.store.outbox.let_go(action)
    assert app.store.outbox.orphans(app.clock.now()) == [action]
    assert app.store.outbox.finish(work, Move(State.DONE, "made", receipt=Receipt("9", "MEM-9")), app.clock.now())
    assert states(app, "ticket") == ["done"]


def test_two_accounts_that_see_one_post_share_one_mention(app: Service) -> None:
    """The second sighting adds nothing but itself."""
    from triage.contracts import Item, Page

    post = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    item = Item("other-id", b"{}", mention=post)
    app.store.inbox.add_source("second", app.clock.now(), app.clock.now())
    added = app.store.inbox.add_page("second", Page((item,), "c"), expect=None, now=app.clock.now())
    assert added.new == ()
    assert app.store.views.count() == 1
    assert app.store.inbox.threads("second", ["other-id"]) == {"other-id": post.uri}


def test_of_two_pollers_none_sets_the_cursor_back(app: Service) -> None:
    """A cursor moves only from where its poller found it."""
    from triage.contracts import Page

    now = app.clock.now()
    old = app.store.inbox.source("acme").cursor
    app.store.inbox.add_page("acme", Page((), "later"), expect=old, now=now)
    app.store.inbox.add_page("acme", Page((), "earlier"), expect=old, now=now)
    assert app.store.inbox.source("acme").cursor == "later"


def test_a_source_that_fails_says_it_once(app: Service) -> None:
    """Three failures in a row raise one alert; the recovery clears it."""
    app.acme.fail("fetch", NotAccepted("refused"), times=4)
    for _ in range(4):
        app.pass_()
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["SourceFailing"]
    app.pass_()
    assert app.store.views.status(app.clock.now())["alerts"] == []


def test_ticket_states_are_read_back(app: Service) -> None:
    """Status, resolution and fix versions stand in the queue and in show."""
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.tickets.resolve("MEM-1", "Fixed", ("4.3",))
    app.pass_(minutes=10)
    assert app.store.views.show(1)["ticket"] == {
        "key": "MEM-1",
        "url": "memory:MEM-1",
        "status": "Done",
        "resolution": "Fixed",
        "fix_versions": ["4.3"],
    }


def test_the_audit_finds_two_tickets_of_one_marker(app: Service) -> None:
    """An alert and a task to merge; nothing is deleted."""
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.tickets.double("MEM-1")
    app.pass_(hours=2)
    assert "DuplicateTickets" in [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]]
    (merge,) = (row for row in app.queue() if row["what"] == "merge")
    assert merge["reason"] == "MEM-1, MEM-2 are one problem: keep one, close the others"
    app.store.desk.close(merge["id"], "ana", app.clock.now(), "closed MEM-2")
    assert app.store.views.status(app.clock.now())["alerts"] == []


SUGGEST = """
rules:
  - {name: bugs, when: {label: bug_report}, then: [ticket, task], mode: suggest, reason: a bug}
  - {name: questions, when: {label: support_question}, then: draft, draft: "Hello {{ author }}, we look into it.", reason: a question}
  - {name: rest, then: archive, reason: nothing to do}
"""


def test_a_suggestion_is_carried_out_when_a_person_accepts_it(tmp_path: Path, store_url: str) -> None:
    """Until then nothing is filed; accepting confirms the label, files the ticket and closes the task."""
    app = service(tmp_path, store_url, rules=SUGGEST)
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    (task,) = app.queue()
    assert (task["suggest"], app.tickets.tickets) == (["ticket"], [])
    judge.accept(app, task["id"], "ana")
    app.pass_()
    assert len(app.tickets.tickets) == 1
    assert app.store.views.corrections() == [("it is broken", "bug_report")]
    assert task["id"] not in [row["id"] for row in app.queue()]
    with pytest.raises(UserError, match="by ana"):
        judge.accept(app, task["id"], "lee")
    app.close()


def test_a_draft_waits_for_a_person(tmp_path: Path, store_url: str) -> None:
    """It is shown with the task, and nothing is posted by itself."""
    app = service(tmp_path, store_url, rules=SUGGEST)
    app.acme.post("mira@x.example", "how do I do it?")
    app.pass_()
    (task,) = app.queue()
    assert task["draft"].startswith("Hello ")
    assert app.acme.replies == []
    people.answer(app, task["id"], task["draft"], "ana")
    app.pass_()
    assert [sent.mention.text for sent in app.acme.replies] == [f"@mira@x.example {task['draft']}"]
    app.close()


def test_a_renamed_source_keeps_what_waits_for_it(tmp_path: Path, store_url: str) -> None:
    """Its answers are given by hand from then on; its posts are still judged."""
    app = service(tmp_path, store_url)
    app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    app.close()
    renamed = service(tmp_path, store_url)
    renamed.config.sources.clear()
    ids = people.answer(renamed, renamed.queue()[0]["id"], "like this", "ana")
    assert [row["via"] for row in renamed.actions("reply")] == ["human"]
    assert [row["kind"] for row in renamed.queue()] == ["post by hand"]
    renamed.store.desk.close(ids[0], "ana", renamed.clock.now(), "posted")
    assert renamed.queue() == []
    renamed.close()


def test_a_person_can_file_a_private_post(app: Service) -> None:
    """Its ticket holds our number of it, and neither its text nor its author."""
    app.acme.post("mira@x.example", "secretly broken", visibility=Visibility.DIRECT)
    app.pass_()
    judge.file(app, 1, "ana")
    app.pass_()
    (ticket,) = app.tickets.tickets
    assert "secretly" not in ticket.text + ticket.summary
    assert "mira" not in ticket.text + ticket.summary
    assert "1" in ticket.text
    assert [row["mention"] for row in app.queue()] == [1]


def test_what_is_planned_for_a_deleted_post_is_cancelled_and_not_read_again_and_again(app: Service) -> None:
    """However it came to be planned: here by a retry after the deletion."""
    app.tickets.fail("file", OutcomeUnknown("cut"))
    post = app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.acme.delete(post.remote_id)
    for _ in range(8):
        app.pass_(minutes=30)
    assert app.tickets.tickets == []
    assert states(app, "ticket") == ["cancelled"]
    assert app.pass_(seconds=1).get("deliver tickets", 0) == 0


def test_a_thread_that_was_observed_gets_its_ticket_when_the_service_acts(tmp_path: Path, store_url: str) -> None:
    """An observed ticket is none: the next report files it."""
    watching = service(tmp_path, store_url, mode="observe")
    first = watching.acme.post("mira@x.example", "it is broken")
    watching.pass_()
    acting = service(tmp_path, store_url, clock=watching.clock, started=False)
    acting._made["platforms", "acme"] = watching.acme
    acting.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    acting.pass_()
    assert len(acting.tickets.tickets) == 1
    assert states(acting, "ticket") == ["done"]
    assert [row["mention_id"] for row in acting.actions("ticket")] == [2]
    watching.close()
    acting.close()


def test_an_edit_reopens_a_task_that_was_closed_for_the_old_text(app: Service) -> None:
    """A question that was answered and becomes something else is not lost."""
    post = app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    app.store.desk.close(app.queue()[0]["id"], "ana", app.clock.now(), "answered elsewhere")
    app.acme.edit(post.remote_id, "maybe broken, it eats my files")
    app.pass_(hours=2)
    app.pass_()
    assert [(row["what"], row["text"]) for row in app.queue()] == [("judge", "maybe broken, it eats my files")]


def test_of_two_suggestions_in_a_thread_the_second_becomes_a_comment(tmp_path: Path, store_url: str) -> None:
    """Its plan was made when the problem had no ticket."""
    app = service(tmp_path, store_url, rules=SUGGEST)
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.pass_()
    for task in app.queue():
        judge.accept(app, task["id"], "ana")
    app.pass_()
    assert (states(app, "ticket"), states(app, "comment")) == (["done"], ["done"])
    app.close()


def test_a_critical_post_that_is_deleted_stays_with_a_person(app: Service) -> None:
    """Its alert is over when they close the task, and not before."""
    post = app.acme.post("mira@x.example", "broken: all my data is gone")
    app.pass_()
    app.acme.delete(post.remote_id)
    app.pass_(hours=2)
    (task,) = app.queue()
    assert [alert.open for alert in app.oncall.alerts.values()] == [True]
    app.store.desk.close(task["id"], "ana", app.clock.now(), "")
    app.pass_()
    assert [alert.open for alert in app.oncall.alerts.values()] == [False]


def test_what_waits_for_a_tracker_that_was_removed_is_parked(app: Service) -> None:
    """Nothing was sent, so nothing is in doubt; a person puts it back or drops it."""
    app.tickets.fail("file", NotAccepted("down", after=60))
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    app.config.trackers.clear()
    app.pass_(minutes=5)
    assert states(app, "ticket") == ["parked"]
    assert "put it back" in app.actions("ticket")[0]["error"]


def test_a_reply_in_doubt_is_not_sent_below_an_edited_post(app: Service) -> None:
    """It was approved for the old text; a person looks."""
    post = app.acme.post("eve@x.example", "how do I do it?")
    app.pass_()
    app.acme.fail("reply", OutcomeUnknown("cut"))
    people.answer(app, app.queue()[0]["id"], "like this", "ana")
    app.pass_()
    app.acme.edit(post.remote_id, "how do I undo it?")
    app.pass_(hours=2)
    for _ in range(6):
        app.pass_(minutes=11)
    assert app.acme.replies == []
    assert states(app, "reply") == ["parked"]


def test_a_ticket_older_by_its_attempt_is_no_lower_bound_for_the_look(app: Service) -> None:
    """Only a ticket that existed before ours was first sent tells where to begin."""
    app.tickets.fail("file", Refused("400"))
    app.acme.post("a@x.example", "broken a")
    app.pass_()
    app.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    app.acme.post("b@x.example", "broken b")
    app.pass_()
    app.store.desk.retry(app.actions("ticket")[0]["id"], "ana", app.clock.now())
    app.pass_(seconds=30)
    taken = app.store.outbox.claim_look(app.actions("ticket")[1]["id"], app.clock.now().replace(year=2100), 60)
    assert taken is not None
    assert taken[0].payload["known_key"] == ""
