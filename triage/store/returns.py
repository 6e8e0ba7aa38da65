"""An answer has an author on our side, too: who writes back comes back to the person who answered, if that one is there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.store import batch
from triage.store.board import Board, Judged
from triage.store.database import insert
from triage.store.moves import add_audit
from triage.store.rows import clean
from triage.store.schema import items, mentions, people


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
