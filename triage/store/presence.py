"""Who looks at what, and which mentions changed: what a page needs in order to be live.

Nobody tells anybody that something happened: every process writes to the database and nothing else. So whoever wants to know asks
it once a second for the highest ids of the tables that everything leaves a row in, which their keys' indexes answer at once.

PostgreSQL hands an id out when a row is written and shows the row when its transaction commits, so a lower id can come to light
after a higher one. The ids that were passed over are therefore asked for again, until they show or a minute has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.errors import UserError
from triage.mention import State
from triage.store import batch
from triage.store.database import Database, insert
from triage.store.schema import actions, audit, drafts, mentions, notes, people, presence, verdicts

LOOKS = timedelta(seconds=30)
"""Somebody who was not seen for so long no longer looks."""

TYPES = timedelta(seconds=8)
KEPT = timedelta(hours=1)

MOST = 500
"""So many changed mentions are named; where there are more, everything is asked for again."""

LATE = timedelta(minutes=1)
"""So long after a higher id a lower one may come to light. Our transactions last milliseconds, or 30 s behind a vanished worker's lock."""

MOST_ROWS = 1000
MOST_HOLES = 10_000
_BACK = 500  # so far below the highest id a first look notes which ids have not come to light

# An edit, a deletion, and every change of an action or an item leaves its line in `audit`; the others have rows of their own.
_WATCHED: dict[str, tuple[sa.Table, sa.Column[Any]]] = {
    "audit": (audit, audit.c.mention_id),
    "verdicts": (verdicts, verdicts.c.mention_id),
    "actions": (actions, actions.c.mention_id),
    "mentions": (mentions, mentions.c.id),
    "notes": (notes, notes.c.mention_id),
}
_SENDING: sa.ColumnElement[str] = sa.literal_column(f"'{State.SENDING}'")  # spelt so that SQLite takes the partial index


@dataclass(frozen=True, slots=True)
class Looker:
    """Somebody who has an item open. `drafts` is set while a draft of theirs is kept."""

    person: str
    called: str
    typing: bool
    drafts: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has seen: the highest id of each table, and the lower ones that had not come to light (since when)."""

    tops: Mapping[str, int]
    holes: Mapping[str, Mapping[int, datetime]] = field(default_factory=dict)
    sending: frozenset[int] = frozenset()
    again: datetime | None = None  # there were too many holes to note: from then on everything is asked for again

    def __str__(self) -> str:
        """What `parse` reads: it may lie a little further back, and never further on. Empty where everything must be asked for again."""
        if self.again is not None:
            return ""
        return ".".join(str(min((id_ - 1 for id_ in self.holes.get(name, ())), default=self.tops[name])) for name in _WATCHED)

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """A mark from its words; None when they are none."""
        parts = text.split(".")
        if len(parts) != len(_WATCHED) or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
            return None
        return cls(dict(zip(_WATCHED, map(int, parts), strict=True)))


@dataclass(frozen=True, slots=True)
class Changed:
    """The ids of mentions that changed; with `all` too many to name, or nobody knows which."""

    mentions: frozenset[int] = frozenset()
    all: bool = False

    def __bool__(self) -> bool:
        return self.all or bool(self.mentions)


class Presence:
    """What people see of each other, and what tells a page that it is stale."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Who is there

    def beat(self, mention_id: int, person: str, typing: bool, now: datetime, *, left: int | None = None) -> None:
        """A person has this mention open, and may be typing. `left` is the one that they looked at before, and no longer do."""
        row = {"mention_id": mention_id, "person": person, "seen_at": now}
        more: dict[str, Any] = {"seen_at": now}
        if typing:
            row["typing_at"] = more["typing_at"] = now
        with self._database.write() as connection:
            if connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == mention_id)) is None:
                raise UserError(f"there is no mention {mention_id}; it may have been erased")
            statement = insert(connection, presence).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=["mention_id", "person"], set_=more))
            if left is not None and left != mention_id:
                before = sa.update(presence).where(presence.c.mention_id == left, presence.c.person == person)
                # The row stays: a claim asks when its owner was last seen there.
                connection.execute(before.where(presence.c.seen_at > now - LOOKS).values(seen_at=now - LOOKS, typing_at=None))

    def gone(self, person: str) -> None:
        """A person looks at nothing any more: they logged out."""
        with self._database.write() as connection:
            connection.execute(sa.delete(presence).where(presence.c.person == person))

    def others(self, mention_id: int, now: datetime, *, but: str = "") -> list[Looker]:
        """Who has a mention open, by name; `but` is who asks."""
        drafted = sa.select(drafts.c.person).where(drafts.c.mention_id == mention_id, drafts.c.person == presence.c.person).exists()
        statement = (
            sa.select(presence, people.c.shown, drafted.label("drafted"))
            .outerjoin(people, people.c.name == presence.c.person)
            .where(presence.c.mention_id == mention_id, presence.c.person != but, presence.c.seen_at > now - LOOKS)
            .order_by(presence.c.person)
        )
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        return [Looker(row["person"], row["shown"] or row["person"], _types(row["typing_at"], now), bool(row["drafted"])) for row in found]

    def everywhere(self, now: datetime) -> dict[int, frozenset[tuple[str, bool, datetime | None]]]:
        """Who looks at which mention now: their name, whether they type, and when their draft there was last kept."""
        statement = (
            sa.select(presence, drafts.c.at)
            .outerjoin(drafts, sa.and_(drafts.c.mention_id == presence.c.mention_id, drafts.c.person == presence.c.person))
            .where(presence.c.seen_at > now - LOOKS)
        )
        found: dict[int, set[tuple[str, bool, datetime | None]]] = {}
        with self._database.read() as connection:
            for row in connection.execute(statement).mappings():
                found.setdefault(row["mention_id"], set()).add((row["person"], _types(row["typing_at"], now), row["at"]))
        return {mention_id: frozenset(there) for mention_id, there in found.items()}

    def sweep(self, now: datetime, *, kept: timedelta = KEPT) -> None:
        """Forget who looked at what long ago."""
        with self._database.write() as connection:
            connection.execute(sa.delete(presence).where(presence.c.seen_at < now - max(kept, KEPT)))

    # What changed

    def mark(self, now: datetime) -> Mark:
        """Where the store stands now: what happens from here on is a change."""
        with self._database.read() as connection:
            tops = self._tops(connection)
            holes = {name: self._unseen(connection, name, top, now) for name, top in tops.items()}
            return Mark(tops, holes, frozenset(self._sending(connection)))

    def changes(self, since: Mark, now: datetime) -> tuple[Changed, Mark]:
        """Which mentions changed after a mark, made by whatever process, and the mark to ask with the next time."""
        with self._database.read() as connection:
            tops = self._tops(connection)
            if any(tops[name] < since.tops[name] for name in tops):  # another store, or ids that are given again
                return self._anew(now)
            found: set[int] = set()
            of_actions: set[int] = set()
            holes: dict[str, dict[int, datetime]] = {}
            for name in _WATCHED:
                ids = self._late(connection, name, since, found, of_actions)
                left = {id_: noticed for id_, noticed in since.holes.get(name, {}).items() if id_ not in ids and now - noticed < LATE}
                if tops[name] > since.tops[name]:
                    fresh = self._read(connection, name, found, of_actions, _WATCHED[name][0].c.id > since.tops[name])
                    if len(fresh) > MOST_ROWS or tops[name] - since.tops[name] > MOST_HOLES:
                        return self._anew(now, again=now + LATE)
                    tops[name] = max(fresh, default=tops[name])
                    left |= self._holes(since.tops[name], tops[name], fresh, now)
                holes[name] = left
            sending = self._sending(connection)
            found.update(mention_id for id_, mention_id in sending.items() if id_ not in since.sending and mention_id is not None)
            if of_actions:
                named = sa.select(actions.c.mention_id).where(batch.among(connection, actions.c.id, of_actions))
                found.update(id_ for id_ in connection.execute(named).scalars() if id_ is not None)
        if since.again is not None and now >= since.again:
            return Changed(all=True), Mark(tops, holes, frozenset(sending))
        again = since.again
        if sum(map(len, holes.values())) > MOST_HOLES:
            holes, again = {}, now + LATE
        return Changed(frozenset(found), len(found) > MOST), Mark(tops, holes, frozenset(sending), again)

    def _anew(self, now: datetime, again: datetime | None = None) -> tuple[Changed, Mark]:
        mark = self.mark(now)
        return Changed(all=True), Mark(mark.tops, mark.holes, mark.sending, again)

    def _tops(self, connection: Connection) -> dict[str, int]:
        tops = [sa.select(sa.func.max(table.c.id)).scalar_subquery().label(name) for name, (table, _) in _WATCHED.items()]
        return {name: top or 0 for name, top in connection.execute(sa.select(*tops)).mappings().one().items()}

    def _late(self, connection: Connection, name: str, since: Mark, found: set[int], of_actions: set[int]) -> set[int]:
        """The ids that have come to light since."""
        holes = since.holes.get(name)
        if not holes:
            return set()
        return self._read(connection, name, found, of_actions, batch.among(connection, _WATCHED[name][0].c.id, list(holes)))

    def _read(self, connection: Connection, name: str, found: set[int], of_actions: set[int], where: sa.ColumnElement[bool]) -> set[int]:
        """The ids of rows, one more than `MOST_ROWS` at most; the mentions that they belong to are added to what was found."""
        table, mention = _WATCHED[name]
        action = table.c.action_id if name == "audit" else sa.null()
        columns = (table.c.id, mention.label("mention"), action.label("action"))
        statement = sa.select(*columns).where(where).order_by(table.c.id).limit(MOST_ROWS + 1)
        ids: set[int] = set()
        for id_, mention_id, action_id in connection.execute(statement):
            ids.add(id_)
            if mention_id is not None:
                found.add(mention_id)
            elif action_id is not None:
                of_actions.add(action_id)
        return ids

    def _unseen(self, connection: Connection, name: str, top: int, now: datetime) -> dict[int, datetime]:
        """The ids right below the highest one that have not come to light."""
        column = _WATCHED[name][0].c.id
        low = max(0, top - _BACK)
        there = connection.execute(sa.select(column).where(column > low, column <= top).order_by(column)).scalars().all()
        return self._holes(low, top, there, now)

    def _holes(self, low: int, top: int, there: Iterable[int], now: datetime) -> dict[int, datetime]:
        if self._database.is_sqlite:  # where one writes at a time
            return {}
        return dict.fromkeys(sorted({*range(low + 1, top + 1)}.difference(there)), now)

    def _sending(self, connection: Connection) -> Mapping[int, int | None]:
        statement = sa.select(actions.c.id, actions.c.mention_id).where(actions.c.state == _SENDING).limit(MOST)
        return {row.id: row.mention_id for row in connection.execute(statement)}


def _types(at: datetime | None, now: datetime) -> bool:
    return at is not None and now - at < TYPES
