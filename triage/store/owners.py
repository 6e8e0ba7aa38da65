"""Who is alive: an owner is dead only when the kernel or the server says so.

On SQLite each process holds a lock on a file beside the database; on PostgreSQL an advisory lock on a connection of its
own. Both are taken after any fork and go with the process, however it ends. A lease that merely expired says nothing:
its process may be stopped, and come back.
"""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
import zlib
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import IO

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from triage.store import schema
from triage.store.database import Database

SPACE = 0x7472  # PostgreSQL's advisory locks are two numbers; the first one is ours
FORGET = timedelta(days=2)


class Owners:
    """This process's own lock, and questions about the others'."""

    def __init__(self, database: Database, role: str) -> None:
        self._database = database
        self._role = role
        self._guard = Lock()
        self._id = ""
        self._pid = 0
        self._file: IO[bytes] | None = None
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    def me(self, now: datetime) -> str:
        """This process's id; takes the lock at the first call, anew after a fork or when the server lost our connection."""
        with self._guard:
            if not self._id or self._pid != os.getpid() or not self._holding():
                self._take(now)
            return self._id

    def seen(self, now: datetime) -> None:
        """Note that we are at work: only for people and metrics to look at."""
        me = self.me(now)
        with self._database.write() as connection:
            connection.execute(sa.update(schema.owners).where(schema.owners.c.id == me).values(seen_at=now))
            connection.execute(sa.delete(schema.owners).where(schema.owners.c.seen_at < now - FORGET))

    def is_alive(self, owner: str, connection: Connection | None = None) -> bool:
        """Whether the process behind this id still runs, stopped or not. `connection` is asked where one is open already."""
        if owner == self._id and self._pid == os.getpid():
            return True
        return self._file_held(owner) if self._database.is_sqlite else self._advisory_held(owner, connection)

    def close(self) -> None:
        """Let go of the lock: what we had under way is then anybody's to look after."""
        with self._guard:
            if self._file is not None:
                self._file.close()
                self._lock_path(self._id).unlink(missing_ok=True)
            if self._connection is not None:
                self._connection.close()
            if self._engine is not None:
                self._engine.dispose()
            self._file = self._connection = self._engine = None
            self._id = ""

    def _take(self, now: datetime) -> None:
        self._let_go()
        taken = uuid.uuid4().hex
        if self._database.is_sqlite:
            path = self._lock_path(taken)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            self._engine = sa.create_engine(
                self._database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=self._database.liveness
            )
            with self._database.errors():
                self._connection = self._engine.connect()
                self._connection.execute(sa.select(sa.func.pg_advisory_lock(SPACE, _number(taken))))
        with self._database.write() as connection:
            connection.execute(
                sa.insert(schema.owners).values(
                    id=taken, host=socket.gethostname(), pid=os.getpid(), role=self._role, started_at=now, seen_at=now
                )
            )
        self._id, self._pid = taken, os.getpid()  # only now: until all of it has worked, the next call tries again

    def _let_go(self) -> None:
        """Drop what is left of a lock whose connection broke, or that our parent holds: a child must not close its connection for it."""
        if self._pid == os.getpid():
            if self._file is not None:
                self._file.close()
            if self._connection is not None:
                self._connection.invalidate()
                self._connection.close()
        self._file = self._connection = self._engine = None
        self._id = ""

    def _holding(self) -> bool:
        if self._database.is_sqlite:
            return self._file is not None
        if self._connection is None:
            return False
        try:
            self._connection.execute(sa.select(1))
        except SQLAlchemyError:
            return False
        return True

    def _lock_path(self, owner: str) -> Path:
        assert self._database.path is not None
        return self._database.path.with_name(self._database.path.name + ".owners") / f"{owner}.lock"

    def _file_held(self, owner: str) -> bool:
        try:
            with self._lock_path(owner).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        self._lock_path(owner).unlink(missing_ok=True)
        return False

    def _advisory_held(self, owner: str, connection: Connection | None) -> bool:
        locks = sa.text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid = :space AND objid = :number AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        if connection is not None:
            return bool(connection.scalar(locks, {"space": SPACE, "number": _number(owner)}))
        with self._database.read() as connection:
            return bool(connection.scalar(locks, {"space": SPACE, "number": _number(owner)}))


def _number(owner: str) -> int:
    return zlib.crc32(owner.encode()) & 0x7FFFFFFF
