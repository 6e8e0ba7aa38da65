"""What people are writing: one draft a person and item, kept until it is sent or thrown away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.errors import UserError
from triage.mention import ActionKind
from triage.replies import LONGEST_TEXT
from triage.store import rows
from triage.store.database import Database, insert
from triage.store.schema import actions, drafts, mentions


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody has written so far, and when it was last saved."""

    person: str
    text: str
    at: datetime


class Drafts:
    """Drafts of answers. They survive a reload, a crash and a log-out, and colleagues can read them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, mention_id: int) -> list[Draft]:
        """Everybody's draft of an answer to a mention, the newest first."""
        wanted = sa.select(drafts).where(drafts.c.mention_id == mention_id).order_by(drafts.c.at.desc(), drafts.c.person)
        with self._database.read() as connection:
            return [Draft(row["person"], row["text"], row["at"]) for row in connection.execute(wanted).mappings()]

    def save(self, mention_id: int, person: str, text: str, now: datetime, *, once: str = "") -> bool:
        """Keep what a person has written; an empty text throws the draft away. False when it came too late, and nothing was kept.

        `once` names the form that it was typed into: what arrives after that form was sent must not bring the draft back.
        `UserError` for a mention that there is none of, and for a text that is too long.
        """
        if len(text) > LONGEST_TEXT:
            raise UserError(f"a draft may have {LONGEST_TEXT:,} characters, and this has {len(text):,}; shorten it")
        with self._database.write() as connection:
            # The mention first, as where the answer is planned: of that and a save that meets it, one comes after the other.
            found = connection.scalar(sa.select(mentions.c.id).where(mentions.c.id == mention_id).with_for_update(read=True))
            if found is None:
                raise UserError(f"there is no mention {mention_id}; the queue lists those that there are")
            of_mention = sa.select(actions.c.id).where(actions.c.mention_id == mention_id, actions.c.kind == str(ActionKind.REPLY))
            sent = of_mention.where(actions.c.payload["once"].as_string() == once).limit(1)
            if once and connection.execute(sent).first() is not None:
                return False
            put(connection, mention_id, person, text, now)
        return True


def put(connection: Connection, mention_id: int, person: str, text: str, now: datetime) -> None:
    """Make this a person's draft, within the caller's transaction; an empty text throws it away."""
    if not text.strip():
        drop(connection, mention_id, person)
        return
    values = {"text": rows.clean(text), "at": now}
    statement = insert(connection, drafts).values(mention_id=mention_id, person=person, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[drafts.c.mention_id, drafts.c.person], set_=values))


def give_back(connection: Connection, mention_id: int, person: str, text: str, now: datetime) -> None:
    """An answer that was not sent is its writer's draft again; what they have begun since stands below it."""
    begun = connection.scalar(sa.select(drafts.c.text).where(drafts.c.mention_id == mention_id, drafts.c.person == person)) or ""
    both = text if begun.strip() in ("", text.strip()) else f"{text}\n\n{begun}"
    put(connection, mention_id, person, both, now)


def drop(connection: Connection, mention_id: int, person: str) -> None:
    """A person's draft is not needed any more."""
    connection.execute(sa.delete(drafts).where(drafts.c.mention_id == mention_id, drafts.c.person == person))
