"""The service at one moment, for metrics and health checks.

What is open, due or in doubt is read from small indexes; of the counts by kind and by label see `totals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from triage.budget import Budget
from triage.mention import HUMAN, ActionKind, Label, State
from triage.metrics import NO_LABEL, AccountHealth, BudgetHealth, Snapshot, SourceHealth
from triage.store.database import Database
from triage.store.schema import OPEN, accounts, actions, alerts, mentions, owners, verdicts
from triage.store.totals import totals

ALIVE = timedelta(minutes=2)  # a worker says so every 20 s


def snapshot(database: Database, now: datetime, *, mode: str, sources: Sequence[str], others: Sequence[tuple[str, str]]) -> Snapshot:
    """What the store knows at `now`. `sources` are the configured names, `others` the (role, name) of trackers and notifiers."""
    open_task = sa.and_(OPEN, actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
    machine = sa.and_(actions.c.due_at.is_not(None), actions.c.via != HUMAN)
    with database.read() as connection:

        def one(statement: Any) -> Any:
            return connection.scalar(statement)

        known = {(row["role"], row["name"]): row for row in connection.execute(sa.select(accounts)).mappings()}
        labelled = sa.select(verdicts.c.label).where(verdicts.c.mention_id == actions.c.mention_id).order_by(verdicts.c.id.desc()).limit(1)
        label = sa.func.coalesce(labelled.scalar_subquery(), NO_LABEL)
        tasks = connection.execute(sa.select(label, sa.func.count()).where(open_task).group_by(label)).all()
        total = totals(connection, now)
        late = [
            one(sa.select(sa.func.min(mentions.c.due_at)).where(mentions.c.due_at.is_not(None))),
            one(sa.select(sa.func.min(actions.c.due_at)).where(machine)),
        ]
        waits = [(now - moment).total_seconds() for moment in late if moment is not None and moment < now]
        oldest = one(sa.select(sa.func.min(actions.c.created_at)).where(open_task))
        doubt = one(sa.select(sa.func.min(actions.c.unknown_at)).where(OPEN, actions.c.state == str(State.DOUBT)))
        raised: dict[str, int] = dict(
            connection.execute(sa.select(alerts.c.name, sa.func.count()).where(alerts.c.closed_at.is_(None)).group_by(alerts.c.name)).all()
        )
        swept = one(sa.select(sa.func.max(owners.c.seen_at)).where(owners.c.role == "worker"))
        return Snapshot(
            sources={name: _source(known.get(("source", name)), now) for name in sources},
            accounts={(role, name): _account(known.get((role, name)), now) for role, name in others},
            oldest_open_item_seconds=(now - oldest).total_seconds() if oldest else None,
            oldest_doubt_seconds=(now - doubt).total_seconds() if doubt else None,
            open_tasks={str(name): count for name, count in tasks},
            actions={(ActionKind(kind), State(state)): count for (kind, state), count in total.actions.items()},
            quarantined=one(sa.select(sa.func.count()).where(mentions.c.quarantined.is_not(None))),
            due_behind_seconds=max(waits, default=0.0),
            verdicts={(Label(name), "person" if by_person else "model"): count for (name, by_person), count in total.verdicts.items()},
            mentions=total.mentions,
            brake_engaged=raised.get("Brake", 0),
            duplicates_found=raised.get("DuplicateTickets", 0),
            mode=mode,
            workers_alive=one(sa.select(sa.func.count()).where(owners.c.role == "worker", owners.c.seen_at > now - ALIVE)),
            last_sweep_age_seconds=(now - swept).total_seconds() if swept else None,
            budgets=dict(_budgets(known, now, {("source", name) for name in sources} | set(others))),
            schema_version=one(sa.text("SELECT version_num FROM alembic_version")) or "",
        )


def _budgets(known: Mapping[Any, Any], now: datetime, ours: set[tuple[str, str]]) -> Iterator[tuple[tuple[str, str, str], BudgetHealth]]:
    for (role, name), row in sorted(known.items()):
        if (role, name) not in ours:
            continue
        for what, prefix in (("requests", "budget"), ("posts", "posts")):
            budget = Budget(row[f"{prefix}_limit"], row[f"{prefix}_left"], row[f"{prefix}_reset_at"]).at(now)
            if budget.limit is not None and budget.left is not None:
                wait = (budget.reset_at - now).total_seconds() if budget.reset_at is not None else 0.0
                yield (role, name, what), BudgetHealth(budget.limit, budget.left, wait)


def _paused(row: Any, now: datetime) -> bool:
    return row is not None and row["paused_until"] is not None and row["paused_until"] > now


def _source(row: Any, now: datetime) -> SourceHealth:
    if row is None:
        return SourceHealth(None, up=False, paused=False)
    success = row["last_success_at"]
    age = (now - success).total_seconds() if success else None
    return SourceHealth(age, row["failures"] == 0, _paused(row, now), row["held_back"], row["late_found"])


def _account(row: Any, now: datetime) -> AccountHealth:
    return AccountHealth(row is None or row["failures"] == 0, _paused(row, now))
