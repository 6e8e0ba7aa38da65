"""What has to be taken out of tickets and comments: planned when a post is gone, and a person's task where the service can't do it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.mention import HUMAN, ActionKind, State, Work
from triage.store import batch, rows
from triage.store.database import insert
from triage.store.moves import add_audit, cancel
from triage.store.schema import TAKEN_BACK, actions, mentions

ERASED, DELETED = "erased", "deleted"
_WORDS = ("report", "edited")  # the comments that hold a post's text; each of them holds its link
_KINDS = (str(ActionKind.TICKET), str(ActionKind.COMMENT))
_MAY_BE_THERE = (State.DONE, State.SENDING, State.DOUBT, State.PARKED)


def filed(connection: Connection, mention_id: int, *, words: bool) -> list[RowMapping]:
    """The tickets and comments that hold something of a mention, or its words, and those of which nobody knows whether they exist."""
    mine = sa.select(actions).where(actions.c.mention_id == mention_id, actions.c.kind.in_(_KINDS), actions.c.first_intent_at.is_not(None))
    found = connection.execute(mine.where(actions.c.state.in_(map(str, _MAY_BE_THERE))).order_by(actions.c.id)).mappings().all()
    return [row for row in found if not row["payload"].get("lifted") and not (words and part(row) not in ("ticket", *_WORDS))]


def part(row: Mapping[Any, Any]) -> str:
    """What a filed action made: ticket, report, edited, deleted, relabelled."""
    return "ticket" if row["kind"] == ActionKind.TICKET else str(row["payload"].get("what", "report"))


def plan(connection: Connection, what: str, now: datetime, made: Mapping[int, Mapping[str, Any]]) -> None:
    """Take the words out of what these actions made, once it is known that it is there; once for each. `made` has payloads by their ids."""
    of_them = sa.select(actions).where(batch.among(connection, actions.c.id, list(made)))
    for row in connection.execute(of_them.order_by(actions.c.id)).mappings().all():
        why = "its author was erased here" if what == ERASED else "the post was deleted by its author"
        blank: dict[str, Any] = {
            "key": f"{row['key']}/{'erased' if what == ERASED else 'blank'}",
            "kind": str(ActionKind.BLANK),
            "via": row["via"],
            "state": str(State.PLANNED),
            "mention_id": row["mention_id"],
            "problem_id": row["problem_id"],
            "after_id": row["id"],
            "reason": why,
            "rule": "",
            "payload": {"what": what, "of": part(row), "at": f"{now:%Y-%m-%d}"} | dict(made[row["id"]]),
            "due_at": now if row["state"] == State.DONE else None,
            "created_at": now,
        }
        add = insert(connection, actions)
        # A ticket that passed to another report before it was sent took no blank along; that one's key is used for the new report's.
        names = ("state", "mention_id", "payload", "due_at", "created_at")
        again = {"error": "", "closed_at": None, "closed_by": ""} | {name: add.excluded[name] for name in names}
        passed_on = sa.and_(actions.c.state == str(State.CANCELLED), actions.c.mention_id != add.excluded.mention_id)
        connection.execute(add.on_conflict_do_update(index_elements=["key"], set_=again, where=passed_on), [blank])


def made_late(connection: Connection, mention_id: int, action_id: int, now: datetime) -> None:
    """It was filed after its post was deleted: a person released it, or its receipt came late. The words go out of that, too."""
    deleted = sa.select(mentions.c.id).where(mentions.c.id == mention_id, TAKEN_BACK)
    if connection.execute(deleted).first() is not None:
        filed_now = [row["id"] for row in filed(connection, mention_id, words=True) if row["id"] == action_id]
        plan(connection, DELETED, now, {id_: {} for id_ in filed_now})


def ended(connection: Connection, work: Work, state: State, why: str, now: datetime) -> None:
    """It is done, or the service can't do it, and a person is asked to. By what the words were known is not needed any more."""
    kept = {name: work.payload[name] for name in ("what", "of", "at") if name in work.payload}
    connection.execute(sa.update(actions).where(actions.c.id == work.action_id).values(payload=kept))
    if state is State.DONE:
        return
    ticket = work.previous.key if work.previous is not None else ""
    url = work.previous.url if work.previous is not None else ""
    ask(connection, f"{work.key}/task", ticket, url, now, f"{work.reason}, and triage can't take the words out: {why}")
    add_audit(connection, now, "triage", "passed to a person", mention_id=work.payload.get("mention_id"), action_id=work.action_id)
    cancel(connection, work.action_id, now, why)


def ask(connection: Connection, key: str, ticket: str, url: str, now: datetime, why: str) -> None:
    """Make the task, once for each key."""
    task = {
        "key": key,
        "kind": str(ActionKind.TASK),
        "via": HUMAN,
        "state": str(State.PLANNED),
        "reason": rows.clean(f"take the words out of {ticket} by hand, its history too ({url}): {why}"),
        "rule": "",
        "payload": {"what": "blank"},
        "created_at": now,
    }
    connection.execute(insert(connection, actions).on_conflict_do_nothing(), [task])
