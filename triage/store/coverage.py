"""The ledger of what we have: from when to when everything of a source is in the store, and the holes with their reasons.

A poll that reads to the end extends the newest stretch, in the transaction that moves the cursor. An outage of ours leaves no
hole, since the next poll goes on from the cursor; a hole is there only when the far side no longer shows what follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.contracts import Page
from triage.store import rows
from triage.store.database import Database
from triage.store.schema import coverage

POLLS, HOLE, BACKFILL = "polls", "hole", "backfill"
SHOWN = 20  # stretches of a source, the newest


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time of which we have everything (`polls`), what a backfill could still read, or nothing for sure (`hole`, with the reason)."""

    source: str
    from_at: datetime
    until_at: datetime
    how: str
    why: str = ""


class Coverage:
    """What the ledger says, and what somebody filled in by hand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, source: str) -> list[Stretch]:
        """A source's newest stretches, oldest first."""
        newest = sa.select(coverage).where(coverage.c.source == source).order_by(coverage.c.id.desc()).limit(SHOWN)
        with self._database.read() as connection:
            found = connection.execute(newest).mappings().all()
        stretches = [Stretch(row["source"], row["from_at"], row["until_at"], row["how"], row["why"]) for row in found]
        return sorted(stretches, key=lambda one: (one.from_at, one.until_at))

    def filled(self, source: str, since: datetime, now: datetime) -> None:
        """A backfill read what the far side still showed of this time."""
        with self._database.write() as connection:
            _add(connection, Stretch(source, since, now, BACKFILL, "as far as the server still showed it"))


def keep_ledger(connection: Connection, source: str, page: Page, began: datetime, *, moved: bool) -> None:
    """Note down what a page of a poll's walk says of what we have; `began` is when the walk did, `moved` that its cursor counts."""
    if not page.complete and not page.gap:
        return
    ours = sa.select(coverage).where(coverage.c.source == source).order_by(coverage.c.id.desc()).limit(1)
    polls = connection.execute(ours.where(coverage.c.how == POLLS)).mappings().first()
    if page.gap and moved:
        until = polls["until_at"] if polls is not None else began
        first = min((item.mention.created_at for item in page.items if item.mention is not None), default=began)
        _add(connection, Stretch(source, until, max(until, min(first, began)), HOLE, page.gap))
    if not page.complete:
        return
    hole = connection.execute(ours.where(coverage.c.how == HOLE)).mappings().first()
    if polls is not None and (hole is None or hole["id"] < polls["id"]):
        grown = sa.update(coverage).where(coverage.c.id == polls["id"], coverage.c.until_at < began)
        connection.execute(grown.values(until_at=began))
    else:  # the first poll, or the first whole one after a hole
        start = began if hole is None else min(hole["until_at"], began)
        _add(connection, Stretch(source, start, began, POLLS))


def _add(connection: Connection, stretch: Stretch) -> None:
    connection.execute(
        sa.insert(coverage).values(
            source=stretch.source,
            from_at=stretch.from_at,
            until_at=stretch.until_at,
            how=stretch.how,
            why=rows.clean(stretch.why),
        )
    )
