"""triage/ops/postgresql.sql on a real server: the role that it makes is enough for the service, and may do nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.shared import ROOT
from triage.store import Store

NAME = f"triage_role_{os.getpid()}"
PASSWORD = "of-the-tests"


def statements(name: str) -> list[str]:
    """What psql would send, with another name for database and role, so that the test disturbs nobody on a server that is shared."""
    text = (ROOT / "triage" / "ops" / "postgresql.sql").read_text()
    lines = [line for line in text.splitlines() if not line.startswith((r"\set", "--"))]
    found = [one.strip() for one in "\n".join(lines).replace(":'password'", f"'{PASSWORD}'").split(";") if one.strip()]
    return [
        one.replace("ROLE triage ", f"ROLE {name} ")
        .replace("DATABASE triage", f"DATABASE {name}")
        .replace("OWNER triage ", f"OWNER {name} ")
        for one in found
    ]


@contextmanager
def administering(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the administrator's."""
    with closing(
        psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True)
    ) as connection:
        yield connection


@pytest.fixture
def role(postgres_url: str) -> Iterator[str]:
    """The URL of a database made by the file, as its role."""
    with administering(postgres_url) as connection:
        try:
            for statement in statements(NAME):
                connection.execute(statement.encode())
            yield make_url(postgres_url).set(username=NAME, password=PASSWORD, database=NAME).render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(NAME)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(NAME)))


def test_the_role_can_run_the_service(role: str) -> None:
    """Migrate, take its lock, write, and see which locks are held."""
    store = Store(role, role="worker")
    try:
        now = datetime.now(UTC)
        store.inbox.add_source("acme", now, now)
        me = store.owners.me(now)
        assert store.owners.is_alive(me)
        assert not store.owners.is_alive("nobody")
        other = Store(role, role="worker")
        try:
            assert other.owners.is_alive(me)
        finally:
            other.close()
    finally:
        store.close()


def test_the_role_can_do_nothing_else(role: str) -> None:
    """No other database, no other role, no file of the server's."""
    with administering(role) as connection:
        for statement in ("CREATE DATABASE other", "CREATE ROLE other", "COPY (SELECT 1) TO '/tmp/x'", "SELECT pg_read_file('PG_VERSION')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


def test_the_settings_are_those_of_every_new_connection(role: str) -> None:
    """As the file says, with the reason for each in it."""
    with administering(role) as connection:
        rows = connection.execute("SELECT name, setting, unit FROM pg_settings WHERE source = 'database'").fetchall()
    assert {name: f"{value} {unit or ''}".strip() for name, value, unit in rows} == {
        "idle_in_transaction_session_timeout": "60000 ms",
        "idle_session_timeout": "0 ms",
        "lock_timeout": "30000 ms",
        "statement_timeout": "300000 ms",
        "synchronous_commit": "on",
        "tcp_keepalives_count": "6" if os.environ.get("DATABASE_URL") else "0",
        "tcp_keepalives_idle": "60 s" if os.environ.get("DATABASE_URL") else "0 s",
        "tcp_keepalives_interval": "10 s" if os.environ.get("DATABASE_URL") else "0 s",
    }
