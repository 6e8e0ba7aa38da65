"""Who is answering an item: of two people one wins, and nobody keeps an item by having gone home.

Nothing has to happen for a claim to be over: whoever reads it asks whether its owner is still there. The sweep only tidies up.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from triage.errors import UserError
from triage.store import batch
from triage.store.database import Database, insert
from triage.store.moves import add_audit
from triage.store.schema import drafts, items, mentions, people, presence, sessions, tokens

SWEPT = 500  # in one transaction

# Claims with what tells whether their owners are still there.
_CLAIMED = (
    sa.select(
        items.c.mention_id,
        items.c.claimed_by,
        items.c.claimed_at,
        people.c.id.label("person_id"),
        people.c.shown,
        people.c.away,
        people.c.disabled_at,
        sa.or_(
            sa.select(sessions.c.person_id).where(sessions.c.person_id == people.c.id).exists(),
            sa.select(tokens.c.id).where(tokens.c.person_id == people.c.id, tokens.c.ended_at.is_(None)).exists(),
        ).label("logged_in"),
        presence.c.seen_at,
        drafts.c.at.label("wrote_at"),
    )
    .outerjoin(people, people.c.name == items.c.claimed_by)
    .outerjoin(presence, sa.and_(presence.c.mention_id == items.c.mention_id, presence.c.person == items.c.claimed_by))
    .outerjoin(drafts, sa.and_(drafts.c.mention_id == items.c.mention_id, drafts.c.person == items.c.claimed_by))
    .where(items.c.claimed_by.is_not(None))
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Who is answering, and since when. `called` is what pages call them."""

    by: str
    called: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Stand:
    """Whose an item is. `assignee_away` tells that whom it is assigned to is not there to do it."""

    claim: Claim | None = None
    assignee: str = ""
    assignee_called: str = ""
    assignee_away: bool = False


class Claims:
    """Claims on items. `lapse` is after how many seconds one is over whose owner did not have the item open (`web.claim`)."""

    def __init__(self, database: Database, *, lapse: float) -> None:
        self._database = database
        self.lapse = timedelta(seconds=lapse)

    def claim(self, mention_id: int, by: str, now: datetime, *, over: bool = False, holder: str = "") -> None:
        """This person answers it now. Who has it already keeps it.

        `UserError` says who was first and since when. `over` takes it from them all the same; with `holder` only from this person,
        so that of two who take it from the same one a single one has it.
        """
        with self._database.write() as connection:
            # The mention first, as everywhere.
            if connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == mention_id).with_for_update()) is None:
                raise UserError(f"there is no mention {mention_id}; it may have been erased")
            before = connection.execute(_CLAIMED.where(items.c.mention_id == mention_id)).mappings().first()
            detail = ""
            if before is not None:
                ended = self._ended(before, now)
                if not ended and before["claimed_by"] == by:
                    return
                if not ended and not (over and holder in ("", before["claimed_by"])):
                    since = f"{before['claimed_at']:%Y-%m-%d %H:%M} UTC"
                    raise UserError(f"{before['shown'] or before['claimed_by']} has been answering this since {since}; nothing was changed")
                detail = f"taken from {before['claimed_by']}" + (f", who {ended}" if ended else "")
            taken = {"claimed_by": by, "claimed_at": now}
            statement = insert(connection, items).values(taken | {"mention_id": mention_id})
            connection.execute(statement.on_conflict_do_update(index_elements=["mention_id"], set_=taken))
            add_audit(connection, now, by, "claimed", mention_id=mention_id, detail=detail)

    def release(self, mention_id: int, by: str, now: datetime) -> None:
        """This person no longer answers it. `UserError` when somebody else does."""
        with self._database.write() as connection:
            mine = sa.update(items).where(items.c.mention_id == mention_id, items.c.claimed_by == by)
            if connection.execute(mine.values(claimed_by=None, claimed_at=None)).rowcount == 1:
                add_audit(connection, now, by, "released", mention_id=mention_id)
                return
            before = connection.execute(_CLAIMED.where(items.c.mention_id == mention_id)).mappings().first()
            if before is not None and not self._ended(before, now):
                raise UserError(f"{before['shown'] or before['claimed_by']} is answering this, not you; nothing was changed")

    def of(self, ids: Collection[int], now: datetime) -> dict[int, Claim]:
        """The claims that stand on these mentions."""
        if not ids:
            return {}
        with self._database.read() as connection:
            these = batch.among(connection, items.c.mention_id, list(ids))
            found = connection.execute(_CLAIMED.where(these)).mappings().all()
        return {row["mention_id"]: _claim(row) for row in found if not self._ended(row, now)}

    def stand(self, mention_id: int, now: datetime) -> Stand:
        """Whose an item is."""
        statement = (
            sa.select(items.c.assignee, people.c.shown, sa.or_(people.c.away, people.c.disabled_at.is_not(None)).label("absent"))
            .outerjoin(people, people.c.name == items.c.assignee)
            .where(items.c.mention_id == mention_id, items.c.assignee.is_not(None))
        )
        with self._database.read() as connection:
            row = connection.execute(statement).mappings().first()
        claim = self.of([mention_id], now).get(mention_id)
        if row is None:
            return Stand(claim)
        return Stand(claim, row["assignee"], row["shown"] or row["assignee"], bool(row["absent"]))

    def sweep(self, now: datetime) -> int:
        """Clear the claims that are over; how many there were."""
        swept = 0
        with self._database.write() as connection:
            for row in connection.execute(_CLAIMED.order_by(items.c.claimed_at).limit(SWEPT)).mappings().all():
                why = self._ended(row, now)
                same = (
                    items.c.mention_id == row["mention_id"],
                    items.c.claimed_by == row["claimed_by"],
                    items.c.claimed_at == row["claimed_at"],
                )
                if why and connection.execute(sa.update(items).where(*same).values(claimed_by=None, claimed_at=None)).rowcount == 1:
                    detail = f"{row['claimed_by']} {why}"
                    add_audit(connection, now, "triage", "back in the queue", mention_id=row["mention_id"], detail=detail)
                    swept += 1
        return swept

    def _ended(self, row: RowMapping, now: datetime) -> str:
        """Why a claim is over: what its owner did. Empty while it stands."""
        if row["person_id"] is not None:  # a name of the command line's need not be a person with a log-in
            if row["disabled_at"] is not None:
                return "can no longer log in"
            if row["away"]:
                return "signed off"
            if not row["logged_in"]:
                return "logged out"
        seen = max(at for at in (row["claimed_at"], row["seen_at"], row["wrote_at"]) if at is not None)
        if now - seen > self.lapse:
            return f"has not had it open for {self.lapse.total_seconds() / 60:.0f} min"
        return ""


def _claim(row: RowMapping) -> Claim:
    return Claim(row["claimed_by"], row["shown"] or row["claimed_by"], row["claimed_at"])
