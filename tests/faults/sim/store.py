"""The store of a run: one SQLite file in memory, and one engine for all simulated processes."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine

from triage.store import database

_make = database._sqlite


@cache
def folder() -> Path:
    """This process's folder in memory."""
    made = Path(tempfile.mkdtemp(prefix="triage-sim-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def url() -> str:
    return f"sqlite:///{folder()}/triage.db"


@cache
def engine() -> Engine:
    """What it knows of compiled statements is kept from run to run."""
    made = _make(sa.make_url(url()))

    @event.listens_for(made, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # no machine loses its power here

    made.dispose = lambda close=True: None  # type: ignore[method-assign]
    return made


@cache
def looking() -> sqlite3.Connection:
    """The simulator's own eye on the database."""
    connection = sqlite3.connect(folder() / "triage.db", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection
