"""Boosts of praise: asked for by a person, held, taken back. At most one a post for ever, and so many a day for each source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage import boosts as rules
from triage.boosts import Boost
from triage.errors import Missing, UserError
from triage.mention import HUMAN, ActionKind, Mention, State, Visibility
from triage.store import rows
from triage.store.changes import withdraw_boost
from triage.store.database import Database
from triage.store.moves import add_audit, close_task
from triage.store.schema import OPEN, accounts, actions, mentions, verdicts
from triage.store.seen import Seen, hold

BOOSTED = "boosted"
"""The line of the trail that a boost leaves."""

DAY = timedelta(hours=24)
LONGEST_TRIED = timedelta(days=14)  # longer than any outage that a boost would wait for


@dataclass(frozen=True, slots=True)
class Standing:
    """What the store knows of a post that somebody may want to boost; `seen` is the state that it is shown in."""

    mention: Mention
    seen: Seen
    label: str | None
    deleted_at: datetime | None
    refused_token: str
    boost: Boost | None
    used: int
    next_at: datetime | None


class Boosts:
    """A person's boosts. `by` is the person's name; a refusal is a `UserError` that says who was first."""

    def __init__(self, database: Database, *, site: str) -> None:
        self._database = database
        self._site = site

    def standing(self, mention_id: int, now: datetime) -> Standing:
        """What is known of it. `UserError` when there is no such mention, or one that could not be read."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id)).mappings().first()
            if row is None or not row["platform"]:
                raise Missing(f"there is no mention {mention_id} that could be boosted")
            last = sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id.desc()).limit(1)
            verdict = connection.execute(last).mappings().first()
            account = sa.select(accounts).where(accounts.c.name == row["source"], accounts.c.role == "source")
            health = connection.execute(account).mappings().first()
            boost = self._of(connection, row)
            used, next_at = _used(connection, row["source"], now)
        refused = health["paused_why"] or health["last_error"] if health and health["refusals"] and health["paused_until"] else ""
        return Standing(
            rows.to_mention(row),
            Seen(row["revision"], verdict["id"] if verdict else 0),
            verdict["label"] if verdict else None,
            row["deleted_at"],
            refused,
            _to_boost(boost) if boost is not None and boost["state"] != State.CANCELLED else None,
            used,
            next_at,
        )

    def ask(self, mention_id: int, by: str, now: datetime, *, hold_for: float, daily: int, seen: Seen | None = None) -> int:
        """Plan the boost, held for so many seconds, and close the post's open tasks; the action's id. Of two people one wins.

        Who asks twice asked once. The locks are taken in the order of everybody else: the post, its actions, the account.
        """
        with self._database.write() as connection:
            mention = hold(connection, mention_id, seen)
            before = self._of(connection, mention)
            if before is not None and before["state"] != State.CANCELLED:
                there = _to_boost(before)
                if there.by == by and there.untouched:
                    return there.action_id
                raise UserError(f"{rules.taken(there)}; nothing was done")
            if Visibility(mention["visibility"]).is_private or mention["deleted_at"] is not None:
                raise UserError("the post is private or gone by now; nothing was done")
            tasks = sa.select(actions.c.id).where(
                actions.c.mention_id == mention_id,
                actions.c.kind == str(ActionKind.TASK),
                actions.c.via == HUMAN,
                actions.c.state == str(State.PLANNED),
            )
            closed = [int(id_) for id_ in connection.execute(tasks.order_by(actions.c.id)).scalars()]
            for task_id in closed:
                close_task(connection, task_id, by, now)
            source = sa.select(accounts.c.name).where(accounts.c.name == mention["source"], accounts.c.role == "source")
            connection.execute(source.with_for_update())  # one at a time: two that count before either commits would both find room
            used, next_at = _used(connection, mention["source"], now)
            if full := rules.full(mention["source"], used, daily, next_at):
                raise UserError(f"{full}; nothing was done")
            action_id = self._plan(connection, mention, before, closed, by, now, hold_for)
            add_audit(connection, now, by, BOOSTED, mention_id=mention_id, action_id=action_id)
        return action_id

    def _plan(
        self,
        connection: Connection,
        mention: RowMapping,
        before: RowMapping | None,
        closed: list[int],
        by: str,
        now: datetime,
        hold_for: float,
    ) -> int:
        until = now + timedelta(seconds=hold_for)
        payload: dict[str, Any] = {"by": by, "by_person": True, "tasks": closed}
        if hold_for:
            payload["held_until"] = until.isoformat()
        values: dict[str, Any] = {
            "via": mention["source"],
            "state": str(State.PLANNED),
            "problem_id": mention["problem_id"],
            "reason": f"boosted by {by}",
            "rule": "",
            "payload": payload,
            "due_at": until,
            "created_at": now,
        }
        if before is None:
            values |= {"key": self._key(mention), "kind": str(ActionKind.BOOST), "mention_id": mention["id"]}
            return int(connection.execute(sa.insert(actions).values(values).returning(actions.c.id)).scalar_one())
        values |= {"intent_at": None, "first_intent_at": None, "unknown_at": None, "looks": 0, "retried": False}
        values |= {"error": "", "closed_at": None, "closed_by": ""}
        connection.execute(sa.update(actions).where(actions.c.id == before["id"]).values(values))
        return int(before["id"])

    def take_back(self, mention_id: int, by: str, now: datetime) -> None:
        """Take back a boost that no worker has touched; what it had closed is open again. `UserError` when it is too late."""
        with self._database.write() as connection:
            mention = hold(connection, mention_id)
            row = self._of(connection, mention, lock=True)
            if row is None or row["state"] == State.CANCELLED:
                raise UserError("there is no boost to take back; nothing was changed")
            there = _to_boost(row)
            if not there.untouched:
                raise UserError(f"it can't be taken back: {rules.taken(there)}; undo it at the platform")
            withdraw_boost(connection, row, "taken back before it was sent", by, now)

    def _key(self, mention: Mapping[Any, Any]) -> str:
        return f"{self._site}/{mention['uri']}/boost"

    def _of(self, connection: Connection, mention: Mapping[Any, Any], *, lock: bool = False) -> RowMapping | None:
        mine = sa.select(actions).where(actions.c.key == self._key(mention))
        return connection.execute(mine.with_for_update() if lock else mine).mappings().first()


def _used(connection: Connection, source: str, now: datetime) -> tuple[int, datetime | None]:
    """How many boosts of a source were begun or ended within 24 hours or still wait, and when the oldest of the former leaves that day.

    One that met an outage may have begun days ago and go out today.
    """
    boost = sa.and_(actions.c.kind == str(ActionKind.BOOST), actions.c.via == source)
    late = sa.func.coalesce(actions.c.closed_at, actions.c.first_intent_at)
    today = sa.and_(actions.c.first_intent_at > now - LONGEST_TRIED, late > now - DAY)
    begun = sa.select(sa.func.count(), sa.func.min(late)).where(boost, today, actions.c.state != str(State.CANCELLED))
    waits = sa.select(sa.func.count()).where(OPEN, boost, sa.or_(actions.c.first_intent_at.is_(None), ~today))
    count, oldest = connection.execute(begun).one()
    return count + (connection.scalar(waits) or 0), oldest + DAY if oldest is not None else None


def _to_boost(row: RowMapping) -> Boost:
    state = State(row["state"])
    return Boost(
        row["id"],
        row["payload"].get("by", "somebody"),
        state,
        row["closed_at"] or row["created_at"],
        row["due_at"],
        row["error"],
        untouched=state is State.PLANNED and row["first_intent_at"] is None,
    )
