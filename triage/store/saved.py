"""Lists that people saved."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from triage.errors import UserError
from triage.store import rows
from triage.store.database import Database, insert
from triage.store.schema import saved


@dataclass(frozen=True, slots=True)
class Saved:
    """A list that somebody saved, as the address holds it."""

    id: int
    name: str
    query: str


class SavedLists:
    """Each person's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, me: str) -> list[Saved]:
        """A person's lists, by name."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(saved).where(saved.c.person == me).order_by(saved.c.name)).mappings()
            return [Saved(row["id"], row["name"], row["query"]) for row in found]

    def save(self, me: str, name: str, query: str, now: datetime) -> None:
        """Save a list under a name; one of that name is replaced."""
        name = " ".join(rows.clean(name).split())[:60]
        if not name:
            raise UserError("the list needs a name")
        with self._database.write() as connection:
            held = {"query": rows.clean(query)[:2_000], "at": now}
            statement = insert(connection, saved).values(person=me, name=name, **held)
            connection.execute(statement.on_conflict_do_update(index_elements=[saved.c.person, saved.c.name], set_=held))

    def forget(self, me: str, saved_id: int) -> None:
        """Delete a saved list. `UserError` when it is not there, or somebody else's."""
        with self._database.write() as connection:
            if connection.execute(sa.delete(saved).where(saved.c.id == saved_id, saved.c.person == me)).rowcount != 1:
                raise UserError("this list is not there any more")
