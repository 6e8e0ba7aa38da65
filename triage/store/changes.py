"""What a post did after it was stored: edited or deleted, and what follows for its actions and its ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.contracts import Item
from triage.mention import ActionKind, Mention, State, Visibility
from triage.store import blanks, drafts, rows
from triage.store.database import insert
from triage.store.moves import add_audit, cancel, raise_again, withdraw_ticket
from triage.store.schema import actions, alerts, items, mentions, revisions

FILED = frozenset({State.DONE, State.SENDING, State.DOUBT})


def differs(row: RowMapping, mention: Mention) -> bool:
    """Whether what people read has changed: the text, the content warning, or who may see it."""
    return (
        row["text"] != rows.clean(mention.text)
        or row["data"].get("warning", "") != rows.clean(mention.warning)
        or ("visibility" in row and row["visibility"] != str(mention.visibility))
    )


def revise(connection: Connection, mention_id: int, item: Item, *, now: datetime, site: str) -> None:
    """The post was edited: keep both texts, take back what was approved for the old one, and judge it anew."""
    assert item.mention is not None
    row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id).with_for_update()).mappings().one()
    number = row["revision"] + 1
    connection.execute(
        sa.insert(revisions).values(
            mention_id=mention_id, number=number, raw=rows.pack(item.raw), text=rows.clean(item.mention.text), seen_at=now
        )
    )
    fresh = rows.of_mention(item.mention)
    values = {name: fresh[name] for name in ("text", "visibility", "language", "data")}
    connection.execute(
        sa.update(mentions)
        .where(mentions.c.id == mention_id)
        .values(values | {"revision": number, "due_at": now, "attempt": 0, "read_at": now, "quarantined": None})
    )
    add_audit(connection, now, row["author"], "edited the post", mention_id=mention_id, detail=f"revision {number}")
    _void_answers(connection, mention_id, now, "the post was edited after the answer was approved", reopen=True)
    _void_boost(connection, mention_id, now)
    if not item.mention.visibility.is_private:
        key = f"{site}/{row['uri']}/edited/{number}"
        _tell_ticket(connection, mention_id, now, key, "edited", "the post was edited after it was filed")


def _tell_ticket(connection: Connection, mention_id: int, now: datetime, key: str, what: str, reason: str) -> None:
    """A comment on the ticket that this post was filed with, if it was."""
    kinds = [str(ActionKind.TICKET), str(ActionKind.COMMENT)]
    mine = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind.in_(kinds)).order_by(actions.c.id)
    filed = next((row for row in connection.execute(mine).mappings().all() if row["state"] in FILED), None)
    if filed is None:
        return
    ticket = sa.select(actions).where(actions.c.problem_id == filed["problem_id"], actions.c.kind == str(ActionKind.TICKET))
    before = connection.execute(ticket).mappings().first()
    waits = before is not None and before["state"] != State.DONE
    comment: dict[str, Any] = {
        "key": key,
        "kind": str(ActionKind.COMMENT),
        "via": filed["via"],
        "state": str(State.PLANNED),
        "mention_id": mention_id,
        "problem_id": filed["problem_id"],
        "after_id": before["id"] if before is not None else None,
        "reason": reason,
        "rule": "",
        "payload": {"what": what},
        "due_at": None if waits else now,
        "created_at": now,
    }
    connection.execute(insert(connection, actions).on_conflict_do_nothing(), [comment])


def _void_answers(connection: Connection, mention_id: int, now: datetime, why: str, *, reopen: bool) -> None:
    """Answers that were not sent yet are not sent any more, an approval is void, and their text is their writers' draft again."""
    of_mention = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.REPLY))
    planned = of_mention.where(actions.c.state == str(State.PLANNED)).order_by(actions.c.id)
    unsent: dict[int, list[RowMapping]] = {}
    for action in connection.execute(planned).mappings().all():
        unsent.setdefault(action["payload"].get("first", action["id"]), []).append(action)
    for parts in unsent.values():
        withdraw(connection, parts, why, "triage", now, reopen=reopen)


def stop_answers(connection: Connection, mention_id: int, why: str, now: datetime) -> None:
    """The post needs no answer of ours any more: those of which nothing was sent are drafts again, and no task is opened.

    What is on its way, or may be there in part, stays as it is: half an answer helps nobody. The trail says so.
    The caller holds the mention's row.
    """
    mine = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.REPLY))
    given: dict[int, list[RowMapping]] = {}
    for action in connection.execute(mine.order_by(actions.c.id).with_for_update()).mappings().all():
        given.setdefault(action["payload"].get("first", action["id"]), []).append(action)
    for first, parts in given.items():
        states = [State(part["state"]) for part in parts]
        if set(states) == {State.PLANNED}:
            withdraw(connection, parts, why, "triage", now, reopen=False)
        elif going := [state for state in (State.SENDING, State.DOUBT, State.PLANNED) if state in states]:
            how = "sent in part" if State.DONE in states else "in doubt" if going[0] is State.DOUBT else "being sent"
            detail = f"{why}; too late to stop ours, which is {how}"
            add_audit(connection, now, "triage", "not stopped", mention_id=mention_id, action_id=first, detail=detail)


def withdraw(connection: Connection, parts: Sequence[RowMapping], why: str, by: str, now: datetime, *, reopen: bool = True) -> str:
    """Cancel what was not sent of an answer and give its writer the text back; the text.

    Where nothing is left of what was answered, nobody answered the post, and with `reopen` the tasks that it answered are open again.
    """
    first = parts[0]
    mention_id, text = first["mention_id"], whole(parts)
    for part in parts:
        cancel(connection, part["id"], now, why, by)
    of_mention = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.REPLY))
    left = connection.execute(of_mention.where(actions.c.state != str(State.CANCELLED))).mappings().all()
    if not left:
        nobody = sa.update(items).where(items.c.mention_id == mention_id)
        connection.execute(nobody.values(answered_by="", answered_at=None))
    answered = {id_ for row in left for id_ in tasks_of(row["payload"])}
    for task_id in tasks_of(first["payload"]) if reopen else ():
        if task_id not in answered:
            _reopen(connection, mention_id, task_id, now, why, by)
    if writer := first["payload"].get("by"):
        drafts.give_back(connection, mention_id, writer, text, now)
    return text


def tasks_of(payload: Mapping[str, Any]) -> list[int]:
    """The tasks that a reply answers."""
    one = payload.get("task_id")  # all that earlier versions wrote down
    return list(payload.get("task_ids") or ([] if one is None else [one]))


def _void_boost(connection: Connection, mention_id: int, now: datetime) -> None:
    """A boost that was not sent yet was asked for what the post said before."""
    mine = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.BOOST))
    for row in connection.execute(mine.where(actions.c.state == str(State.PLANNED))).mappings().all():
        withdraw_boost(connection, row, "the post was edited after the boost was asked for", "triage", now)


def withdraw_boost(connection: Connection, boost: RowMapping, why: str, by: str, now: datetime) -> None:
    """Cancel a boost that was not sent. What it had closed is open again, unless the post is answered by now."""
    cancel(connection, boost["id"], now, why, by)
    answers = sa.select(actions.c.id).where(
        actions.c.mention_id == boost["mention_id"],
        actions.c.kind == str(ActionKind.REPLY),
        actions.c.state != str(State.CANCELLED),
    )
    if connection.execute(answers.limit(1)).first() is None:
        for task_id in boost["payload"].get("tasks", ()):
            _reopen(connection, boost["mention_id"], task_id, now, why, by)


def whole(parts: Sequence[RowMapping]) -> str:
    """The text of an answer as it was written; where its first posts are left out, that of the others."""
    known = parts[0]["payload"].get("whole")
    return str(known) if known else "\n\n".join(str(part["payload"].get("text", "")) for part in parts)


def _reopen(connection: Connection, mention_id: int, task_id: int, now: datetime, why: str, by: str) -> None:
    there = sa.select(mentions.c.id).where(mentions.c.id == mention_id, mentions.c.deleted_at.is_(None))
    over = actions.c.state.in_([str(State.DONE), str(State.CANCELLED)])
    task = connection.execute(sa.select(actions.c.closed_at).where(actions.c.id == task_id, over, there.exists())).first()
    if task is None:
        return  # it is open, or the post is gone: nothing is left to do
    values = {"state": str(State.PLANNED), "closed_at": None, "closed_by": "", "error": why}
    connection.execute(sa.update(actions).where(actions.c.id == task_id).values(values))
    add_audit(connection, now, by, "reopened the task", mention_id=mention_id, action_id=task_id, detail=why)
    raise_again(connection, mention_id, task.closed_at, now)


def delete(connection: Connection, row: RowMapping, *, now: datetime, site: str) -> None:
    """The post is gone: nothing that was planned for it is sent any more. Its words are taken out of what was filed, which is told."""
    connection.execute(sa.update(mentions).where(mentions.c.id == row["id"]).values(deleted_at=now, due_at=None, attempt=0, reread_at=None))
    add_audit(connection, now, row["author"], "deleted the post", mention_id=row["id"])
    _void_answers(connection, row["id"], now, "the post was deleted by its author", reopen=False)
    # A security report that disappears is all the more a matter for a person.
    alarmed = connection.execute(sa.select(alerts.c.id).where(alerts.c.subject == row["uri"], alerts.c.closed_at.is_(None))).first()
    planned = sa.select(actions.c.id, actions.c.kind).where(actions.c.mention_id == row["id"], actions.c.state == str(State.PLANNED))
    for action_id, kind in connection.execute(planned).all():
        if kind == ActionKind.TICKET:
            withdraw_ticket(connection, action_id, now, "the post was deleted by its author")
        elif kind != ActionKind.ALERT and not (kind == ActionKind.TASK and alarmed):
            cancel(connection, action_id, now, "the post was deleted by its author")
    if not Visibility(row["visibility"]).is_private:
        _tell_ticket(connection, row["id"], now, f"{site}/{row['uri']}/deleted", "deleted", "the post was deleted after it was filed")
    blanks.plan(connection, blanks.DELETED, now, {one["id"]: {} for one in blanks.filed(connection, row["id"], words=True)})
