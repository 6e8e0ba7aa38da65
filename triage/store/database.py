"""Opening the database: SQLite or PostgreSQL, one transaction a method, migrations, and errors that a person can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, OperationalError

from triage.errors import StoreError, UserError

BUSY_SECONDS = 20.0
# How soon each side of a connection to PostgreSQL gives up one whose other side has vanished without a word: a cut cable, a host
# that lost its power. Until the server does, a vanished worker's lock stands, and what it was sending waits: 30 s at most.
IDLE_SECONDS, PROBE_SECONDS, PROBES, UNHEARD_SECONDS = 10, 5, 3, 20
MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0004"  # the newest migration; known here so that an up-to-date store opens without loading alembic
_MIGRATION_LOCK = 0x7472696167  # any number that nobody else uses: PostgreSQL's advisory lock while migrating


class Database:
    """An engine and its two kinds of transaction. `url` is a SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        try:
            self.url: URL = make_url(url)
        except ArgumentError:
            raise StoreError(
                "the store's address is no database URL; write it like sqlite:///triage.db or postgresql://host/name"
            ) from None
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path: Path | None = Path(self.url.database) if self.is_sqlite and self.url.database else None
        if self.is_sqlite and (self.path is None or str(self.path) == ":memory:"):
            raise StoreError("the store must be a file, since several processes share it; write it like sqlite:///triage.db")
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self.path.touch(mode=0o600)  # it holds private posts; SQLite gives its side files the same rights
            except OSError as error:
                raise StoreError(
                    f"the folder of {self.path} can't be made ({error.strerror}); set `store` to a place that can be written"
                ) from None
        try:
            self.engine: Engine = (
                _sqlite(self.url)
                if self.is_sqlite
                else sa.create_engine(
                    self.url, pool_size=8, max_overflow=16, pool_pre_ping=True, hide_parameters=True, connect_args=self.liveness
                )
            )
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            raise StoreError(f"{error}; for PostgreSQL install the extra: pip install 'triage-inbox[postgres]'") from None

    @property
    def liveness(self) -> dict[str, Any]:
        """Arguments of a connection to PostgreSQL by which both sides notice that the other is gone, and which make no statement slow.

        What the URL sets itself stands.
        """
        ours = {
            "connect_timeout": 10,
            "keepalives_idle": IDLE_SECONDS,
            "keepalives_interval": PROBE_SECONDS,
            "keepalives_count": PROBES,
            "tcp_user_timeout": UNHEARD_SECONDS * 1000,
        }
        theirs = (
            f"-c tcp_keepalives_idle={IDLE_SECONDS} -c tcp_keepalives_interval={PROBE_SECONDS} "
            f"-c tcp_keepalives_count={PROBES} -c tcp_user_timeout={UNHEARD_SECONDS * 1000} "
            "-c jit=off"  # compiling our statements takes longer than running them
        )
        given = self.url.query
        options = given.get("options", "")
        more = options if isinstance(options, str) else " ".join(options)
        return {name: value for name, value in ours.items() if name not in given} | {"options": f"{theirs} {more}".strip()}

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self.errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; on SQLite it takes the write lock at once: to upgrade in mid-transaction fails without waiting."""
        with self.errors(), self.engine.connect() as connection:
            connection = connection.execution_options(triage_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that sees one moment, however long it lasts, and reads rows as they are asked for. Others go on writing."""
        with self.errors(), self.engine.connect() as connection:
            connection = connection.execution_options(stream_results=True, yield_per=500)
            if not self.is_sqlite:  # where every reading transaction is one
                connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block a database error that an operator can mend is a `StoreError` that says how.

        PostgreSQL takes no NUL, not even in a question: what is stored is cleaned of it, who asks with one gets a `UserError`.
        """
        try:
            yield
        except DBAPIError as error:
            if isinstance(error, DataError) and "NUL" in str(error.orig):
                raise UserError("a field holds the character NUL, which is in no text; leave it out") from error
            known = _explain(error, self)
            if known is None:
                raise
            raise StoreError(known) from error

    def migrate(self) -> None:
        """Bring the tables to this version's schema. `StoreError` when the database is newer than the program."""
        if self.version() == HEAD:
            return
        with self.write() as connection:
            self.lock_schema(connection)
            current = self._version(connection)
            if current is not None and current not in revisions():
                raise StoreError(
                    f"the database is at schema {current}, which this version of triage does not know; "
                    "install the newer triage that made it"
                )
            if current != HEAD:
                self.upgrade(connection, "head")

    def lock_schema(self, connection: Connection) -> None:
        """Of several processes that start at once, one changes the tables and the others wait. On SQLite writing is that lock."""
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    def upgrade(self, connection: Connection, revision: str) -> None:
        """Bring the tables up to a revision (or `head`), within the caller's transaction."""
        from alembic import command

        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    def _version(self, connection: Connection) -> str | None:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        return version

    def version(self) -> str:
        """The schema's version; empty before the first migration."""
        with self.read() as connection:
            return self._version(connection) or ""

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def revisions() -> list[str]:
    """The schemas that this program can upgrade, oldest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()][::-1]


def _alembic() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _sqlite(url: URL) -> Engine:
    engine = sa.create_engine(
        url,
        pool_size=8,
        max_overflow=16,
        hide_parameters=True,  # they hold what people wrote
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is the plain one
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={int(BUSY_SECONDS * 1000)}",
            "cache_size=-32000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Plain BEGIN failed most write transactions of several processes although the time-out was long enough.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("triage_write") else "BEGIN")

    return engine


def _explain(error: DBAPIError, database: Database) -> str | None:
    """A database error that an operator can mend, in words; None for a mistake of ours."""
    said = " ".join(str(error.orig).split())
    low = said.lower()
    where = str(database.path) if database.path else database.url.render_as_string(hide_password=True)
    if "deadlock" in low:
        return f"two workers waited for each other in {where}; it is tried again by itself"
    if "database is locked" in low or "database table is locked" in low or "database is busy" in low:
        return f"{where} is locked by another program for more than {BUSY_SECONDS:g} s; close what holds it, the work goes on by itself"
    if "disk is full" in low or "no space left" in low or "disk full" in low:
        return f"the disk of {where} is full; free some room, the work goes on by itself"
    if "readonly" in low or "read-only" in low:
        return f"{where} can't be written; check its owner and rights"
    if "not a database" in low or "malformed" in low:
        mend = "move it aside with all that begins with its name and restore a backup, or set `store` to another file"
        return f"{where} is no SQLite database, or is damaged; {mend}"
    if "unable to open" in low:
        return f"{where} can't be opened; check that its folder exists and can be written"
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return f"{where} can't be reached ({said[:200]}); start it, or correct `store`"
    return None


def insert(connection: Connection, table: sa.Table) -> Any:
    """The dialect's INSERT, which knows `on_conflict_do_nothing`."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
