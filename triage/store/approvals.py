"""Answers that somebody else has to let go first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import HUMAN, State
from triage.store import moves
from triage.store.database import Database
from triage.store.moves import add_audit
from triage.store.schema import actions, approvals, mentions

APPROVED, REFUSED, VOID = "approved", "refused", "void"
HELD_FOR = "waits for approval"
"""What an action is held by, so that it stands in the queue."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An answer that waits for approval. `role` is a role or a group of the config; `text` is the whole answer."""

    action_id: int
    mention_id: int
    role: str
    asked_by: str
    asked_at: datetime
    text: str


class Approvals:
    """What waits for a second person. The action is planned and has no time; a worker takes none whose approval is missing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self) -> list[Waiting]:
        """All that wait, the longest first. One that was stopped in another way is decided there, if at all."""
        # An outer join, since SQLite would begin an inner one with all actions.
        columns = (actions.c.mention_id, actions.c.payload, actions.c.state)
        wanted = sa.select(approvals, *columns).outerjoin(actions, actions.c.id == approvals.c.action_id)
        statement = wanted.where(approvals.c.decision.is_(None)).order_by(approvals.c.asked_at, approvals.c.action_id)
        with self._database.read() as connection:
            return [_waiting(row) for row in connection.execute(statement).mappings() if row["state"] == State.PLANNED]

    def of(self, action_id: int) -> Waiting:
        """One that waits; `UserError` says what was decided when it no longer does."""
        with self._database.read() as connection:
            return _waiting(undecided(connection, action_id))

    def approved(self, mention_id: int, text: str) -> bool:
        """Whether this very answer to the post, as it reads now, was approved."""
        asked = (
            sa.select(actions.c.payload)
            .join(approvals, approvals.c.action_id == actions.c.id)
            .join(mentions, mentions.c.id == actions.c.mention_id)
            .where(actions.c.mention_id == mention_id, approvals.c.decision == APPROVED, approvals.c.revision == mentions.c.revision)
        )
        with self._database.read() as connection:
            return any(_text(payload).strip() == text.strip() for payload in connection.scalars(asked))

    def approve(self, action_id: int, by: str, now: datetime) -> int:
        """Let it go: it is due now. Of two who decide one wins. Returns the mention's id."""
        with self._database.write() as connection:
            row = locked(connection, action_id)
            if row["state"] != State.PLANNED:
                raise UserError(f"the answer is {row['state']}; nothing was changed. Not wanted: triage drop {action_id}")
            if row["revision"] != row["revision_now"]:
                raise UserError("the post was edited after the answer was written; it is a draft again, read it once more")
            decide(connection, action_id, APPROVED, by, now)
            due = sa.update(actions).where(actions.c.id == action_id, actions.c.state == str(State.PLANNED))
            reason, human = f"answered by {row['asked_by']}, approved by {by}", row["via"] == HUMAN
            told = f"{reason}; {by_hand(row)}" if human else reason
            connection.execute(due.values(due_at=None if human else now, error="", reason=told))
            add_audit(connection, now, by, "approved the answer", mention_id=row["mention_id"], action_id=action_id)
            return int(row["mention_id"])


def by_hand(mention: RowMapping) -> str:
    """What a person is asked to do with an answer that we can't post."""
    return f"post it by hand at {mention['data'].get('url') or mention['uri']}"


def locked(connection: Connection, action_id: int) -> RowMapping:
    """The undecided approval, with its post's and its action's rows locked in the order of everybody else."""
    moves.locked(connection, action_id)
    return undecided(connection, action_id)


def ask(connection: Connection, action_id: int, role: str, by: str, revision: int, now: datetime) -> None:
    """Ask for an approval, within the transaction that plans the answer."""
    row = {"action_id": action_id, "role": role, "asked_by": by, "asked_at": now, "revision": revision}
    connection.execute(sa.insert(approvals).values(row))


def undecided(connection: Connection, action_id: int) -> RowMapping:
    """An approval that is still open, with its answer and its post; `UserError` says what became of it otherwise."""
    now = mentions.c.revision.label("revision_now")
    wanted = (
        sa.select(approvals, actions.c.mention_id, actions.c.payload, actions.c.state, actions.c.via, mentions.c.uri, mentions.c.data, now)
        .join(actions, actions.c.id == approvals.c.action_id)
        .join(mentions, mentions.c.id == actions.c.mention_id)
    )
    row = connection.execute(wanted.where(approvals.c.action_id == action_id)).mappings().first()
    if row is None:
        raise UserError(f"answer {action_id} waits for nobody's approval")
    if row["decision"] is not None:
        who, at = row["decided_by"] or "triage", f"{row['decided_at']:%H:%M} UTC on {row['decided_at']:%Y-%m-%d}"
        raise UserError(f"{who} has decided: {row['decision']} at {at}{': ' + row['why'] if row['why'] else ''}")
    return row


def decide(connection: Connection, action_id: int, decision: str, by: str, now: datetime, why: str = "") -> None:
    """Write down a decision; one that is there stands."""
    statement = sa.update(approvals).where(approvals.c.action_id == action_id, approvals.c.decision.is_(None))
    connection.execute(statement.values(decision=decision, decided_by=by, decided_at=now, why=why))


def _waiting(row: RowMapping) -> Waiting:
    return Waiting(row["action_id"], row["mention_id"], row["role"], row["asked_by"], row["asked_at"], _text(row["payload"]))


def _text(payload: Mapping[str, Any]) -> str:
    return str(payload.get("whole") or payload.get("text", ""))
