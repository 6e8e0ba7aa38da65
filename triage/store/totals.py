"""How many rows there are of each sort, without a walk through whole tables each time that somebody asks.

A small store is counted when it is asked. Of one that holds `SMALL` mentions or more a worker keeps a count, made anew now and
then; the answer is what was kept, with what has been added since. What is open is always counted when it is asked, from the
index of open actions. So only the numbers of actions that are done, cancelled or observed may be as old as the kept count.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.store.database import Database, insert
from triage.store.schema import OPEN, OPEN_STATES, actions, mentions, meta, verdicts

SMALL = 50_000  # mentions, which are counted in a tenth of a second or two
STALE = timedelta(hours=2)  # no worker has counted for so long: better slow than old
_KEPT = "totals"
_COUNTED = (mentions, verdicts, actions)


@dataclass
class Totals:
    """Mentions; verdicts by label and whether a person gave them; mentions by their newest verdict's label; actions by kind and state."""

    mentions: int = 0
    verdicts: Counter[tuple[str, bool]] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)


def totals(connection: Connection, now: datetime) -> Totals:
    """What there is."""
    ends = _ends(connection)
    kept = _read(connection, now) if ends[0] >= SMALL else None
    if kept is None:
        return _count(connection, [0, 0, 0], ends)
    found, counted = kept
    new = _count(connection, counted, ends)
    found.mentions += new.mentions
    found.verdicts.update(new.verdicts)
    found.labels.update(new.labels)
    found.actions.update(new.actions)
    for kind, state in list(found.actions):
        if state in OPEN_STATES:
            del found.actions[kind, state]
    found.actions.update(_by_state(connection, OPEN))
    return found


def keep(database: Database, now: datetime) -> bool:
    """Count a large store for those who ask later; False when it is small. Nobody waits meanwhile: it is written afterwards."""
    with database.read() as connection:
        ends = _ends(connection)
        if ends[0] < SMALL:
            return False
        found = _count(connection, [0, 0, 0], ends)
    kept = {
        "at": now.isoformat(),
        "counted": ends,
        "mentions": found.mentions,
        "verdicts": [[*sort, number] for sort, number in found.verdicts.items()],
        "labels": found.labels,
        "actions": [[*sort, number] for sort, number in found.actions.items()],
    }
    with database.write() as connection:
        row = insert(connection, meta).values(name=_KEPT, value=json.dumps(kept))
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": row.excluded.value}))
    return True


def _read(connection: Connection, now: datetime) -> tuple[Totals, list[int]] | None:
    text = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _KEPT))
    kept: dict[str, Any] = json.loads(text) if text else {}
    if not kept or now - datetime.fromisoformat(kept["at"]) > STALE:
        return None
    found = Totals(
        kept["mentions"],
        Counter({(label, by_person): number for label, by_person, number in kept["verdicts"]}),
        Counter(kept["labels"]),
        Counter({(kind, state): number for kind, state, number in kept["actions"]}),
    )
    return found, kept["counted"]


def _ends(connection: Connection) -> list[int]:
    """The highest ids. What is counted ends at them, so that what is added meanwhile is not counted twice."""
    return [int(connection.scalar(sa.select(sa.func.max(table.c.id))) or 0) for table in _COUNTED]


def _count(connection: Connection, after: list[int], ends: list[int]) -> Totals:
    """The rows with ids above `after` and up to `ends`, by table as in `_COUNTED`."""
    mention, verdict, action = (sa.and_(t.c.id > low, t.c.id <= high) for t, low, high in zip(_COUNTED, after, ends, strict=True))
    judged = sa.select(verdicts.c.label, verdicts.c.by_person, sa.func.count()).where(verdict)
    labels = _newest(connection, verdict)
    if after[1]:  # those that are judged anew no longer count for their former label
        again = sa.select(verdicts.c.mention_id).where(verdict)
        labels.subtract(_newest(connection, sa.and_(verdicts.c.id <= after[1], verdicts.c.mention_id.in_(again))))
    return Totals(
        connection.scalar(sa.select(sa.func.count()).select_from(mentions).where(mention)) or 0,
        Counter({(label, by): number for label, by, number in connection.execute(judged.group_by(verdicts.c.label, verdicts.c.by_person))}),
        labels,
        _by_state(connection, action),
    )


def _newest(connection: Connection, among: sa.ColumnElement[bool]) -> Counter[str]:
    newest = sa.select(sa.func.max(verdicts.c.id)).where(among).group_by(verdicts.c.mention_id)
    by_label = sa.select(verdicts.c.label, sa.func.count()).where(verdicts.c.id.in_(newest)).group_by(verdicts.c.label)
    return Counter(dict(connection.execute(by_label).all()))


def _by_state(connection: Connection, among: sa.ColumnElement[bool]) -> Counter[tuple[str, str]]:
    found = sa.select(actions.c.kind, actions.c.state, sa.func.count()).where(among).group_by(actions.c.kind, actions.c.state)
    return Counter({(kind, state): number for kind, state, number in connection.execute(found)})
