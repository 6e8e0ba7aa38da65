"""Both databases pass the suite; what only SQLite can do wrong is tested here."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.contract.store import StoreSuite
from triage.errors import StoreError
from triage.store import Store, database


class TestSQLite(StoreSuite):
    """A file."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/triage.db"

    def test_writing_transactions_begin_immediately(self, url: str) -> None:
        """A plain BEGIN fails in mid-transaction when another process has written."""
        store = Store(url)
        seen: list[str] = []
        with store.database.write() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            with sqlite3.connect(str(store.database.path), timeout=0) as other, pytest.raises(sqlite3.OperationalError) as refused:
                other.execute("BEGIN IMMEDIATE")
            seen.append(str(refused.value))
        assert seen == ["database is locked"]
        store.close()

    def test_a_locked_database_says_so(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """In words, with the file's name."""
        monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
        store = Store(url)
        with sqlite3.connect(str(store.database.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=r"triage\.db is locked by another program"), store.database.write():
                pass
        store.close()

    def test_a_file_that_is_no_database_says_so(self, tmp_path: Path) -> None:
        """And is left as it is."""
        path = tmp_path / "triage.db"
        path.write_text("these are my notes, not a database\n" * 100)
        with pytest.raises(StoreError, match="is no SQLite database"):
            Store(f"sqlite:///{path}")
        assert path.read_text().startswith("these are my notes")

    def test_a_store_in_memory_is_refused(self) -> None:
        """Several processes share it."""
        with pytest.raises(StoreError, match="must be a file"):
            Store("sqlite://")


class TestPostgreSQL(StoreSuite):
    """A server that the tests start."""

    @pytest.fixture
    def url(self, migrated_database: str) -> str:
        return migrated_database
