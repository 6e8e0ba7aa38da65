"""An answer has an author on our side, too.

Who writes back comes back to the person who answered, if that one is there. And where a colleague answered on the platform itself,
nobody here has to, and nothing of ours that was not sent yet is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.contracts import Item
from triage.mention import HUMAN, ActionKind, State
from triage.store import batch
from triage.store.board import Board, Judged
from triage.store.changes import stop_answers
from triage.store.database import insert
from triage.store.moves import add_audit, close_task
from triage.store.rows import clean
from triage.store.schema import actions, audit, items, mentions, people, sightings

ELSEWHERE = "answered on the platform"


def answered(connection: Connection, mention_id: int, by: str, now: datetime) -> None:
    """Note who answered a mention. The caller holds its row."""
    values = {"answered_by": by, "answered_at": now}
    statement = insert(connection, items).values(values | {"mention_id": mention_id})
    connection.execute(statement.on_conflict_do_update(index_elements=["mention_id"], set_=values))


def hand_back(connection: Connection, board: Board, judged: Sequence[Judged], now: datetime) -> None:
    """Give new replies to whoever answered their author last in the same thread; those of people who are away stay in the queue.

    Works in the transaction that records the verdicts, which holds the mentions' rows. What is assigned already stays so.
    """
    new = {
        one.claimed.id: (board.problems[one.thread]["id"], clean(one.claimed.mention.author.handle), one.claimed.stored_at)
        for one in judged
        if one.claimed.revision == 1 and not one.claimed.observe and one.thread != one.claimed.mention.uri
    }
    if not new:
        return
    problems, authors = {problem for problem, _, _ in new.values()}, {author for _, author, _ in new.values()}
    statement = (
        sa.select(mentions.c.problem_id, mentions.c.author, items.c.answered_by, items.c.answered_at, people.c.away, people.c.disabled_at)
        .join(items, items.c.mention_id == mentions.c.id)
        .outerjoin(people, people.c.name == items.c.answered_by)
        .where(
            batch.among(connection, mentions.c.problem_id, problems),
            batch.among(connection, mentions.c.author, authors),
            items.c.answered_by != "",
            items.c.answered_at.is_not(None),
        )
        .order_by(items.c.answered_at)
    )
    before = connection.execute(statement).mappings().all()
    for mention_id, (problem, author, came_at) in sorted(new.items()):
        same = [row for row in before if (row["problem_id"], row["author"]) == (problem, author) and row["answered_at"] <= came_at]
        if not same:
            continue
        last = same[-1]
        by, there = last["answered_by"], last["disabled_at"] is None and last["away"] is False  # None: nobody with a log-in
        if not there:
            detail = f"its author answers {by}, who is away; it is for whoever comes first"
        elif _assigned(connection, mention_id, by):
            detail = f"to {by}, whom its author answers"
        else:
            continue
        add_audit(connection, now, "triage", "came back", mention_id=mention_id, detail=detail)


def _assigned(connection: Connection, mention_id: int, to: str) -> bool:
    statement = insert(connection, items).values(mention_id=mention_id, assignee=to)
    free = statement.on_conflict_do_update(index_elements=["mention_id"], set_={"assignee": to}, where=items.c.assignee.is_(None))
    return connection.execute(free.returning(items.c.mention_id)).first() is not None


def answered_elsewhere(connection: Connection, source: str, shown: Sequence[Item], now: datetime) -> None:
    """Colleagues' own answers on the platform: each closes the question that it answers, once, however often it is shown.

    What people here have answered, and was not sent yet, is their draft again: they did not know of it.
    """
    answers = {item.answers: item for item in shown if item.answers}
    if not answers:
        return
    seen = (
        sa.select(mentions.c.id, sightings.c.remote_id)
        .join(sightings, sightings.c.mention_id == mentions.c.id)
        .where(sightings.c.source == source, sightings.c.remote_id.in_(answers))
        .order_by(mentions.c.id)
    )
    found = connection.execute(seen.with_for_update(of=mentions)).all()
    if not found:
        return
    handles = _handles(connection)
    for mention_id, remote_id in found:
        item = answers[remote_id]
        told = sa.select(audit.c.id).where(audit.c.mention_id == mention_id, audit.c.what == ELSEWHERE, audit.c.detail == item.remote_id)
        if connection.execute(told).first() is not None:
            continue
        by = handles.get(item.colleague.casefold(), item.colleague)
        stop_answers(connection, mention_id, stopped_by(by), now)  # first: what is withdrawn here says that nobody has answered
        answered(connection, mention_id, by, now)
        add_audit(connection, now, by, ELSEWHERE, mention_id=mention_id, detail=item.remote_id)
        _close_question(connection, mention_id, by, now)


def stopped_by(by: str) -> str:
    """Why an answer of ours was not sent that a colleague's own answer on the platform has stopped."""
    return f"answered by {by} on the platform"


def close_answered(connection: Connection, judged: Sequence[Judged], now: datetime) -> None:
    """A colleague was quicker than the verdict: the question that was just asked of people is answered already."""
    new = [one.claimed.id for one in judged if one.claimed.revision == 1]
    statement = (
        sa.select(items.c.mention_id, items.c.answered_by)
        .join(audit, sa.and_(audit.c.mention_id == items.c.mention_id, audit.c.what == ELSEWHERE))
        .where(batch.among(connection, items.c.mention_id, new), items.c.answered_by != "")
        .where(batch.among(connection, audit.c.mention_id, new))  # else PostgreSQL, which takes such lines for rare, reads all of them
        .order_by(items.c.mention_id)
        .distinct()
    )
    for mention_id, by in connection.execute(statement).all() if new else ():
        _close_question(connection, mention_id, by, now)


def _close_question(connection: Connection, mention_id: int, by: str, now: datetime) -> None:
    asked = (actions.c.kind == str(ActionKind.TASK), actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
    open_ = sa.select(actions.c.id, actions.c.payload).where(actions.c.mention_id == mention_id, *asked)
    for task_id, payload in connection.execute(open_.order_by(actions.c.id)).all():
        if payload.get("what") == "answer":
            close_task(connection, task_id, by, now)
            add_audit(connection, now, by, "closed the task", mention_id=mention_id, action_id=task_id, detail=f"answered by {by}")


def _handles(connection: Connection) -> dict[str, str]:
    """Who is meant by an account on a platform."""
    known = connection.execute(sa.select(people.c.name, people.c.handles)).all()
    return {str(handle).lstrip("@").casefold(): name for name, handles in known for handle in handles}
