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
from triage.store.schema import forms, invitations, people, refusals, sessions, tokens

FREE_TRIES = {"account": 5, "address": 20}
"""So many wrong passwords cost nothing; each later one doubles the wait, up to `LONGEST_WAIT`. Colleagues may share an address."""

LONGEST_WAIT = timedelta(minutes=15)
FORGOTTEN = timedelta(hours=24)
KEPT = timedelta(days=30)  # an invitation that is over, so that its page can say so
_SEEN_EVERY = timedelta(minutes=1)  # a session's last use is written at most so often


class Sessions:
    """Log-ins and tokens. Only digests are kept, so who reads the table can't log in with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, person: Person, now: datetime, *, address: str, agent: str, password: str | None = None, before: str = "") -> str:
        """A new session's token. `password` is the hash that was just checked, `before` a session of the same browser, which ends.

        `UserError` when the person was disabled, or their password was changed, in the meantime.
        """
        token = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            now_is = sa.select(people.c.password, people.c.disabled_at).where(people.c.id == person.id).with_for_update()
            kept, disabled_at = connection.execute(now_is).one()
            if disabled_at is not None or (password is not None and password != kept):
                raise UserError("your log-in has just been changed; log in again")
            connection.execute(sa.delete(sessions).where(sessions.c.digest == digest(before)))
            row = {"digest": digest(token), "person_id": person.id, "made_at": now, "seen_at": now}
            connection.execute(sa.insert(sessions).values(row | {"address": rows.clean(address), "agent": rows.clean(agent)[:200]}))
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

    def mine(self, person: Person) -> list[dict[str, Any]]:
        """A person's sessions, the last used first: digest, made_at, seen_at, address, agent."""
        wanted = (sessions.c.digest, sessions.c.made_at, sessions.c.seen_at, sessions.c.address, sessions.c.agent)
        statement = sa.select(*wanted).where(sessions.c.person_id == person.id).order_by(sessions.c.seen_at.desc())
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def end_one(self, person: Person, session: str, now: datetime) -> None:
        """End one session of this person's own, by its digest."""
        mine = sa.delete(sessions).where(sessions.c.digest == rows.clean(session), sessions.c.person_id == person.id)
        with self._database.write() as connection:
            if connection.execute(mine).rowcount != 1:
                raise UserError("this session is over already; reload the page")
            add_audit(connection, now, person.name, "ended a session")

    def end_all(self, person: Person, now: datetime, by: str) -> int:
        """End every session of a person; how many there were."""
        with self._database.write() as connection:
            ended = connection.execute(sa.delete(sessions).where(sessions.c.person_id == person.id)).rowcount
            add_audit(connection, now, by, "ended all sessions", detail=person.name)
        return ended

    def sweep(self, now: datetime, *, idle: float, longest: float) -> None:
        """Forget sessions that are over, and refusals, forms and invitations of long ago."""
        over = sa.or_(sessions.c.seen_at < now - timedelta(seconds=idle), sessions.c.made_at < now - timedelta(seconds=longest))
        with self._database.write() as connection:
            connection.execute(sa.delete(sessions).where(over))
            connection.execute(sa.delete(refusals).where(refusals.c.last_at < now - FORGOTTEN))
            connection.execute(sa.delete(forms).where(forms.c.at < now - FORGOTTEN))
            connection.execute(sa.delete(invitations).where(invitations.c.ends_at < now - KEPT))

    # Slow-down

    def wait(self, subjects: Sequence[str], now: datetime) -> float:
        """For how many seconds these (`account ana`, `address 192.0.2.1`) may not try to log in; 0 is a leave to try once.

        The try is counted here, as if it were to fail, before any password is looked at: of many at once each counts for the next.
        Who waits is not counted, or a stranger could keep others out for ever. `fitted` takes the count back.
        """
        subjects = sorted(rows.clean(subject) for subject in subjects)
        with self._database.write() as connection:
            new = [{"subject": subject, "count": 0, "last_at": now} for subject in subjects]
            connection.execute(insert(connection, refusals).on_conflict_do_nothing(), new)
            these = sa.select(refusals).where(refusals.c.subject.in_(subjects)).order_by(refusals.c.subject)
            found = connection.execute(these.with_for_update()).mappings().all()
            longest = max((_wait(row["subject"], row["count"], row["last_at"], now) for row in found), default=0.0)
            if not longest:
                old = refusals.c.last_at < now - FORGOTTEN
                more = {"count": sa.case((old, 1), else_=refusals.c.count + 1), "last_at": now}
                connection.execute(sa.update(refusals).where(refusals.c.subject.in_(subjects)).values(more))
        return longest

    def fitted(self, account: str, address: str) -> None:
        """The try was a right one: what failed before is forgotten of the account, and of the address the try alone."""
        with self._database.write() as connection:
            connection.execute(sa.delete(refusals).where(refusals.c.subject == rows.clean(account)))
            again = sa.update(refusals).where(refusals.c.subject == rows.clean(address), refusals.c.count > 0)
            connection.execute(again.values(count=refusals.c.count - 1))

    # Personal tokens

    def make_token(self, person: Person, name: str, now: datetime) -> str:
        """A token by which programs act as this person; it is shown once."""
        if not name.strip():
            raise UserError("a token needs a name, so that you know later what it is for")
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


def _wait(subject: str, count: int, last: datetime, now: datetime) -> float:
    free = FREE_TRIES[subject.partition(" ")[0]]
    if count < free or now - last > FORGOTTEN:
        return 0.0
    pause = min(LONGEST_WAIT.total_seconds(), 2.0 ** min(count - free, 20))
    return max(0.0, pause - (now - last).total_seconds())
