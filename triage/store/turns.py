"""Whose turn it is to do what is done now and then."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from triage.store.database import Database, insert
from triage.store.schema import meta


class Turns:
    """When each periodic work was done last; of several processes one gets the turn."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str, now: datetime, every: timedelta) -> tuple[bool, datetime | None]:
        """Whether it is time for something periodic, and when it was done last. Of several processes one gets the turn."""
        with self._database.write() as connection:
            old = connection.scalar(sa.select(meta.c.value).where(meta.c.name == name).with_for_update())
            last = datetime.fromisoformat(old) if old else None
            if last is not None and now - last < every:
                return False, last
            if old is None:
                statement = insert(connection, meta).values(name=name, value=now.isoformat()).on_conflict_do_nothing()
            else:
                statement = sa.update(meta).where(meta.c.name == name, meta.c.value == old).values(value=now.isoformat())
            mine = connection.execute(statement.returning(meta.c.name)).first() is not None
        return mine, last

    def give_back(self, name: str, last: datetime | None) -> None:
        """It was our turn and it failed: what was last done well stands."""
        with self._database.write() as connection:
            if last is None:
                connection.execute(sa.delete(meta).where(meta.c.name == name))
            else:
                connection.execute(sa.update(meta).where(meta.c.name == name).values(value=last.isoformat()))
