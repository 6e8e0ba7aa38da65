"""The list of the queue: which mentions a person looks at, and in which order.

An item is a mention. It is open while a person's task or an action that nobody could carry out hangs on it, and it does not sleep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.store import batch, lines, search, tabs
from triage.store.database import Database
from triage.store.filters import Filters, mention_columns
from triage.store.lines import STUCK, Row
from triage.store.schema import TicketKey, actions, mentions, problems
from triage.store.tabs import MOST_OPEN
from triage.targets import Due, Targets

LOOK = 4_000  # mentions that a page of a filtered list looks through, before it says that it goes on below
PIECE = 500  # of them, looked through at once
NEWEST = 2**62


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the list. `after` is where the next one begins, empty at the end. `near` came by forgiving typos.

    `more_than` is set where the list has more items than are put in order.
    """

    rows: tuple[Row, ...]
    after: str = ""
    near: tuple[Row, ...] = ()
    more_than: int | None = None


@dataclass(slots=True)
class _Candidate:
    """What the order of an item depends on."""

    mention: int | None
    since: datetime
    urgent: bool
    label: str | None
    source: str
    created: datetime
    answered: bool
    tasks: list[int] = field(default_factory=list)

    def key(self, now: datetime, due: Due | None) -> tuple[int, datetime, int]:
        """Urgent, stuck and nearly late first, the latest of them above; then the oldest."""
        soon = due is not None and due.is_soon(now)
        moment = due.at if due is not None and soon and not self.urgent else self.since
        return (0 if self.urgent or soon else 1, moment, self.mention or -min(self.tasks))


class Queue:
    """What a person works through."""

    def __init__(self, database: Database, targets: Targets) -> None:
        self._database = database
        self._targets = targets
        self._near = search.Near()

    def page(
        self,
        filters: Filters,
        me: str,
        now: datetime,
        after: str = "",
        limit: int = 50,
        *,
        approvals: Collection[tuple[datetime, int]] = (),
    ) -> Page:
        """A piece of the list, from `after` on, which an earlier page gave. A wrong `after` begins anew.

        `approvals` are the mentions whose answers wait for an approval that is this person's matter, each with when it was asked for; the
        longest first.

        Open items: urgent, stuck and nearly late first, then the oldest. Snoozed ones: the next to wake first. All others: newest first.
        """
        wanted = search.parse(filters.q)
        filters = replace(filters, label=filters.label or wanted.label, source=filters.source or wanted.source)
        with self._database.read() as connection:
            if filters.state == "open":
                return self._ordered(connection, filters, wanted, now, after, limit, self._open(connection, filters, now))
            if filters.state == "mine":
                return self._ordered(connection, filters, wanted, now, after, limit, self._mine(connection, filters, now, me))
            if filters.state == "approval":
                return self._listed(connection, filters, wanted, now, after, limit, list(approvals), turn=1)
            if filters.state == "snoozed":
                return self._listed(connection, filters, wanted, now, after, limit, tabs.snoozed(connection, now), turn=1)
            if filters.state == "waiting":
                return self._listed(connection, filters, wanted, now, after, limit, tabs.waiting(connection, now), turn=-1)
            if filters.state == "answered":
                return self._listed(connection, filters, wanted, now, after, limit, tabs.answered(connection), turn=-1)
            return self._everything(connection, filters, wanted, now, after, limit)

    def counts(self, me: str, now: datetime) -> dict[str, int]:
        """How many items each state has, `MOST_OPEN` at most; none is told of `all`."""
        with self._database.read() as connection:
            item = sa.func.coalesce(actions.c.mention_id, -actions.c.id).label("item")
            asking = tabs.asking(sa.select(item, sa.case((tabs.own(me), item)).label("own")), now).limit(MOST_OPEN)

            def many(*conditions: sa.ColumnElement[bool]) -> sa.Row[int, int, int]:
                some = asking.where(*conditions).subquery()
                counted = sa.select(sa.func.count(some.c.item.distinct()), sa.func.count(some.c.own.distinct()), sa.func.count())
                return connection.execute(counted.select_from(some)).one()

            opened, own, looked = many()
            if looked >= MOST_OPEN:  # mine may be among those that were not counted
                own = many(tabs.own(me))[1]
            return {
                "open": opened,
                "mine": own + len(connection.scalars(tabs.given(now, me)).all()),
                "snoozed": len(tabs.snoozed(connection, now)),
                "waiting": len(tabs.waiting(connection, now)),
            }

    def choices(self) -> tuple[list[str], list[str]]:
        """The sources and the languages of the newest mentions, for the filters."""
        newest = sa.select(mentions.c.source, mentions.c.language).where(mentions.c.id < NEWEST).order_by(mentions.c.id.desc())
        with self._database.read() as connection:
            found = connection.execute(sa.select(*newest.limit(2_000).subquery().c).distinct()).all()
        return sorted({source for source, _ in found}), sorted({language for _, language in found if language})

    def any(self) -> bool:
        """Whether anything ever came in."""
        with self._database.read() as connection:
            newest = sa.select(mentions.c.id).where(mentions.c.id < NEWEST).order_by(mentions.c.id.desc()).limit(1)
            return connection.scalar(newest) is not None

    # What is in a list

    def _open(self, connection: Connection, filters: Filters, now: datetime, *conditions: sa.ColumnElement[bool]) -> list[_Candidate]:
        statement = tabs.open_actions(filters, now, timed=bool(self._targets.aims))
        return _gather(connection.execute(statement.where(*conditions)).all())

    def _mine(self, connection: Connection, filters: Filters, now: datetime, me: str) -> list[_Candidate]:
        """What is mine and open, and what nobody ever had a task about: given to me by a colleague, it is there until I answer it."""
        opened = self._open(connection, filters, now, tabs.own(me))
        given = mention_columns(filters).where(batch.among(connection, mentions.c.id, connection.scalars(tabs.given(now, me)).all()))
        return [*opened, *(_candidate(row) for row in connection.execute(given).mappings())]

    def _ordered(
        self,
        connection: Connection,
        filters: Filters,
        wanted: search.Wanted,
        now: datetime,
        after: str,
        limit: int,
        found: list[_Candidate],
    ) -> Page:
        more_than = MOST_OPEN if len(found) >= MOST_OPEN else None
        if wanted.is_text or wanted.without or wanted.ticket:
            fit = self._fitting(connection, wanted, [one.mention for one in found if one.mention is not None])
            found = [one for one in found if one.mention in fit]
        keyed = sorted(((one.key(now, self._due(one)), one) for one in found), key=itemgetter(0))
        begin = _cursor(after)
        keyed = [pair for pair in keyed if begin is None or pair[0] > begin]
        chosen = keyed[:limit]
        loud, moment, last = chosen[-1][0] if len(keyed) > limit else (0, now, 0)
        more = f"{loud}|{moment.isoformat()}|{last}" if len(keyed) > limit else ""
        posts = {
            row.mention: row for row in lines.read(connection, self._targets, [one.mention for _, one in chosen if one.mention is not None])
        }
        lone = {row.open[0].id: row for row in lines.lone(connection, [one.tasks[0] for _, one in chosen if one.mention is None])}
        told = [posts.get(one.mention) if one.mention is not None else lone.get(one.tasks[0]) for _, one in chosen]
        return Page(tuple(row for row in told if row is not None), more, (), more_than)

    def _due(self, one: _Candidate) -> Due | None:
        if one.mention is None or not self._targets.aims:
            return None
        return self._targets.due(one.label, one.source, one.created, answered=one.answered)

    def _listed(
        self,
        connection: Connection,
        filters: Filters,
        wanted: search.Wanted,
        now: datetime,
        after: str,
        limit: int,
        found: list[tuple[datetime, int]],
        *,
        turn: int,
    ) -> Page:
        """Of mentions at hand, each with a time, those that fit, in the order of the times, or against it."""
        ordered = sorted(found, reverse=turn < 0)
        moment, _, last = after.partition("|")
        if last.isdecimal():
            ordered = [pair for pair in ordered if (pair[0].isoformat(), pair[1]) != (moment, int(last))]
            ordered = [pair for pair in ordered if ((pair[0].isoformat(), pair[1]) > (moment, int(last))) == (turn > 0)]
        fit: set[int] = set()
        ids_ = [id_ for _, id_ in ordered]
        for start in range(0, len(ids_), 500):
            part = ids_[start : start + 500]
            fit |= self._filtered(connection, filters, wanted, part, now)
            if len(fit) > limit:
                break
        chosen = [pair for pair in ordered if pair[1] in fit]
        more = f"{chosen[limit - 1][0].isoformat()}|{chosen[limit - 1][1]}" if len(chosen) > limit else ""
        return Page(tuple(lines.read(connection, self._targets, [id_ for _, id_ in chosen[:limit]])), more)

    def _everything(self, connection: Connection, filters: Filters, wanted: search.Wanted, now: datetime, after: str, limit: int) -> Page:
        """Newest first. A list that leaves much out looks through `LOOK` mentions a page, and goes on below."""
        below = int(after) if after.isdecimal() and len(after) < 19 else NEWEST
        leaves_out = filters.narrowed or wanted.ticket or (wanted.without and not wanted.is_text)
        fit: list[int] = []
        seen, looked = below, 0
        for part in _pieces(connection, wanted, below, min(PIECE, LOOK) if leaves_out else limit + 1):
            there = self._filtered(connection, filters, wanted, part, now)
            fit += [id_ for id_ in part if id_ in there]
            seen, looked = part[-1], looked + len(part)
            if len(fit) > limit or looked >= LOOK:
                break
        more = str(fit[limit - 1]) if len(fit) > limit else str(seen) if looked >= LOOK else ""
        found = tuple(lines.read(connection, self._targets, fit[:limit]))
        near: tuple[Row, ...] = ()
        if wanted.words and below == NEWEST and len(found) < limit // 2:
            known = {row.mention for row in found}
            like = [id_ for id_ in self._near.ids(connection, wanted, limit * 2) if id_ not in known]
            there = self._filtered(connection, filters, replace(wanted, words=(), author="", without=()), like, now)
            likely = lines.read(connection, self._targets, [id_ for id_ in like if id_ in there])
            near = tuple(row for row in likely if search.is_near(wanted, row.text, row.author))[:limit]
        return Page(found, more, near)

    def _fitting(self, connection: Connection, wanted: search.Wanted, these: Sequence[int]) -> set[int]:
        """Which of these mentions the query finds, by their text and their ticket."""
        fit = set(these)
        if wanted.is_text or wanted.without:
            fit = search.among(connection, wanted, these)
        if wanted.ticket:
            fit &= set(connection.scalars(sa.select(mentions.c.id).where(_of_ticket(wanted.ticket)).limit(MOST_OPEN)))
        return fit

    def _filtered(self, connection: Connection, filters: Filters, wanted: search.Wanted, these: Sequence[int], now: datetime) -> set[int]:
        """Which of these mentions the filters and the query let through."""
        if not these:
            return set()
        fit = set(these)
        if filters.narrowed:
            statement = mention_columns(filters).where(batch.among(connection, mentions.c.id, these))
            fit = {row["id"] for row in connection.execute(statement).mappings()}
        if filters.state != "all" or wanted.ticket or wanted.without or wanted.author:
            fit &= self._fitting(connection, wanted, [id_ for id_ in these if id_ in fit])
        return fit


def _gather(found: Iterable[Any]) -> list[_Candidate]:
    """One candidate an item, of its actions, oldest first."""
    made: dict[int, _Candidate] = {}
    for action_id, since, state, urgent, id_, source, created, label, answered in found:
        key = id_ if id_ is not None else -action_id
        one = made.get(key)
        if one is None:
            one = made[key] = _Candidate(id_, since, False, label, source or "", created or since, answered)
        one.urgent = one.urgent or bool(urgent) or state in STUCK
        one.tasks.append(action_id)
    return list(made.values())


def _candidate(row: RowMapping) -> _Candidate:
    created: datetime = row["created_at"]
    return _Candidate(row["id"], created, False, row["label"], row["source"], created, row["answered"])


def _cursor(after: str) -> tuple[int, datetime, int] | None:
    loud, _, rest = after.partition("|")
    moment, _, last = rest.rpartition("|")
    try:
        return int(loud), datetime.fromisoformat(moment).astimezone(UTC), int(last)
    except (ValueError, OverflowError):
        return None


def _pieces(connection: Connection, wanted: search.Wanted, below: int, many: int) -> Iterator[list[int]]:
    """The mentions below an id that the query may mean, all without one, newest first, so many at a time."""
    by_author = "@" in wanted.author
    if wanted.is_text and not wanted.ticket and not by_author:
        for found in search.newest(connection, wanted, below, many):
            yield from (found[start : start + many] for start in range(0, len(found), many))
        return
    statement = sa.select(mentions.c.id).order_by(mentions.c.id.desc()).limit(many)
    if wanted.ticket:
        statement = statement.where(_of_ticket(wanted.ticket))
    elif by_author:
        statement = statement.where(mentions.c.author == wanted.author)
    while part := list(connection.scalars(statement.where(mentions.c.id < below))):
        yield part
        if len(part) < many:
            return
        below = part[-1]


def _of_ticket(key: str) -> sa.ColumnElement[bool]:
    return mentions.c.problem_id.in_(sa.select(problems.c.id).where(TicketKey() == key))
