"""What people have to do with a mention beside its actions: who has it, and until when it sleeps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.errors import UserError
from triage.store.database import Database, insert
from triage.store.moves import add_audit
from triage.store.schema import items, mentions, people


class Items:
    """Assigning and snoozing. `by` is the person's name everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign(self, mention_id: int, to: str | None, by: str, now: datetime) -> None:
        """Give a mention to a person, or to nobody (None). `UserError` when there is no such person or mention."""
        with self._database.write() as connection:
            if to is not None:
                there = sa.select(people.c.id).where(people.c.name == to, people.c.disabled_at.is_(None))
                if connection.scalar(there) is None:
                    raise UserError(f"there is nobody named {to!r}; triage people lists everybody")
            self._set(connection, mention_id, assignee=to)
            add_audit(connection, now, by, "assigned", mention_id=mention_id, detail=f"to {to or 'nobody'}")

    def snooze(self, mention_id: int, until: datetime | None, by: str, now: datetime) -> None:
        """Let a mention sleep until a time, or (None) until its author writes again. `UserError` for a time that is past."""
        if until is not None and until <= now:
            raise UserError("that time has passed; choose a later one")
        with self._database.write() as connection:
            self._set(connection, mention_id, snoozed_until=until, snoozed_by=by, until_reply=until is None)
            told = f"{until:%Y-%m-%d %H:%M} UTC" if until else "they answer"
            add_audit(connection, now, by, "snoozed", mention_id=mention_id, detail=f"until {told}")

    def _set(self, connection: Connection, mention_id: int, **values: Any) -> None:
        if connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == mention_id)) is None:
            raise UserError(f"there is no mention {mention_id}; triage queue lists the open ones")
        statement = insert(connection, items).values(mention_id=mention_id, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=[items.c.mention_id], set_=values))
