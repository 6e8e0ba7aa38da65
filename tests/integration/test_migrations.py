"""A store of every schema there ever was, with something in every column, becomes what a new one is, and keeps what it held."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection

from triage.store import Store, schema
from triage.store.database import HEAD, Database, revisions

ROWS = 3
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def value(column: sa.Column[Any], number: int) -> Any:
    """Something for any column, another for each row; times also where the database knows them as text alone."""
    moment = START + timedelta(minutes=number)
    kind = column.type
    if column.foreign_keys or (column.name == "id" and not isinstance(kind, sa.Text)):
        return number
    if isinstance(kind, sa.Boolean):
        return number % 2 == 0
    if isinstance(kind, sa.Integer):
        return number * 10
    if isinstance(kind, sa.Float):
        return number / 8
    if isinstance(kind, sa.DateTime):
        return moment
    if isinstance(kind, sa.LargeBinary):
        return bytes([0, number, 255])
    if isinstance(kind, sa.JSON):
        return {"number": number, "text": "ü🚢", "none": None}
    if column.name in ("at", "cursor") or column.name.endswith(("_at", "_until")):
        return moment.strftime("%Y-%m-%d %H:%M:%S.%f") if column.name != "cursor" else f"cursor {number}"
    return f"{column.table.name} {column.name} {number} ü🚢"


def fill(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Rows in every table of the schema as it is, with something in every column."""
    found = sa.MetaData()
    found.reflect(connection, only=lambda name, _: schema.is_described(name, "table"))
    for table in found.sorted_tables:
        if table.name != "alembic_version":
            ours = [column for column in table.columns if column.computed is None]
            connection.execute(sa.insert(table), [{c.name: value(c, number) for c in ours} for number in range(1, ROWS + 1)])
    return read(connection)


def read(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row, by the columns that the database itself tells of."""
    found = sa.MetaData()
    found.reflect(connection, only=lambda name, _: schema.is_described(name, "table"))
    return {
        table.name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()]
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


def shape(url: str) -> dict[str, Any]:
    """All that a database tells of its tables; the order of columns tells nothing."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    shapes = {}
    for name in inspector.get_table_names():
        shapes[name] = {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c.get("default")) for c in inspector.get_columns(name)},
            "primary": inspector.get_pk_constraint(name),
            "foreign": sorted(map(str, inspector.get_foreign_keys(name))),
            "unique": sorted(map(str, inspector.get_unique_constraints(name))),
            "checks": sorted(map(str, inspector.get_check_constraints(name))),
            "indexes": sorted(
                str({key: each for key, each in index.items() if key not in ("comment", "dialect_options")})
                for index in inspector.get_indexes(name)
            ),
        }
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            indexes = connection.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
            shapes["partial indexes"] = {row.name: row.sql for row in indexes}
    else:
        with engine.connect() as connection:
            shapes["partial indexes"] = {
                row.indexname: row.indexdef
                for row in connection.execute(sa.text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
            }
    engine.dispose()
    return shapes


@pytest.fixture
def fresh_url(blank_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A second, empty store of the same kind."""
    if blank_url.startswith("sqlite"):
        return f"sqlite:///{tmp_path}/fresh.db"
    new: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    return new()


@pytest.mark.parametrize("revision", revisions())
def test_a_full_store_of_each_schema_is_upgraded(blank_url: str, fresh_url: str, revision: str) -> None:
    """It keeps every value of every row, and its tables, constraints, indexes and defaults are those of a new one."""
    database = Database(blank_url)
    with database.write() as connection:
        database.upgrade(connection, revision)
        held = fill(connection)
    assert all(len(rows) == ROWS for rows in held.values())
    assert database.version() == revision
    database.migrate()
    assert database.version() == HEAD
    with database.read() as connection:
        found = read(connection)
        assert compare_metadata(MigrationContext.configure(connection, opts={"include_name": schema.is_described}), schema.metadata) == []
    for table, rows in held.items():
        assert [{name: row[name] for name in rows[0]} for row in found[table]] == rows, table
    database.close()
    fresh = Database(fresh_url)
    fresh.migrate()
    fresh.close()
    assert shape(blank_url) == shape(fresh_url)


def test_every_value_of_the_filler_is_one_that_the_store_can_read(blank_url: str) -> None:
    """The rows are such as today's program reads: its types take every column."""
    database = Database(blank_url)
    with database.write() as connection:
        database.upgrade(connection, "head")
        fill(connection)
    with database.read() as connection:
        for table in schema.metadata.sorted_tables:
            assert len(connection.execute(sa.select(table)).all()) == ROWS
    database.close()


def test_processes_that_start_at_once_migrate_once(blank_url: str) -> None:
    """One does it, the others wait and find it done."""
    database = Database(blank_url)
    with database.write() as connection:
        database.upgrade(connection, revisions()[0])
        held = fill(connection)
    database.close()
    program = "import sys; from triage.store.database import Database; d = Database(sys.argv[1]); d.migrate(); print(d.version())"
    starts = [subprocess.Popen([sys.executable, "-c", program, blank_url], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [start.communicate(timeout=120)[0].strip() for start in starts] == [HEAD] * 4
    database = Database(blank_url)
    with database.read() as connection:
        now = {name: len(rows) for name, rows in read(connection).items()}
    assert {name: count for name, count in now.items() if name in held} == {name: len(rows) for name, rows in held.items()}
    database.close()


def test_a_migration_that_fails_changes_nothing(blank_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are changed in one transaction, on both databases."""
    database = Database(blank_url)
    with database.write() as connection:
        database.upgrade(connection, revisions()[0])
    before = shape(blank_url)
    upgrade = database.upgrade

    def fails(connection: Connection, revision: str) -> None:
        upgrade(connection, revision)
        raise RuntimeError("the power went")

    monkeypatch.setattr(database, "upgrade", fails)
    with pytest.raises(RuntimeError, match="the power went"):
        database.migrate()
    database.close()
    assert shape(blank_url) == before
    Store(blank_url).close()
