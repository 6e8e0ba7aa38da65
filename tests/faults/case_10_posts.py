"""A post is deleted or edited at any moment: what was planned for it is not done as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.acceptance.rig import Rig
from tests.faults.case import Case, Ground
from tests.faults.inside import Inside, inside, settle
from triage.mention import Receipt, Work
from triage.pipeline import deliver, intake, judge, people
from triage.store.schema import actions

Post = dict[str, Any]


def rows(app: Inside, post: Post, kind: str) -> list[dict[str, Any]]:
    """The actions of a post, of one kind."""
    import sqlalchemy as sa

    wanted = app.store.desk.mention_id(post["uri"])
    with app.store.database.read() as connection:
        found = sa.select(actions).where(actions.c.mention_id == wanted, actions.c.kind == kind).order_by(actions.c.id)
        return [dict(row) for row in connection.execute(found).mappings()]


def states(app: Inside, post: Post, kind: str) -> list[str]:
    """How the actions of a post stand."""
    return [row["state"] for row in rows(app, post, kind)]


def tickets_of(rig: Rig, post: Post) -> int:
    """How many tickets name this post."""
    return sum(post["url"] in str(entry) for entry in rig.jira.ledger.entries("ticket"))


def replies_to(rig: Rig, post: Post) -> int:
    """How many answers this post has."""
    return sum(entry["in_reply_to"] == post["id"] for entry in rig.mastodon.replies)


def poll(app: Inside) -> None:
    """Fetch, and do nothing else."""
    app.clock.ahead += timedelta(seconds=2)
    intake.poll(app, app.sources)


def deleted_before_classify(rig: Rig, app: Inside) -> None:
    post = rig.mastodon.post("ann@else.example", "Export is broken")
    poll(app)
    rig.mastodon.delete(post["id"])
    app.pass_(seconds=60)
    app.pass_(hours=2)
    assert tickets_of(rig, post) == 0
    assert states(app, post, "ticket") in ([], ["cancelled"])


def deleted_before_create(rig: Rig, app: Inside) -> None:
    post = rig.mastodon.post("ben@else.example", "Import is broken")
    poll(app)
    judge.process(app)
    assert states(app, post, "ticket") == ["planned"]
    rig.mastodon.delete(post["id"])
    app.pass_(seconds=60)
    assert tickets_of(rig, post) == 0
    assert states(app, post, "ticket") == ["cancelled"]


def deleted_after_create(rig: Rig, app: Inside) -> None:
    post = rig.mastodon.post("cat@else.example", "Printing is broken")
    app.pass_()
    assert tickets_of(rig, post) == 1
    rig.mastodon.delete(post["id"])
    for _ in range(3):
        app.pass_(hours=2)
    assert tickets_of(rig, post) == 1
    assert states(app, post, "ticket") == ["done"]
    assert states(app, post, "task") == ["cancelled"], states(app, post, "task")
    assert states(app, post, "blank") == ["done"]
    (edit,) = rig.jira.ledger.entries("edit")
    assert "deleted by its author" in str(edit["values"])
    assert "Printing" not in str(edit["values"])


def deleted_while_a_draft_waits(rig: Rig, app: Inside) -> None:
    post = rig.mastodon.post("dan@else.example", "How do I print?")
    app.pass_()
    (task,) = rows(app, post, "task")
    rig.mastodon.delete(post["id"])
    planned = people.answer(app, task["id"], "Under File, Print.", "robin")
    app.pass_(seconds=60)
    deliver.deliver(app, planned)
    app.pass_(hours=2)
    assert replies_to(rig, post) == 0
    assert states(app, post, "reply") == ["cancelled"]


def edited_after_approval(rig: Rig, app: Inside) -> None:
    post = rig.mastodon.post("eva@else.example", "How do I share?")
    app.pass_()
    (task,) = rows(app, post, "task")
    planned = people.answer(app, task["id"], "Press Share.", "robin")
    rig.mastodon.edit(post["id"], "@quayside How do I stop sharing?")
    deliver.deliver(app, planned)
    app.pass_(seconds=60)
    assert replies_to(rig, post) == 0, "the approval was for another text"
    assert states(app, post, "reply") == ["cancelled"]
    assert "planned" in states(app, post, "task"), "nobody is asked again"
    (again,) = [row for row in rows(app, post, "task") if row["state"] == "planned"]
    deliver.deliver(app, people.answer(app, again["id"], "Press Stop.", "robin"))
    app.pass_()
    assert replies_to(rig, post) == 1


def edited_between_intent_and_send(rig: Rig, app: Inside) -> None:
    """It is sent, once, and the edit is followed afterwards."""
    post = rig.mastodon.post("fay@else.example", "Search is broken")
    tracker = app.tracker("tickets")
    file = tracker.file

    def edit_then_file(work: Work) -> Receipt:
        rig.mastodon.edit(post["id"], "@quayside Search is broken on Sundays")
        return file(work)

    tracker.file = edit_then_file  # type: ignore[method-assign]
    app.pass_()
    tracker.file = file  # type: ignore[method-assign]
    app.pass_(hours=2)
    assert tickets_of(rig, post) == 1
    assert any("on Sundays" in str(entry["body"]) for entry in rig.jira.ledger.entries("comment")), "the ticket was not told"


def deleted_between_intent_and_send(rig: Rig, app: Inside) -> None:
    """The server refuses an answer to what is gone."""
    post = rig.mastodon.post("gil@else.example", "How do I zoom?")
    app.pass_()
    (task,) = rows(app, post, "task")
    planned = people.answer(app, task["id"], "With the wheel.", "robin")
    platform = app.platform("quayside")
    reply = platform.reply

    def delete_then_reply(work: Work) -> Receipt:
        rig.mastodon.delete(post["id"])
        return reply(work)

    platform.reply = delete_then_reply  # type: ignore[method-assign]
    deliver.deliver(app, planned)
    platform.reply = reply  # type: ignore[method-assign]
    app.pass_(hours=2)
    assert replies_to(rig, post) == 0
    assert states(app, post, "reply")[0] in ("rejected", "cancelled")


def deleted_while_it_waits_for_a_ticket(rig: Rig, app: Inside) -> None:
    """A second report of a thread waits for the first one's ticket, and its own post goes."""
    first = rig.mastodon.post("hal@else.example", "Sync is broken")
    second = rig.mastodon.post("ida@else.example", "It is broken for me too", reply_to=first["id"])
    poll(app)
    judge.process(app)
    rig.mastodon.delete(first["id"])
    app.pass_(seconds=60)
    app.pass_(seconds=60)
    app.pass_(hours=2)
    assert tickets_of(rig, first) == 0
    assert tickets_of(rig, second) == 1, "the ticket passes to the next report"


STEPS: tuple[Callable[[Rig, Inside], None], ...] = (
    deleted_before_classify,
    deleted_before_create,
    deleted_after_create,
    deleted_while_a_draft_waits,
    edited_after_approval,
    edited_between_intent_and_send,
    deleted_between_intent_and_send,
    deleted_while_it_waits_for_a_ticket,
)


def posts(ground: Ground) -> None:
    """Each of them, in random order, on one store."""
    steps = list(STEPS)
    ground.random.shuffle(steps)
    with ground.rig() as rig, inside(rig) as app:
        for step in steps:
            step(rig, app)
            ground.notes[step.__name__.replace("_", " ")] += 1
        settle(rig, app)


CASES = (Case("post-goes-or-changes", 10, "Post deleted or edited before and after it is judged, filed, approved, sent", posts),)
