"""The lock by which a process is known to be alive outlasts a database that was away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from triage.errors import StoreError
from triage.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_lost_lock_is_taken_anew_once_the_database_is_back(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends the connection and takes no new one for a while: each try says so, and the first that gets through has a new id."""
    store, other = Store(database), Store(database)
    lost = store.owners.me(NOW)
    assert other.owners.is_alive(lost)
    with other.database.write() as connection:
        ours = sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
        assert connection.execute(ours).all()
    with monkeypatch.context() as away:
        away.setattr(store.database, "url", store.database.url.set(query={"host": "/nowhere"}))
        for _ in range(3):
            with pytest.raises(StoreError, match="can't be reached"):
                store.owners.me(NOW)
    found = store.owners.me(NOW)
    assert found != lost
    assert other.owners.is_alive(found)
    assert not other.owners.is_alive(lost)
    store.close()
    other.close()


def test_both_sides_notice_that_the_other_has_vanished(database: str) -> None:
    """The server is told how soon to give a silent connection up; what the address asks for itself stands."""
    store = Store(database)
    with store.database.read() as connection:
        assert connection.scalar(sa.text("SHOW application_name")) == ""
    store.close()
    given = Store(f"{database}&keepalives_idle=3&options=-c%20application_name%3Dours")
    assert given.database.liveness["options"].endswith("-c application_name=ours")
    assert "tcp_keepalives_idle=10" in given.database.liveness["options"]
    assert "keepalives_idle" not in given.database.liveness
    with given.database.read() as connection:
        assert connection.scalar(sa.text("SHOW application_name")) == "ours"
    given.close()
