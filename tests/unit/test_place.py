"""What a store concludes from where it is and from its heartbeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from triage.store.place import FORGET, copied, newer, restored

FILE = {"kind": "sqlite", "token": "a1", "inode": "7", "machine": "m1"}
SERVER = {"kind": "postgresql", "system": "761", "database": "16385"}
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("home", "here"),
    [
        (FILE, FILE),
        (FILE, FILE | {"machine": ""}),  # the same volume, in a container now
        (FILE | {"machine": ""}, FILE),
        (SERVER, SERVER),
        (SERVER, {"kind": "postgresql", "database": "16385", "table": "17000"}),  # the server does not tell its identifier any more
        ({"kind": "postgresql", "database": "5", "table": "9"}, {"kind": "postgresql", "database": "5", "table": "9"}),
    ],
)
def test_a_store_at_home_is_no_copy(home: dict[str, str], here: dict[str, str]) -> None:
    """What one side does not know tells nothing."""
    assert copied(home, here) == ""


@pytest.mark.parametrize(
    ("home", "here", "why"),
    [
        (FILE, {"kind": "sqlite", "machine": "m1"}, "missing beside it"),
        (FILE, FILE | {"token": "b2"}, "another store's"),
        (FILE, FILE | {"inode": "8"}, "folder was copied"),
        (FILE, FILE | {"machine": "m2"}, "another machine"),
        (FILE, SERVER, "another kind of database"),
        (SERVER, FILE, "another kind of database"),
        (SERVER, SERVER | {"system": "762"}, "another PostgreSQL server"),
        (SERVER, SERVER | {"database": "16390"}, "another database"),
        ({"kind": "postgresql", "database": "5", "table": "9"}, {"kind": "postgresql", "database": "5", "table": "10"}, "made anew"),
    ],
)
def test_a_store_elsewhere_is_a_copy(home: dict[str, str], here: dict[str, str], why: str) -> None:
    """And says what tells so."""
    assert why in copied(home, here)


def test_an_older_store_is_known_by_a_newer_heartbeat() -> None:
    """The store's own word is always written first, so the file is never the newer one but for a store that was put back."""
    assert restored(NOW, NOW, NOW) == ""
    assert restored(NOW, NOW - MINUTE, NOW) == ""
    assert restored(None, None, NOW) == restored(NOW, None, NOW) == ""
    assert "2026-03-01 11:58:00 UTC" in restored(NOW - 2 * MINUTE, NOW - MINUTE, NOW)
    assert "knows nothing of it" in restored(None, NOW - MINUTE, NOW)


def test_a_heartbeat_of_long_ago_tells_nothing() -> None:
    """The store forgets those of folders that nobody uses, so it must not take them for its future."""
    assert restored(None, NOW - FORGET - MINUTE, NOW) == ""


def test_a_newer_schema_is_left_alone() -> None:
    """An older one, or none, is not: it is upgraded at the start."""
    assert newer("0002", "0002") == newer("0001", "0002") == newer("", "0002") == ""
    assert "restart it" in newer("0003", "0002")
