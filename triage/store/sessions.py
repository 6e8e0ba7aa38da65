"""Who is logged in, personal tokens, and the slow-down of those who guess."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from triage.errors import UserError
from triage.person import Person
from triage.store import rows
from triage.store.database import Database, insert
from triage.store.moves import add_audit
from triage.store.people import digest, to_person
from triage.store.schema import people, refusals, sessions, tokens

FREE_TRIES = 5
"""So many wrong passwords cost nothing; each later one doubles the wait, up to `LONGEST_WAIT`."""

LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN = timedelta(hours=24)
_SEEN_EVERY = timedelta(minutes=1)  # a session's last use is written at most so often


class Sessions:
    """Log-ins and tokens. Only digests are kept, so who reads the table can't log in with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, person: Person, now: datetime, *, address: str, agent: str) -> str:
        """A new session's token; what failed before is forgotten."""
        token = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            row = {"digest": digest(token), "person_id": person.id, "made_at": now, "seen_at": now}
            connection.execute(sa.insert(sessions).values(row | {"address": rows.clean(address), "agent": rows.clean(agent)[:200]}))
            connection.execute(sa.delete(refusals).where(refusals.c.subject == f"account {person.name}"))
            connection.execute(sa.update(people).where(people.c.id == person.id).values(seen_at=now))
            add_audit(connection, now, person.name, "logged in", detail=address)
        return token

    def person(self, token: str, now: datetime, *, idle: float, longest: float, used: bool = True) -> Person | None:
        """Whose session it is; None when it is over (idle and longest are seconds), or its person is disabled.

        With `used` the session counts as used just now; a page that asks by itself, without anybody there, keeps none alive.
        """
        with self._database.read() as connection:
            statement = sa.select(people, sessions.c.made_at.label("began"), sessions.c.seen_at.label("used")).join(
                sessions, sessions.c.person_id == people.c.id
            )
            row = connection.execute(statement.where(sessions.c.digest == digest(token), people.c.disabled_at.is_(None))).mappings().first()
        if row is None or now - row["used"] > timedelta(seconds=idle) or now - row["began"] > timedelta(seconds=longest):
            return None
        if used and now - row["used"] > _SEEN_EVERY:
            with self._database.write() as connection:
                connection.execute(sa.update(sessions).where(sessions.c.digest == digest(token)).values(seen_at=now))
                connection.execute(sa.update(people).where(people.c.id == row["id"]).values(seen_at=now))
        return to_person(row)

    def end(self, token: str, now: datetime, by: str) -> None:
        """Log out: the token is worth nothing from now on."""
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.digest == digest(token)))
            add_audit(connection, now, by, "logged out")

    def end_all(self, person: Person, now: datetime, by: str) -> int:
        """End every session of a person; how many there were."""
        with self._database.write() as connection:
            ended = connection.execute(sa.delete(sessions).where(sessions.c.person_id == person.id)).rowcount
            add_audit(connection, now, by, "ended all sessions", detail=person.name)
        return ended

    def sweep(self, now: datetime, *, idle: float, longest: float) -> None:
        """Forget sessions that are over and refusals of long ago."""
        over = sa.or_(sessions.c.seen_at < now - timedelta(seconds=idle), sessions.c.made_at < now - timedelta(seconds=longest))
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(over))
            connection.execute(sa.delete(refusals).where(refusals.c.last_at < now - FORGOTTEN))

    # Slow-down

    def wait(self, subjects: Sequence[str], now: datetime) -> float:
        """For how many seconds none of these (`account ana`, `address 192.0.2.1`) may try to log in."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(refusals).where(refusals.c.subject.in_(subjects))).mappings().all()
        return max((_wait(row["count"], row["last_at"], now) for row in found), default=0.0)

    def refused(self, subjects: Sequence[str], now: datetime) -> None:
        """A log-in failed: the next one has to wait longer."""
        with self._database.write() as connection:
            for subject in sorted(subjects):
                row = {"subject": subject, "count": 1, "last_at": now}
                more = {"count": refusals.c.count + 1, "last_at": now}
                connection.execute(insert(connection, refusals).values(row).on_conflict_do_update(index_elements=["subject"], set_=more))

    # Personal tokens

    def make_token(self, person: Person, name: str, now: datetime) -> str:
        """A token by which programs act as this person; it is shown once."""
        token = "triage_" + secrets.token_urlsafe(32)
        with self._database.write() as connection:
            row = {"person_id": person.id, "name": rows.clean(name)[:100], "digest": digest(token), "made_at": now}
            connection.execute(sa.insert(tokens).values(row))
            add_audit(connection, now, person.name, "made a token", detail=name[:100])
        return token

    def bearer(self, token: str, now: datetime) -> Person | None:
        """Whose token it is; None when it was ended or its person is disabled."""
        with self._database.read() as connection:
            statement = sa.select(people, tokens.c.id.label("token"), tokens.c.used_at.label("used")).join(
                tokens, tokens.c.person_id == people.c.id
            )
            holds = (tokens.c.digest == digest(token), tokens.c.ended_at.is_(None), people.c.disabled_at.is_(None))
            row = connection.execute(statement.where(*holds)).mappings().first()
        if row is None:
            return None
        if row["used"] is None or now - row["used"] > _SEEN_EVERY:
            with self._database.write() as connection:
                connection.execute(sa.update(tokens).where(tokens.c.id == row["token"]).values(used_at=now))
        return to_person(row)

    def tokens(self, person: Person) -> list[dict[str, Any]]:
        """A person's tokens that hold: id, name, made_at, used_at."""
        statement = sa.select(tokens.c.id, tokens.c.name, tokens.c.made_at, tokens.c.used_at)
        with self._database.read() as connection:
            found = connection.execute(statement.where(tokens.c.person_id == person.id, tokens.c.ended_at.is_(None)).order_by(tokens.c.id))
            return [dict(row) for row in found.mappings()]

    def end_token(self, person: Person, token_id: int, now: datetime) -> None:
        """A token of this person's is worth nothing from now on."""
        mine = sa.update(tokens).where(tokens.c.id == token_id, tokens.c.person_id == person.id, tokens.c.ended_at.is_(None))
        with self._database.write() as connection:
            if connection.execute(mine.values(ended_at=now)).rowcount != 1:
                raise UserError(f"you have no token {token_id}; it may have been ended already")
            add_audit(connection, now, person.name, "ended a token", detail=str(token_id))


def _wait(count: int, last: datetime, now: datetime) -> float:
    if count < FREE_TRIES or now - last > FORGOTTEN:
        return 0.0
    pause = min(LONGEST_WAIT.total_seconds(), 2.0 ** min(count - FREE_TRIES, 20))
    return max(0.0, pause - (now - last).total_seconds())
