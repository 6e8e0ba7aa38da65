"""What a line of the list tells of a mention: who wrote what, how it was judged, and why it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.mention import HUMAN, ActionKind, State, Ticket
from triage.store import batch, rows
from triage.store.accounts import HELD
from triage.store.approvals import HELD_FOR
from triage.store.filters import last_verdict
from triage.store.schema import actions, items, mentions, notes, problems, verdicts
from triage.store.search import LONGEST_NEAR
from triage.targets import Due, Targets

MOST_POSTS = 100  # of a thread; a row says "99+"
STUCK = tuple(str(state) for state in (State.DOUBT, State.PARKED, State.REJECTED))
_SHOWN = (
    "id",
    "author",
    "source",
    "visibility",
    "language",
    "data",
    "created_at",
    "deleted_at",
    "quarantined",
)


@dataclass(frozen=True, slots=True)
class Open:
    """Why an item is in the list: a person's task, or an action that is stuck.

    `state` is open, held, approval, doubt, parked or rejected.
    """

    id: int
    kind: str
    state: str
    what: str
    reason: str
    via: str
    urgent: bool
    since: datetime

    @property
    def is_stuck(self) -> bool:
        """Whether something that should have happened did not, or nobody knows."""
        return self.state in STUCK


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list. `mention` is None for a task that belongs to no post. `posts` counts those of its thread that we know."""

    mention: int | None
    open: tuple[Open, ...] = ()
    author: str = ""
    name: str = ""
    source: str = ""
    visibility: str = "public"
    text: str = ""
    warning: str = ""
    label: str | None = None
    confidence: float | None = None
    sure: bool = True
    by_person: bool = False
    created_at: datetime | None = None
    signals: tuple[str, ...] = ()
    posts: int = 1
    ticket: Ticket | None = None
    assignee: str | None = None
    claimed_by: str | None = None
    snoozed_until: datetime | None = None
    until_reply: bool = False
    answered_by: str = ""
    answered_at: datetime | None = None
    notes: int = 0
    language: str | None = None
    deleted_at: datetime | None = None
    quarantined: str | None = None
    due: Due | None = None

    @property
    def stuck(self) -> tuple[str, ...]:
        """The states of what is stuck, loudest first: doubt, parked, rejected."""
        there = {one.state for one in self.open}
        return tuple(state for state in STUCK if state in there)

    @property
    def waits_for_approval(self) -> bool:
        """Whether an answer to it has to be let go by somebody."""
        return any(one.state == "approval" for one in self.open)

    @property
    def urgent(self) -> bool:
        """Whether a rule said so."""
        return any(one.urgent for one in self.open)

    @property
    def angry(self) -> bool:
        """Whether the author is."""
        return "anger" in self.signals

    @property
    def private(self) -> bool:
        """Whether only followers or those who are named can read the post."""
        return self.visibility in ("private", "direct")


def read(connection: Connection, targets: Targets, ids: Sequence[int]) -> list[Row]:
    """The rows of these mentions, in their order."""
    if not ids:
        return []
    same = mentions.alias("same")
    thread = (
        sa.select(same.c.id)
        .where(same.c.problem_id == mentions.c.problem_id, same.c.thread == mentions.c.thread)
        .limit(MOST_POSTS)
        .correlate(mentions)
        .subquery("posts")
    )
    noted = sa.select(sa.func.count()).select_from(notes).where(notes.c.mention_id == mentions.c.id).correlate(mentions)
    statement = (
        sa.select(
            *(mentions.c[name] for name in _SHOWN),
            sa.func.substr(mentions.c.text, 1, LONGEST_NEAR).label("text"),
            verdicts.c.label,
            verdicts.c.confidence,
            verdicts.c.sure,
            verdicts.c.by_person,
            verdicts.c.data["signals"].label("signals"),
            problems.c.ticket_id,
            problems.c.ticket,
            *(column for column in items.c if column.name != "mention_id"),
            sa.select(sa.func.count()).select_from(thread).scalar_subquery().label("posts"),
            noted.scalar_subquery().label("notes"),
        )
        .select_from(
            mentions.outerjoin(verdicts, verdicts.c.id == last_verdict())
            .outerjoin(problems, problems.c.id == mentions.c.problem_id)
            .outerjoin(items, items.c.mention_id == mentions.c.id)
        )
        .where(batch.among(connection, mentions.c.id, ids))
    )
    found = {row["id"]: row for row in connection.execute(statement).mappings()}
    hanging: dict[int, list[Open]] = {}
    about = sa.select(actions).where(batch.among(connection, actions.c.mention_id, ids), actions.c.state.in_(["planned", *STUCK]))
    for action in connection.execute(about.order_by(actions.c.created_at, actions.c.id)).mappings():
        if (one := _to_open(action)) is not None:
            hanging.setdefault(action["mention_id"], []).append(one)
    return [_row(targets, found[id_], tuple(hanging.get(id_, ()))) for id_ in ids if id_ in found]


def _row(targets: Targets, row: RowMapping, hanging: tuple[Open, ...]) -> Row:
    answered = row["answered_at"] is not None
    due = targets.due(row["label"], row["source"], row["created_at"], answered=answered) if hanging else None
    return Row(
        mention=row["id"],
        open=hanging,
        author=row["author"],
        name=(row["data"].get("author") or {}).get("name") or "",
        source=row["source"],
        visibility=row["visibility"],
        text=row["text"],
        warning=row["data"].get("warning") or "",
        label=row["label"],
        confidence=row["confidence"],
        sure=True if row["sure"] is None else row["sure"],
        by_person=bool(row["by_person"]),
        created_at=row["created_at"],
        signals=tuple(row["signals"] or ()),
        posts=max(1, row["posts"]),
        ticket=rows.to_ticket(row["ticket_id"], row["ticket"]),
        assignee=row["assignee"],
        claimed_by=row["claimed_by"],
        snoozed_until=row["snoozed_until"],
        until_reply=bool(row["until_reply"]),
        answered_by=row["answered_by"] or "",
        answered_at=row["answered_at"],
        notes=row["notes"],
        language=row["language"],
        deleted_at=row["deleted_at"],
        quarantined=row["quarantined"],
        due=due,
    )


def lone(connection: Connection, tasks: Sequence[int]) -> list[Row]:
    """Tasks that belong to no post."""
    if not tasks:
        return []
    statement = sa.select(actions).where(actions.c.id.in_(tasks))
    made = [one for action in connection.execute(statement).mappings() if (one := _to_open(action)) is not None]
    return [Row(None, (one,), text=one.reason, created_at=one.since) for one in made]


def _to_open(action: RowMapping) -> Open | None:
    """What an action asks of people; None where it is on its way."""
    human, planned = action["via"] == HUMAN, action["state"] == State.PLANNED
    waiting = planned and action["error"].startswith(f"{HELD}{HELD_FOR}")
    if planned and not human and not action["error"].startswith(HELD):
        return None
    by_hand = human and action["kind"] == ActionKind.REPLY
    return Open(
        action["id"],
        "post by hand" if by_hand else action["kind"],
        "approval" if waiting else "open" if human and planned else "held" if planned else action["state"],
        action["payload"].get("what", ""),
        action["reason"] if human and not waiting else (action["error"] or action["reason"]).removeprefix(HELD),
        action["via"],
        bool(action["payload"].get("urgent")),
        action["created_at"],
    )
