"""The people who use the queue, and the invitations by which they come."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.person import Person, Role, account
from triage.store import rows
from triage.store.database import Database
from triage.store.moves import add_audit
from triage.store.schema import Account, invitations, items, mentions, people, refusals, sessions, tokens

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
HANDLE = re.compile(r"[^\s@]{1,200}@[^\s@/]{1,200}")
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

    def handles(self) -> frozenset[str]:
        """The accounts on platforms of those who may answer here (`triage.person.account`).

        Who may not close a question here does not by naming one.
        """
        with self._database.read() as connection:
            found = connection.execute(sa.select(people).where(people.c.disabled_at.is_(None))).mappings()
            answering = [person for person in map(to_person, found) if person.role.may(Role.TRIAGER)]
        return frozenset(account(handle) for person in answering for handle in person.handles)

    def by_name(self, name: str) -> tuple[Person, str] | None:
        """A person and their password's hash; None for what can't be a name, too."""
        if not NAME.fullmatch(name):
            return None
        with self._database.read() as connection:
            row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
        return (to_person(row), row["password"]) if row else None

    def named(self, name: str) -> Person:
        """A person by their name; `UserError` when there is nobody of that name."""
        found = self.by_name(name)
        if found is None:
            raise _nobody(name)
        return found[0]

    def invite(self, role: Role, by: str, now: datetime, *, name: str = "") -> str:
        """A one-time token for a new person, or for a new password of the person `name`; earlier ones for them are void then.

        `UserError` when there is none of that name, or they are disabled.
        """
        token = secrets.token_urlsafe(24)
        with self._database.write() as connection:
            if name:
                if self._row(connection, name)["disabled_at"] is not None:
                    raise UserError(f"{name} is disabled; enable them first")
                _void(connection, now, invitations.c.name == name)
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

        When the first person comes, what else each start printed for a first admin is void.

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
            if connection.scalar(sa.select(people.c.id).limit(1)) is None:
                _void(connection, now, sa.and_(invitations.c.made_by == "triage", invitations.c.role == str(Role.ADMIN)))
            values = {"name": name, "shown": rows.clean(shown), "role": row["role"], "password": password, "handles": [], "made_at": now}
            connection.execute(sa.insert(people).values(values))
            add_audit(connection, now, name, "came", detail=f"as {row['role']}, invited by {row['made_by']}")
            return to_person(self._row(connection, name))

    def _renewed(self, connection: Connection, name: str, password: str, now: datetime) -> Person:
        row = self._row(connection, name)
        if row["disabled_at"] is not None:
            raise UserError(f"{name} is disabled; an admin can enable them")
        self._set_password(connection, row, password, now)
        return to_person(row)

    def set_password(self, name: str, old: str, new: str, now: datetime) -> None:
        """A person's own change of the hash `old`, which was checked just now, to `new`. It ends all of their sessions."""
        with self._database.write() as connection:
            row = self._row(connection, name)
            if row["password"] != old:
                raise UserError("your password has just been changed elsewhere; log in again")
            self._set_password(connection, row, new, now)

    def _set_password(self, connection: Connection, row: RowMapping, password: str, now: datetime) -> None:
        connection.execute(sa.update(people).where(people.c.id == row["id"]).values(password=password))
        connection.execute(sa.delete(sessions).where(sessions.c.person_id == row["id"]))
        connection.execute(sa.delete(refusals).where(refusals.c.subject == f"account {row['name']}"))
        _void(connection, now, invitations.c.name == row["name"])
        add_audit(connection, now, row["name"], "new password", detail="all sessions ended")

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
        with_posts: bool = False,
        away: bool | None = None,
        disabled: bool | None = None,
    ) -> Person:
        """Change what is given. The last admin stays one: `UserError`, as for a zone or a handle that can't be one.

        What somebody's own accounts post is left alone, so a new handle by which posts are stored is refused unless an admin vouches
        for it: `with_posts`. The trail tells of such a one, and how many posts there are.
        Somebody who is disabled is logged out everywhere and their tokens end. The invitations of who is no admin any more are void.
        """
        if zone is not None and zone not in zones():
            raise UserError(f"{zone!r} is no time zone; take a name such as Europe/Berlin")
        if handles is not None:
            handles = [handle.strip().removeprefix("@") for handle in handles if handle.strip()]
            for handle in handles:
                if not HANDLE.fullmatch(handle):
                    raise UserError(f"{handle!r} is no handle; write it like name@host, one a line")
        with self._database.write() as connection:
            admins = self._lock_admins(connection, name) if role is not None or disabled else set()
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
                self._take_handles(connection, row, values["handles"], by, now, with_posts=with_posts)
            if disabled is not None:
                values["disabled_at"] = now if disabled else None
            demoted = row["role"] == Role.ADMIN and (values.get("role", Role.ADMIN) != Role.ADMIN or values.get("disabled_at") is not None)
            if demoted and not admins - {row["id"]}:
                raise UserError(f"{name} is the last admin; make somebody else an admin first")
            if values:
                connection.execute(sa.update(people).where(people.c.id == row["id"]).values(values))
            if demoted:
                _void(connection, now, invitations.c.made_by == name)
            # What they were answering goes back to the queue by itself (Claims); who will not come back gives up what is theirs, too.
            if disabled:
                connection.execute(sa.update(items).where(items.c.assignee == name).values(assignee=None))
                _void(connection, now, invitations.c.name == name)
                connection.execute(sa.delete(sessions).where(sessions.c.person_id == row["id"]))
                ended = sa.update(tokens).where(tokens.c.person_id == row["id"], tokens.c.ended_at.is_(None))
                connection.execute(ended.values(ended_at=now))
            told = ", ".join(f"{key}: {value}" for key, value in values.items() if key != "disabled_at")
            told = ", ".join(part for part in (told, {True: "disabled", False: "enabled", None: ""}[disabled]) if part)
            add_audit(connection, now, by, "changed a person", detail=f"{name}: {told}")
            return to_person(self._row(connection, name))

    def _take_handles(
        self, connection: Connection, row: RowMapping, handles: Sequence[str], by: str, now: datetime, *, with_posts: bool
    ) -> None:
        known = {account(handle) for handle in row["handles"]}
        for handle in {account(handle): handle for handle in handles if account(handle) not in known}.values():
            written = sa.select(sa.func.count()).select_from(mentions).where(Account() == account(handle))
            posts = connection.scalar(written) or 0
            if posts and not with_posts:
                raise UserError(
                    f"posts by {handle} are in the inbox ({posts:,}), and would be left alone from now on; "
                    "if it is a colleague's account, an admin may add it on the page People"
                )
            if posts:
                detail = f"{row['name']}: {handle}, by which {posts:,} posts are stored; what it posts from now on is left alone"
                add_audit(connection, now, by, "vouched for an account", detail=detail)

    def _row(self, connection: Connection, name: str) -> RowMapping:
        found = sa.select(people).where(people.c.name == name).with_for_update()
        row = connection.execute(found).mappings().first() if NAME.fullmatch(name) else None
        if row is None:
            raise _nobody(name)
        return row

    def _lock_admins(self, connection: Connection, name: str) -> set[int]:
        """The ids of the admins who may log in. Their rows are locked in order, before any other: of two who demote each other one wins."""
        acting = sa.and_(people.c.role == str(Role.ADMIN), people.c.disabled_at.is_(None))
        wanted = sa.select(people.c.id).where(sa.or_(acting, people.c.name == name)).order_by(people.c.id)
        ids = list(connection.execute(wanted.with_for_update()).scalars())
        return set(connection.execute(sa.select(people.c.id).where(acting, people.c.id.in_(ids))).scalars())


def _nobody(name: str) -> UserError:
    return UserError(f"there is nobody named {name!r}; triage people list shows everybody")


@cache
def zones() -> frozenset[str]:
    """The names of time zones that this machine knows."""
    return frozenset(available_timezones())


def _void(connection: Connection, now: datetime, which: sa.ColumnElement[bool]) -> None:
    connection.execute(sa.update(invitations).where(which, invitations.c.used_at.is_(None)).values(used_at=now))


def _open_invitation(token: str, now: datetime) -> sa.Select[tuple[object, ...]]:
    return sa.select(invitations).where(invitations.c.digest == digest(token), invitations.c.used_at.is_(None), invitations.c.ends_at > now)
