"""The words of a post that is gone are taken out of its ticket, through the outbox like all else that goes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from tests.contract.test_trackers import options
from tests.service import HandClock, Service, service
from triage.delivery import Move
from triage.errors import Gone, NotAccepted, OutcomeUnknown, Refused, Unauthorized
from triage.mention import Mention, Receipt, State, Work
from triage.pipeline import deliver, privacy
from triage.sandbox.jira import JiraServer
from triage.sandbox.jira_documents import plain
from triage.store.schema import alerts, mentions
from triage.trackers import jira
from triage.trackers.memory import Memory

MIRA, BOB = "mira@x.example", "bob@y.example"
NOTICE = "The post was deleted by its author on"


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Service:
    """A service that has made its first poll."""
    return service(tmp_path, store_url)


def filed(app: Service, text: str = "saving is broken, says xyzzy") -> Mention:
    """A post with its ticket."""
    post = app.acme.post(MIRA, text)
    app.pass_()
    assert len(app.tickets.tickets) == 1
    return post


def deleted(app: Service, post: Mention) -> None:
    """Its author deletes it, and a re-reading sees that."""
    app.acme.delete(post.remote_id)
    app.pass_(minutes=61)


def states(app: Service) -> list[str]:
    return [row["state"] for row in app.actions("blank")]


def said(app: Service) -> str:
    """All that the ticket says."""
    (kept,) = app.tickets.tickets
    return "\n".join([kept.summary, kept.text, *(comment.text for comment in kept.comments)])


def asked(app: Service) -> list[str]:
    """What people are asked for."""
    return [row["reason"] for row in app.actions("task") if row["state"] == State.PLANNED]


def test_a_deleted_post_goes_out_of_its_ticket(app: Service) -> None:
    """Once; the ticket is told, its number is known, and nothing is done again by later passes."""
    post = filed(app)
    deleted(app, post)
    app.pass_()
    assert states(app) == ["done"]
    assert "xyzzy" not in said(app)
    assert NOTICE in said(app)
    edits = app.tickets.edits
    (blank,) = app.actions("blank")
    assert (blank["remote_key"], blank["payload"]["what"]) == (app.tickets.tickets[0].key, "deleted")
    for _ in range(3):
        app.pass_(hours=25)
    assert (app.tickets.edits, states(app), asked(app)) == (edits, ["done"], [])
    what = [event["what"] for event in app.store.views.show(blank["mention_id"])["events"]]
    assert "blank: done" in " ".join(what)


def test_of_a_report_its_own_comments_lose_the_words(app: Service) -> None:
    """The one of the report and the one of its edit; the ticket of somebody else stays as it is."""
    first = filed(app)
    second = app.acme.post(BOB, "it is broken for me too: plugh", reply_to=first.remote_id)
    app.pass_()
    app.acme.edit(second.remote_id, "it is broken for me too: plover")
    app.pass_(minutes=61)
    assert "plover" in said(app)
    deleted(app, second)
    app.pass_()
    assert states(app) == ["done", "done"]
    assert "plugh" not in said(app)
    assert "plover" not in said(app)
    assert "xyzzy" in said(app)


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_is_settled_by_reading(app: Service, carried_out: bool) -> None:
    """What was carried out is found, and is not written again; what was not is done by the second try."""
    post = filed(app)
    app.tickets.fail("blank", OutcomeUnknown("cut"), after=carried_out)
    deleted(app, post)
    assert states(app) == ["doubt"]
    edits = app.tickets.edits
    assert (edits > 0) is carried_out
    app.pass_(seconds=61)
    app.pass_()
    assert states(app) == ["done"]
    assert NOTICE in said(app)
    assert app.tickets.edits == (edits or 1)


@pytest.mark.parametrize("place", ["after_intent", "after_send"])
def test_a_worker_that_dies_leaves_a_doubt_that_is_settled(app: Service, place: str) -> None:
    """Between the intent and the call, and between the call and the receipt."""
    post = filed(app)
    passed = []

    def die(name: str) -> None:
        passed.append(name)
        if passed.count(place) == 2:  # the first is the comment that tells of the deletion
            raise KeyboardInterrupt

    with patch.object(deliver, "hit", side_effect=die), pytest.raises(KeyboardInterrupt):
        deleted(app, post)
    assert states(app) == ["sending"]
    edits = app.tickets.edits
    app.store.outbox.let_go(app.actions("blank")[0]["id"])  # what a process that ended no longer works on
    for _ in range(3):
        app.pass_(seconds=61)
    assert states(app) == ["done"]
    assert NOTICE in said(app)
    assert app.tickets.edits == (edits or 1)


def test_a_post_that_goes_while_its_ticket_is_in_doubt_goes_out_of_it_later(app: Service) -> None:
    """The ticket is found by a look; what waited for it follows."""
    post = app.acme.post(MIRA, "it is broken: xyzzy")
    app.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    app.pass_()
    app.acme.delete(post.remote_id)
    with patch.object(app.tickets, "find", side_effect=NotAccepted("away")):
        app.pass_(minutes=61)
    assert states(app) == ["planned"]
    app.pass_(minutes=5)
    app.pass_()
    assert states(app) == ["done"]
    assert "xyzzy" not in said(app)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (Refused("tickets: the server answered 400 (description: Field 'description' cannot be set.)", status=400), "cannot be set"),
        (Gone("tickets: the server answered 404", status=404), "answered 404"),
    ],
)
def test_what_the_server_refuses_is_a_persons_task(app: Service, failure: Exception, words: str) -> None:
    """With its reason, once; the action is over, and the task can be closed."""
    post = filed(app)
    app.tickets.fail("blank", failure)  # type: ignore[arg-type]
    deleted(app, post)
    for _ in range(3):
        app.pass_(hours=1)
    assert states(app) == ["cancelled"]
    (reason,) = asked(app)
    assert words in reason
    assert app.tickets.tickets[0].key in reason
    assert "deleted by its author" in reason
    (task,) = [row for row in app.queue() if row["kind"] == "task"]
    app.store.desk.close(task["id"], "cleo", app.clock.now(), "done by hand")
    assert asked(app) == []


def test_what_a_person_changed_is_a_persons_task(app: Service) -> None:
    """The description stays letter by letter."""
    post = filed(app)
    kept = app.tickets.tickets[0]
    kept.text = changed = kept.text.replace("xyzzy", "xyzzy (that is our word for it)")
    deleted(app, post)
    app.pass_()
    assert kept.text == changed
    assert ["changed by hand" in reason for reason in asked(app)] == [True]


def test_a_refused_token_rests_the_account_and_then_it_is_done(app: Service) -> None:
    """As for every other write: nothing becomes a person's task for that."""
    post = filed(app)
    app.tickets.fail("blank", Unauthorized("401", status=401))
    deleted(app, post)
    assert states(app) == ["planned"]
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["AccountPaused"]
    app.pass_(minutes=6)
    app.pass_(minutes=6)
    assert states(app) == ["done"]


def test_observing_changes_nothing(tmp_path: Path, store_url: str) -> None:
    """What was filed before stays; what would have been done is shown, and a person may release it."""
    clock = HandClock()
    app = service(tmp_path, store_url, clock=clock)
    post = filed(app)
    app.close()
    looking = service(tmp_path, store_url, mode="observe", clock=clock)
    looking._made["platforms", "acme"], looking._made["trackers", "tickets"] = app.acme, app.tickets
    deleted(looking, post)
    looking.pass_()
    assert (states(looking), looking.tickets.edits) == (["observed"], 0)
    assert "xyzzy" in said(looking)
    looking.pass_(hours=30)
    assert states(looking) == ["observed"], "the words are kept for whoever releases it"
    looking.store.desk.drop(looking.actions("blank")[0]["id"], "cleo", looking.clock.now())
    looking.pass_(hours=1)
    assert looking.store.privacy.forget(looking.clock.now(), looking.clock.now()) == 0, "it has just been done"
    with looking.store.database.read() as connection:
        assert connection.scalar(sa.select(mentions.c.text)) == ""


def test_what_a_person_files_of_a_deleted_post_is_blanked_too(tmp_path: Path, store_url: str) -> None:
    """The brake held its ticket when it was deleted: nothing was there to take out then."""
    app = service(tmp_path, store_url, source=", brake: 1")
    app.acme.post(BOB, "another thing is broken")
    app.pass_()
    post = app.acme.post(MIRA, "saving is broken, says xyzzy")
    app.pass_()
    deleted(app, post)
    (_, held) = app.actions("ticket")
    assert held["state"] == "parked"
    app.store.desk.retry(held["id"], "cleo", app.clock.now())
    app.pass_()
    app.pass_()
    assert states(app) == ["done"]
    assert len(app.tickets.tickets) == 2
    assert "xyzzy" not in app.tickets.tickets[1].summary + app.tickets.tickets[1].text


def test_a_ticket_that_passed_to_another_report_is_blanked_for_that_one(app: Service) -> None:
    """Its first report was deleted in doubt and the second one filed; then that is deleted, too."""
    app.tickets.fail("file", OutcomeUnknown("cut"))
    first = app.acme.post(MIRA, "saving is broken, says xyzzy")
    second = app.acme.post(BOB, "it is broken for me too: plugh", reply_to=first.remote_id)
    app.pass_()
    with patch.object(app.tickets, "find", side_effect=NotAccepted("away")):
        deleted(app, first)
    assert states(app) == ["planned"]
    for _ in range(6):
        app.pass_(minutes=11)
    assert states(app) == ["cancelled"], "the ticket won't hold what that was to take out"
    assert "plugh" in said(app)
    deleted(app, second)
    app.pass_()
    assert states(app) == ["done"]
    assert "plugh" not in said(app)


def test_a_late_receipt_of_a_ticket_that_passed_on(app: Service) -> None:
    """It holds the deleted report's words, not the heir's: those go out of it, and the heir's report is told in a comment."""
    works: list[Work] = []

    def cut(work: Work) -> Receipt:
        works.append(work)
        raise OutcomeUnknown("cut")

    with patch.object(app.tickets, "file", side_effect=cut):
        first = app.acme.post(MIRA, "saving is broken, says xyzzy")
        app.pass_()
    app.acme.post(BOB, "it is broken for me too: plugh", reply_to=first.remote_id)
    with patch.object(app.store.accounts, "put_off", return_value=True):  # its tracker rests
        for _ in range(6):
            app.pass_(minutes=5)
        deleted(app, first)
        (ticket,) = app.actions("ticket")
        assert (ticket["state"], ticket["mention_id"]) == ("planned", 2)
        made = Move(State.DONE, "made", receipt=app.tickets.file(works[0]))
        assert app.store.outbox.finish(works[0], made, app.clock.now()) is not None
    app.pass_()
    app.pass_()
    assert states(app) == ["done"]
    assert "xyzzy" not in said(app)
    assert "plugh" in said(app)
    assert [row["mention_id"] for row in app.actions("ticket")] == [1]


def test_what_is_known_by_an_actions_key_is_known_by_its_new_one(app: Service) -> None:
    """A thread's first post is forgotten: the alert about the ticket that its next report took over still ends with it."""
    app.tickets.fail("file", NotAccepted("no"))
    first = app.acme.post(MIRA, "saving is broken, says xyzzy")
    app.acme.post(BOB, "it is broken for me too: plugh", reply_to=first.remote_id)
    app.pass_()
    app.acme.delete(first.remote_id)
    app.tickets.fail("file", OutcomeUnknown("cut"), times=2)
    for _ in range(12):
        app.pass_(minutes=15)
    (ticket,) = app.actions("ticket")
    assert ticket["state"] == "parked"
    app.pass_(hours=25)
    with app.store.database.read() as connection:
        assert connection.scalar(sa.select(mentions.c.text).order_by(mentions.c.id)) == "", "it is forgotten"
        subject = connection.scalar(sa.select(alerts.c.subject).where(alerts.c.closed_at.is_(None)))
    assert subject == app.actions("ticket")[0]["key"] != ticket["key"]
    app.store.desk.retry(ticket["id"], "cleo", app.clock.now())
    app.pass_()
    assert app.store.views.status(app.clock.now())["alerts"] == []
    assert "plugh" in said(app)
    assert "erased" not in said(app)


def test_the_task_of_a_forgotten_post_does_not_name_it(app: Service) -> None:
    """Its key held the post's address."""
    post = filed(app)
    app.tickets.fail("blank", Refused("no right"))
    deleted(app, post)
    app.pass_()
    app.pass_(hours=25)
    assert len(asked(app)) == 1
    assert post.uri not in repr(app.actions())


def test_a_restored_store_reads_before_it_writes(app: Service) -> None:
    """What the store has forgotten that it did is found, and is not written again."""
    post = filed(app)
    deleted(app, post)
    edits = app.tickets.edits
    (blank,) = app.actions("blank")
    with app.store.database.write() as connection:
        forget = "UPDATE actions SET state = 'planned', remote_id = NULL, closed_at = NULL, attempt = 0, due_at = created_at WHERE id = :id"
        connection.execute(sa.text(forget), {"id": blank["id"]})
    app.store.place.begin_restore(app.clock.now(), "a test")
    with patch.object(app.tickets, "blank", side_effect=AssertionError("it was written")):
        app.pass_()
    assert (states(app), app.tickets.edits) == (["done"], edits)


def test_a_copy_writes_nothing(app: Service) -> None:
    """It sends nothing but alerts."""
    post = filed(app)
    with app.store.database.write() as connection:
        connection.execute(sa.text("""UPDATE meta SET value = '{"kind": "other"}' WHERE name = 'home'"""))
    app.acme.delete(post.remote_id)
    for _ in range(3):
        app.pass_(minutes=61)
    assert (states(app), app.tickets.edits) == (["planned"], 0)


def test_a_private_ticket_holds_nothing_to_take_out(app: Service) -> None:
    """It has no word of the post, and nothing is planned for it."""
    from triage.mention import Visibility
    from triage.pipeline import judge

    post = app.acme.post(MIRA, "it is broken: xyzzy", visibility=Visibility.DIRECT)
    app.pass_()
    with app.store.database.read() as connection:
        mention_id = connection.scalar(sa.select(mentions.c.id))
    judge.file(app, mention_id or 0, "cleo")
    app.pass_()
    assert "xyzzy" not in said(app)
    deleted(app, post)
    app.pass_()
    assert (states(app), app.tickets.edits) == ([], 0)


class Fixed:
    """A tracker of somebody else's that can't change what it holds."""

    def __init__(self, inner: Memory) -> None:
        self.manifest, self._inner = inner.manifest, inner

    def __getattr__(self, name: str) -> Any:
        if name in ("blank", "prints"):
            raise AttributeError(name)
        return getattr(self._inner, name)


@pytest.mark.parametrize("restored", [False, True])
def test_a_tracker_that_can_not_do_it_leaves_it_to_a_person(app: Service, restored: bool) -> None:
    """For a deleted post, and for a person who is erased; in restore mode as well."""
    post = filed(app)
    other = app.acme.post(BOB, "it is broken: plugh")
    app.pass_()
    app._made["trackers", "tickets"] = Fixed(app.tickets)
    if restored:
        app.store.place.begin_restore(app.clock.now(), "a test")
    deleted(app, post)
    app.pass_()
    assert states(app) == ["cancelled"]
    privacy.erase(app, BOB, "admin")
    assert states(app) == ["cancelled"]
    assert ["can't change what it holds" in reason for reason in asked(app)] == [True, True]
    assert other.author.handle not in repr(app.actions())


def test_an_erasure_takes_over_from_a_deletion(app: Service) -> None:
    """What the deletion had planned is dropped; name and links go as well, also where the words went before."""
    first, second = filed(app), app.acme.post(MIRA, "it is broken again: plugh")
    app.pass_()
    deleted(app, first)
    with patch.object(app.tickets, "blank", side_effect=NotAccepted("away")):
        deleted(app, second)
    assert states(app) == ["done", "planned"]
    privacy.erase(app, MIRA, "admin")
    app.pass_(minutes=20)
    app.pass_()
    assert sorted(states(app)) == ["cancelled", *["done"] * (len(states(app)) - 1)]
    for kept in app.tickets.tickets:
        told = "\n".join([kept.summary, kept.text, *(comment.text for comment in kept.comments)])
        assert not [word for word in ("mira", "xyzzy", "plugh", "x.example") if word in told], told
    assert asked(app) == []


@pytest.mark.parametrize("flavour", ["cloud", "data_center"])
def test_on_a_jira_a_person_is_erased_from_ticket_and_comments(tmp_path: Path, store_url: str, flavour: Any) -> None:
    """The whole way: filed, edited, deleted, erased; against the stand-in server, whose ledger holds each change."""
    app = service(tmp_path / "triage", store_url)
    with JiraServer(tmp_path / "jira", flavour=flavour) as server:
        app._made["trackers", "tickets"] = jira.Jira("tickets", options(server))
        first = app.acme.post(MIRA, "saving is broken, says xyzzy")
        app.pass_()
        app.acme.post(BOB, "broken for me too", reply_to=first.remote_id)
        app.pass_()
        app.acme.edit(first.remote_id, "saving is broken, says plugh")
        app.pass_(minutes=61)
        (ticket,) = server.tickets

        def told() -> str:
            return "\n".join([ticket.summary, *map(plain, (ticket.description, *(comment.body for comment in ticket.comments)))])

        deleted(app, first)
        app.pass_()
        assert states(app) == ["done", "done"]
        assert "xyzzy" not in told()
        assert "plugh" not in told()
        privacy.erase(app, MIRA, "admin")
        app.pass_()
        app.pass_()
        assert set(states(app)) == {"done"}
        assert "mira" not in told()
        assert "broken for me too" in told()
        changes = [entry["kind"] for entry in server.ledger.entries() if entry["kind"] in ("edit", "comment_edit")]
        assert changes.count("edit") == 2
        assert changes.count("comment_edit") == 3, "the edit's twice, and the one that told of the deletion"
        app.pass_(hours=25)
        assert len([e for e in server.ledger.entries() if e["kind"] in ("edit", "comment_edit")]) == len(changes)
    app.close()
