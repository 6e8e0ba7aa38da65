"""Stores that are ready at once: the migrations run once a test process, and each test gets a copy of what they made.

That they make it right, from every schema there was, is proved where they run: in tests/integration/test_migrations.py and
tests/acceptance/test_upgrade.py. A test that needs a database without any table takes `blank_url`.
"""

from __future__ import annotations

import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

from triage.store import database
from triage.store.database import Database

PREFIX = "sqlite:///"
MOST_STATEMENTS = 2000
_make = database._sqlite


def furnish(url: str) -> None:
    """Where the SQLite file of `url` is missing, put one there that has this version's tables and no rows."""
    path = Path(url.removeprefix(PREFIX))
    if url.startswith(PREFIX) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(_empty())


def migrate(url: str) -> None:
    """Run the migrations."""
    made = Database(url)
    made.migrate()
    made.close()


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory(prefix="triage-store-") as folder:
        migrate(f"{PREFIX}{folder}/triage.db")
        return (Path(folder) / "triage.db").read_bytes()


def _without_sync(url: URL) -> Engine:
    made = _make(url)

    @event.listens_for(made, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    return made


def never_wait_for_the_disk() -> None:
    """SQLite in this process leaves its writes to the kernel, which keeps them however a process ends; only a power cut would not."""
    database._sqlite = _without_sync


class _Statements(dict[Any, Any]):
    """Compiled statements by what they say and the kind of database. An engine's own cache asks for its own dialect object, too."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= MOST_STATEMENTS:
            self.clear()
        super().__setitem__((type(key[0]), *key[1:]), value)


def compile_once() -> None:
    """All stores of this process share what they know of compiled statements, as those of one long-lived worker would."""
    statements, opened = _Statements(), Database.__init__

    def open_(self: Database, url: str) -> None:
        opened(self, url)
        self.engine.update_execution_options(compiled_cache=statements)

    Database.__init__ = open_  # type: ignore[method-assign]
