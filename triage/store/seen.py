"""What somebody saw of a mention when they decided: a page that is stale must not act on what is no longer so."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import Missing, UserError
from triage.store.schema import mentions, verdicts

NOTHING_DONE = "nothing was done; look at it again"


@dataclass(frozen=True, slots=True)
class Seen:
    """A mention as a page showed it: the post's revision, and the newest verdict's id (0 while nobody has judged it)."""

    revision: int
    verdict_id: int = 0

    def __str__(self) -> str:
        return f"{self.revision}.{self.verdict_id}"

    @classmethod
    def read(cls, text: str) -> Seen:
        """What a form sends back; `UserError` when it is nothing of ours."""
        revision, _, verdict_id = text.partition(".")
        if not (revision.isdecimal() and verdict_id.isdecimal() and len(text) < 40):
            raise UserError("this form does not say which state of the post it was shown with; reload the page")
        return cls(int(revision), int(verdict_id))


def hold(connection: Connection, mention_id: int, seen: Seen | None = None) -> RowMapping:
    """A mention's row, locked; `UserError` when there is none, or when it changed since it was `seen`, with what changed."""
    row = connection.execute(sa.select(mentions).where(mentions.c.id == mention_id).with_for_update()).mappings().first()
    if row is None:
        raise Missing(f"there is no mention {mention_id}")
    if seen is None:
        return row
    if row["revision"] != seen.revision:
        raise UserError(f"its author has edited the post meanwhile; {NOTHING_DONE}")
    newest = sa.select(verdicts).where(verdicts.c.mention_id == mention_id).order_by(verdicts.c.id.desc()).limit(1)
    last = connection.execute(newest).mappings().first()
    if last is not None and last["id"] != seen.verdict_id:
        label = last["label"].replace("_", " ")
        what = f"{last['by']} has labelled it {label}" if last["by_person"] else f"it was judged anew, {label},"
        raise UserError(f"{what} meanwhile; {NOTHING_DONE}")
    return row
