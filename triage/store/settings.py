"""What `triage doctor` says of a PostgreSQL server: settings and poolers under which the promise would not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from triage.contracts import Finding
from triage.store.database import Database

OLDEST = 140000

# Each setting that bites: the values that are well, and what happens with another one.
_WANTED = {
    "fsync": (("on",), "a crash of the server loses commits that it had reported, and what was sent is sent again"),
    "synchronous_commit": (
        ("on", "local", "remote_write", "remote_apply"),
        "a crash of the server loses its last commits, and what was sent then is sent again",
    ),
    "idle_session_timeout": (
        ("0",),
        "it ends the idle connection that holds a worker's lock, and what a living worker sends is sent twice",
    ),
}


def check(database: Database) -> Iterator[Finding]:
    """Findings on this server; none on SQLite. Raises StoreError where it can't be reached."""
    if database.is_sqlite:
        return
    with database.read() as connection:
        names = [*_WANTED, "server_version_num"]
        rows = connection.execute(sa.text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": names})
        found = {row.name: row.setting for row in rows}
    yield from settings(found)
    try:
        pooled = through_pooler(database)
    except DBAPIError as error:
        yield Finding(
            "warn",
            f"two connections at once could not be had ({' '.join(str(error.orig).split())[:200]})",
            "Allow more of them: docs/deploying.md tells how many a worker needs.",
        )
        return
    if pooled:
        yield Finding(
            "fail",
            "each transaction gets another server connection, so there is a pooler in transaction mode between: workers' locks don't hold",
            "Connect directly, or set the pooler to session mode (PgBouncer: pool_mode = session).",
        )


def settings(found: Mapping[str, str]) -> Iterator[Finding]:
    """Findings on the server's settings, by name."""
    if int(found.get("server_version_num", OLDEST)) < OLDEST:
        yield Finding("warn", "PostgreSQL is older than 14, which nobody tests", "Upgrade it.")
    for name, (well, then) in _WANTED.items():
        if found.get(name, well[0]) not in well:
            step = "in postgresql.conf" if name == "fsync" else f"ALTER DATABASE … SET {name} = '{well[0]}'"
            yield Finding("fail", f"{name} is {found[name]}: {then}", f"Set it to {well[0]}: {step}.")


def through_pooler(database: Database) -> bool:
    """Whether two transactions of one connection ran on two server connections while another of ours was busy in between."""
    engine = sa.create_engine(database.url, poolclass=NullPool)
    asked = sa.text("SELECT pg_backend_pid()")
    with engine.connect() as ours, engine.connect() as other:
        with ours.begin():
            before = ours.scalar(asked)
        with other.begin():
            other.scalar(asked)  # a pooler gives it what we have just given back
            with ours.begin():
                return bool(ours.scalar(asked) != before)
