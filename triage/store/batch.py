"""Many rows in one statement: a batch travels as few parameters as its driver likes.

psycopg takes a statement apart at each of its parameters: 256 rows of 16 columns cost five times the work that they are.
So PostgreSQL gets a batch as one JSON document, and a list of ids as one array. SQLite's driver likes many small rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from triage.store.database import insert


def among(connection: Connection, column: sa.ColumnElement[Any], values: Collection[Any]) -> sa.ColumnElement[bool]:
    """`column IN (values)`."""
    if _is_postgresql(connection):
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return column.in_(values)


def add(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the same keys; what is there already, by any unique key, stays as it is."""
    if not rows:
        return
    statement = insert(connection, table)
    if _is_postgresql(connection):
        names = list(rows[0])
        new = _records(table, rows)
        connection.execute(statement.from_select(names, sa.select(*(new.c[name] for name in names))).on_conflict_do_nothing())
    else:
        connection.execute(statement.on_conflict_do_nothing(), rows)


def change(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set, in the row of each one's `id`, the other keys' columns; all have the same keys."""
    if not rows:
        return
    names = [name for name in rows[0] if name != "id"]
    if _is_postgresql(connection):
        new = _records(table, rows)
        connection.execute(sa.update(table).where(table.c.id == new.c.id).values({name: new.c[name] for name in names}))
    else:
        statement = sa.update(table).where(table.c.id == sa.bindparam("_id")).values({name: sa.bindparam(f"_{name}") for name in names})
        connection.execute(statement, [{f"_{name}": value for name, value in row.items()} for row in rows])


def _is_postgresql(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _records(table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a table of PostgreSQL's, with the columns' own types."""
    document = sa.cast(sa.literal(json.dumps(rows, default=_plain), sa.Text), sa.JSON)
    records = sa.func.json_populate_recordset(sa.text(f"NULL::{table.name}"), document)
    return records.table_valued(*(sa.column(name, table.c[name].type) for name in rows[0]), name="new")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a row")
