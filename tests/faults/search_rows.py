"""The store's rows as values: saved, brought into one form, moved in time, written back.

Times are seconds from now. Every operation of the search runs at the same moment `NOW`; when time passes, the rows move
into the past instead. So the rows alone tell what an operation will do, and each is carried out once for each rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from triage.mention import State
from triage.store import schema
from triage.store.schema import Utc

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LONG_AGO = -86400  # for times that no decision about the action reads
SETTLED = 600  # ten settle times: no decision tells an older doubt from one of this age
HOUR = 3600
MOST_FAILURES = 7  # in a row: an account that is away is tried every five minutes from then on

KEPT = ("mentions", "revisions", "verdicts", "problems", "actions", "accounts")
EMPTIED = ("audit", "attempts", "alerts")  # written only, as far as the action is concerned

Row = tuple[Any, ...]
Rows = tuple[tuple[Row, ...], ...]

_COLUMNS = {name: [column.name for column in schema.metadata.tables[name].columns] for name in KEPT}
_TIMES = {
    name: frozenset(i for i, column in enumerate(schema.metadata.tables[name].columns) if isinstance(column.type, Utc)) for name in KEPT
}


@cache
def _text(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat(" ", "microseconds")[: len("2026-05-01 12:00:00.000000")]


@cache
def _seconds(text: str) -> int:
    return -int(-(datetime.fromisoformat(text).replace(tzinfo=UTC) - NOW).total_seconds() // 1)  # a fraction counts as later


class Book:
    """The one connection's database. `put` writes rows back, `take` reads them in their one form."""

    def __init__(self, connection: sqlite3.Connection, actions: Sequence[int]) -> None:
        self._connection = connection
        self._actions = set(actions)
        self._held: dict[str, tuple[Row, ...]] = {}

    def put(self, rows: Rows) -> None:
        """Make these the database's rows."""
        run = self._connection.execute
        run("PRAGMA foreign_keys=OFF")
        run("BEGIN IMMEDIATE")
        for name in EMPTIED:
            run(f"DELETE FROM {name}")
        for name, wanted in zip(KEPT, rows, strict=True):
            raw = _raw(name, wanted)
            if self._held.get(name) != raw:
                run(f"DELETE FROM {name}")
                places = ",".join("?" * len(_COLUMNS[name]))
                self._connection.executemany(f"INSERT INTO {name} VALUES ({places})", raw)
                self._held[name] = raw
        run("COMMIT")
        run("PRAGMA foreign_keys=ON")

    def take(self) -> tuple[Rows, bool]:
        """The rows as they are now, and whether an alert was raised since `put`."""
        raw = {name: self._read(name) for name in KEPT}
        self._held = raw
        about = "closed_at IS NULL AND name NOT IN ('AccountPaused', 'SourceFailing', 'TrackerFailing')"  # those tell of no action
        told = self._connection.execute(f"SELECT 1 FROM alerts WHERE {about}").fetchone() is not None
        return self._form(raw), told

    def _read(self, name: str) -> tuple[Row, ...]:
        columns = ", ".join(f'"{column}"' for column in _COLUMNS[name])
        return tuple(self._connection.execute(f"SELECT {columns} FROM {name} ORDER BY 1, 2").fetchall())

    def _form(self, raw: dict[str, tuple[Row, ...]]) -> Rows:
        named = {
            name: [
                {
                    c: _seconds(v) if i in _TIMES[name] and v is not None else v
                    for i, (c, v) in enumerate(zip(_COLUMNS[name], row, strict=True))
                }
                for row in rows
            ]
            for name, rows in raw.items()
        }
        # Comments that tell a ticket of an edit are actions with a life of their own, and none of the others asks for them.
        named["actions"] = [row for row in named["actions"] if row["id"] in self._actions]
        named["verdicts"] = named["verdicts"][-1:]
        for row in named["verdicts"]:
            row["id"] = 1
        return formed(named)


def formed(named: dict[str, list[dict[str, Any]]]) -> Rows:
    """Rows in their one form: what no decision reads is forgotten, what is long past is no longer told apart."""
    for row in named["actions"]:
        _action(row)
    first = next((row["first_intent_at"] for row in named["actions"] if row["first_intent_at"] is not None), None)
    for row in named["mentions"]:
        _mention(row)
    for row in named["revisions"]:  # what is asked of it: was it seen after the first intent?
        after = first is not None and row["seen_at"] >= first
        row["seen_at"] = first + 1 if after and first is not None else LONG_AGO
    for row in named["accounts"]:
        _account(row)
    for name in ("verdicts", "problems"):
        for row in named[name]:
            row.update({column: LONG_AGO for i, column in enumerate(_COLUMNS[name]) if i in _TIMES[name]})
    return tuple(tuple(tuple(row.values()) for row in named[name]) for name in KEPT)


def _action(row: dict[str, Any]) -> None:
    state = row["state"]
    if row["due_at"] is not None:
        row["due_at"] = max(row["due_at"], 0)
    row["created_at"] = LONG_AGO
    row["closed_at"] = None if row["closed_at"] is None else LONG_AGO
    row["error"] = row["closed_by"] = ""
    if row["intent_at"] is not None:
        row["intent_at"] = max(row["intent_at"], -SETTLED) if state == State.SENDING else -SETTLED
    if row["unknown_at"] is not None:
        row["unknown_at"] = max(row["unknown_at"], -SETTLED) if state == State.DOUBT else LONG_AGO
    if state not in (State.PLANNED, State.DOUBT):
        row["looks"] = 0
    if state != State.SENDING:
        row["owner"] = None
    if row["first_intent_at"] is not None:
        over = state in (State.DONE, State.CANCELLED)
        # Only a reply asks how long ago it was: may the server still know the Idempotency-Key?
        row["first_intent_at"] = max(row["first_intent_at"], -HOUR) if row["kind"] == "reply" and not over else -HOUR


def _mention(row: dict[str, Any]) -> None:
    row.update({"created_at": LONG_AGO, "stored_at": LONG_AGO, "read_at": 0, "reread_at": None})
    if row["due_at"] is not None:
        row["due_at"] = max(row["due_at"], 0)
    if row["deleted_at"] is not None:
        row["deleted_at"] = LONG_AGO


def _account(row: dict[str, Any]) -> None:
    rests = {name: None if row[name] is None else max(row[name], 0) for name in ("paused_until", "probe_at")}  # 0: over, and one tries it
    row.update({column: LONG_AGO for i, column in enumerate(_COLUMNS["accounts"]) if i in _TIMES["accounts"]})
    row.update(rests | {"paused_why": "", "last_error": "", "failures": min(row["failures"], MOST_FAILURES)})
    if rests == {"paused_until": None, "probe_at": None}:
        row["failures"] = 0
    row["refusals"] = min(row["refusals"], 3)


def _raw(name: str, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    times = _TIMES[name]
    return tuple(tuple(_text(v) if i in times and v is not None else v for i, v in enumerate(row)) for row in rows)


def column(rows: Rows, table: str, row: int, name: str) -> Any:
    """One value; `row` counts from 0 in the order of ids."""
    return rows[KEPT.index(table)][row][_COLUMNS[table].index(name)]


def changed(rows: Rows, change: Callable[[str, dict[str, Any]], None]) -> Rows:
    """The rows after `change(table, row)` was let at each, in their one form."""
    named = {name: [dict(zip(_COLUMNS[name], row, strict=True)) for row in table] for name, table in zip(KEPT, rows, strict=True)}
    for name, table in named.items():
        for row in table:
            change(name, row)
    return formed(named)


def later(rows: Rows, seconds: int) -> Rows:
    """The rows when so many seconds have passed."""

    def age(table: str, row: dict[str, Any]) -> None:
        for i in _TIMES[table]:
            name = _COLUMNS[table][i]
            if row[name] is not None:
                row[name] -= seconds

    return changed(rows, age)
