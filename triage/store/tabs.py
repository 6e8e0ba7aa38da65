"""Which mentions each tab of the list holds: open, mine, asleep, waiting for their author, answered."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.mention import HUMAN, ActionKind, State
from triage.store.accounts import HELD
from triage.store.filters import ORDERING, Filters, last_verdict, narrowing
from triage.store.lines import STUCK
from triage.store.schema import OPEN, OPEN_STATES, actions, items, mentions, verdicts

STATES = ("open", "mine", "approval", "snoozed", "waiting", "answered", "all")
MOST_OPEN = 10_000  # what a list is put in order from; a tab tells of more as "10,000+"
WAITS = timedelta(days=14)  # an author who was silent for so long is waited for no more


def awake(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a mention does not sleep: until a time, or until its author writes again."""
    return sa.or_(items.c.mention_id.is_(None), ~asleep(now))


def asleep(now: datetime) -> sa.ColumnElement[bool]:
    """Whether it does: an item that nothing is known of does not."""
    sleeps = sa.or_(items.c.snoozed_until > now, sa.and_(items.c.until_reply, items.c.snoozed_until.is_(None)))
    return sa.func.coalesce(sleeps, sa.false())


def open_actions(filters: Filters, now: datetime, *, timed: bool) -> sa.Select[Any]:
    """The open actions that a person must look at, oldest first, each with what the order of its item depends on.

    That is little where no target times are set: what they are counted by is not read then.
    """
    conditions = narrowing(filters)
    asking = actions.outerjoin(items, items.c.mention_id == actions.c.mention_id)
    if timed or conditions:
        asking = asking.outerjoin(mentions, mentions.c.id == actions.c.mention_id).outerjoin(verdicts, verdicts.c.id == last_verdict())
    statement = sa.select(
        actions.c.id.label("action_id"),
        actions.c.created_at.label("since"),
        actions.c.state,
        sa.func.coalesce(actions.c.payload["urgent"].as_boolean(), sa.false()).label("urgent"),
        *(ORDERING if timed else (actions.c.mention_id.label("id"), *(sa.null() for _ in ORDERING[1:]))),
    ).select_from(asking)
    return statement.where(asks(now), *conditions).order_by(actions.c.created_at, actions.c.id).limit(MOST_OPEN)


def asking(statement: sa.Select[Any], now: datetime) -> sa.Select[Any]:
    """Of actions that a person must look at, with their items."""
    return statement.select_from(actions.outerjoin(items, items.c.mention_id == actions.c.mention_id)).where(asks(now))


def asks(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a person must look at an action: a task, or what is stuck or held; and its item does not sleep."""
    human = sa.and_(actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
    held = sa.and_(actions.c.state == str(State.PLANNED), actions.c.error.like(f"{HELD}%"))
    return sa.and_(OPEN, sa.or_(human, actions.c.state.in_(STUCK), held), awake(now))


def own(me: str) -> sa.ColumnElement[bool]:
    """Whether an item was given to somebody, or is being answered by them."""
    return sa.or_(items.c.assignee == me, items.c.claimed_by == me)


def given(now: datetime, me: str) -> sa.Select[Any]:
    """What is mine, nobody ever had a task about, and nobody answered; nor is anything of it stuck or held, which is listed by itself."""
    task = sa.exists().where(actions.c.mention_id == items.c.mention_id, actions.c.kind == str(ActionKind.TASK))
    listed = asking(sa.select(actions.c.mention_id), now).where(own(me))
    statement = sa.select(items.c.mention_id).where(own(me), items.c.answered_at.is_(None), ~asleep(now), ~task)
    return statement.where(items.c.mention_id.not_in(listed)).order_by(items.c.mention_id.desc()).limit(MOST_OPEN)


def _timed(connection: Connection, column: sa.ColumnElement[Any], *conditions: sa.ColumnElement[bool]) -> list[tuple[datetime, int]]:
    found = connection.execute(sa.select(column, items.c.mention_id).where(*conditions).order_by(column.desc()).limit(MOST_OPEN))
    return [(moment, id_) for moment, id_ in found]


def snoozed(connection: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """What sleeps, with the time until then; what waits for its author comes last."""
    timed = _timed(connection, items.c.snoozed_until, items.c.snoozed_until > now)
    known = {id_ for _, id_ in timed}
    wait = sa.select(items.c.mention_id).where(items.c.until_reply, items.c.snoozed_until.is_(None)).limit(MOST_OPEN)
    ever = now + timedelta(days=36_500)
    return timed + [(ever, id_) for id_ in connection.scalars(wait) if id_ not in known]


def answered(connection: Connection) -> list[tuple[datetime, int]]:
    """What was answered, with the time of it."""
    return _timed(connection, items.c.answered_at, items.c.answered_at.is_not(None))


def waiting(connection: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """What was answered lately and has nothing open, while its author has not written in the thread since."""
    later = mentions.alias("later")
    said = sa.exists().where(
        later.c.problem_id == mentions.c.problem_id,
        later.c.thread == mentions.c.thread,
        later.c.author == mentions.c.author,
        later.c.stored_at > items.c.answered_at,
    )
    asks = sa.or_(actions.c.via == HUMAN, actions.c.kind == str(ActionKind.REPLY))
    still = sa.exists().where(actions.c.mention_id == items.c.mention_id, asks, actions.c.state.in_(OPEN_STATES))
    statement = (
        sa.select(items.c.answered_at, items.c.mention_id)
        .join(mentions, mentions.c.id == items.c.mention_id)
        .where(items.c.answered_at.is_not(None), items.c.answered_at > now - WAITS, ~still, ~said)
        .order_by(items.c.answered_at.desc())
        .limit(MOST_OPEN)
    )
    return [(moment, id_) for moment, id_ in connection.execute(statement)]
