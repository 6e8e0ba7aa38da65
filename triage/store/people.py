"""The people who use the queue, and the invitations by which they come."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.person import Person, Role
from triage.store import rows
from triage.store.database import Database
from triage.store.moves import add_audit
from triage.store.schema import invitations, people, sessions, tokens

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
INVITATION_LASTS = timedelta(days=3)


def digest(token: str) -> str:
    """What the store keeps of a token. It is random and long, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def to_person(row: RowMapping) -> Person:
    """A row of `people`."""
    return Person(
        row["id"],
        row["name"],
        Role(row["role"]),
        row["shown"],
        row["zone"],
        tuple(row["handles"]),
        row["away"],
        row["disabled_at"],
        row["seen_at"],
    )


class People:
    """Who has a log-in. Passwords come and go as hashes: nothing here sees one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Person]:
        """Everybody there ever was, by name."""
        with self._database.read() as connection:
            return [to_person(row) for row in connection.execute(sa.select(people).order_by(people.c.name)).mappings()]

    def any(self) -> bool:
        """Whether there is somebody who may log in."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(people.c.id).where(people.c.disabled_at.is_(None)).limit(1)) is not None

    def by_name(self, name: str) -> tuple[Person, str] | None:
        """A person and their password's hash."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
        return (to_person(row), row["password"]) if row else None

    def invite(self, role: Role, by: str, now: datetime, *, name: str = "") -> str:
        """A one-time token for a new person, or for a new password of the person `name`. `UserError` when there is none of that name."""
        token = secrets.token_urlsafe(24)
        with self._database.write() as connection:
            if name:
                self._row(connection, name)
            row = {
                "digest": digest(token),
                "role": str(role),
                "name": name,
                "made_by": by,
                "made_at": now,
                "ends_at": now + INVITATION_LASTS,
            }
            connection.execute(sa.insert(invitations).values(row))
            add_audit(connection, now, by, "invited", detail=f"a new password for {name}" if name else f"a new {role}")
        return token

    def invitation(self, token: str, now: datetime) -> tuple[Role, str] | None:
        """What a token that still holds is for: the role, and the name of the person whose password it renews."""
        with self._database.read() as connection:
            row = connection.execute(_open_invitation(token, now)).mappings().first()
        return (Role(row["role"]), row["name"]) if row else None

    def come(self, token: str, name: str, shown: str, password: str, now: datetime) -> Person:
        """Use an invitation: make the person, or give them the new password and end their sessions. It works once.

        `UserError` when the token is used or too old, or the name is taken or can't be one.
        """
        with self._database.write() as connection:
            row = connection.execute(_open_invitation(token, now)).mappings().first()
            used = sa.update(invitations).where(invitations.c.digest == digest(token), invitations.c.used_at.is_(None))
            if row is None or connection.execute(used.values(used_at=now)).rowcount != 1:
                raise UserError("this invitation was used or is too old; ask for a new one")
            if row["name"]:
                return self._renewed(connection, row["name"], password, now)
            if not NAME.fullmatch(name):
                raise UserError("a name is 1 to 40 small letters, digits, dots, dashes and underscores, and begins with a letter or digit")
            if connection.scalar(sa.select(people.c.id).where(people.c.name == name)) is not None:
                raise UserError(f"the name {name} is taken; choose another one")
            values = {"name": name, "shown": rows.clean(shown), "role": row["role"], "password": password, "handles": [], "made_at": now}
            connection.execute(sa.insert(people).values(values))
            add_audit(connection, now, name, "came", detail=f"as {row['role']}, invited by {row['made_by']}")
            return to_person(self._row(connection, name))

    def _renewed(self, connection: Connection, name: str, password: str, now: datetime) -> Person:
        row = self._row(connection, name)
        connection.execute(sa.update(people).where(people.c.id == row["id"]).values(password=password))
        connection.execute(sa.delete(sessions).where(sessions.c.person_id == row["id"]))
        add_audit(connection, now, name, "new password", detail="all sessions ended")
        return to_person(row)

    def change(
        self,
        name: str,
        by: str,
        now: datetime,
        *,
        role: Role | None = None,
        shown: str | None = None,
        zone: str | None = None,
        handles: Sequence[str] | None = None,
        away: bool | None = None,
        disabled: bool | None = None,
    ) -> Person:
        """Change what is given. Somebody who is disabled is logged out everywhere. The last admin stays one: `UserError`."""
        with self._database.write() as connection:
            row = self._row(connection, name)
            wanted = {
                "role": str(role) if role else None,
                "shown": None if shown is None else rows.clean(shown),
                "zone": zone,
                "away": away,
            }
            values: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
            if handles is not None:
                values["handles"] = [rows.clean(handle) for handle in handles]
            if disabled is not None:
                values["disabled_at"] = now if disabled else None
            demoted = row["role"] == Role.ADMIN and (values.get("role", Role.ADMIN) != Role.ADMIN or values.get("disabled_at") is not None)
            if demoted and not self._other_admin(connection, row["id"]):
                raise UserError(f"{name} is the last admin; make somebody else an admin first")
            if values:
                connection.execute(sa.update(people).where(people.c.id == row["id"]).values(values))
            if disabled:
                connection.execute(sa.delete(sessions).where(sessions.c.person_id == row["id"]))
                ended = sa.update(tokens).where(tokens.c.person_id == row["id"], tokens.c.ended_at.is_(None))
                connection.execute(ended.values(ended_at=now))
            told = ", ".join(f"{key}: {value}" for key, value in values.items() if key != "disabled_at")
            told = ", ".join(part for part in (told, {True: "disabled", False: "enabled", None: ""}[disabled]) if part)
            add_audit(connection, now, by, "changed a person", detail=f"{name}: {told}")
            return to_person(self._row(connection, name))

    def _row(self, connection: Connection, name: str) -> RowMapping:
        row = connection.execute(sa.select(people).where(people.c.name == name).with_for_update()).mappings().first()
        if row is None:
            raise UserError(f"there is nobody named {name!r}; triage people lists everybody")
        return row

    def _other_admin(self, connection: Connection, but: int) -> bool:
        # All admins are locked: of two who demote each other one wins.
        wanted = sa.select(people.c.id).where(people.c.role == str(Role.ADMIN), people.c.disabled_at.is_(None)).order_by(people.c.id)
        return any(id_ != but for (id_,) in connection.execute(wanted.with_for_update()).all())


def _open_invitation(token: str, now: datetime) -> sa.Select[tuple[object, ...]]:
    return sa.select(invitations).where(invitations.c.digest == digest(token), invitations.c.used_at.is_(None), invitations.c.ends_at > now)
