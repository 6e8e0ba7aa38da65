"""The list of the queue: which mentions a person looks at, in which order, and what a row tells of each. Lists that people saved.

An item is a mention. It is open while a person's task or an action that nobody could carry out hangs on it, and it does not sleep.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from triage.errors import UserError
from triage.mention import HUMAN, ActionKind, State, Ticket
from triage.store import batch, rows, search
from triage.store.accounts import HELD
from triage.store.approvals import HELD_FOR
from triage.store.database import Database, insert
from triage.store.schema import OPEN, OPEN_STATES, TicketKey, actions, items, mentions, notes, problems, saved, verdicts
from triage.targets import Due, Targets

STATES = ("open", "mine", "approval", "snoozed", "waiting", "answered", "all")
MOST_OPEN = 10_000  # what a list is put in order from; a tab tells of more as "10,000+"
LOOK = 4_000  # mentions that a page of a filtered list looks through, before it says that it goes on below
PIECE = 500  # of them, looked through at once
MOST_POSTS = 100  # of a thread; a row says "99+"
WAITS = timedelta(days=14)  # an author who was silent for so long is waited for no more
NEWEST = 2**62
STUCK = tuple(str(state) for state in (State.DOUBT, State.PARKED, State.REJECTED))


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to, as the address holds it. `assigned` is a person's name, or `nobody`."""

    state: str = "open"
    label: str = ""
    source: str = ""
    language: str = ""
    assigned: str = ""
    private: bool = False
    angry: bool = False
    unsure: bool = False
    q: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether something beside the state leaves rows out."""
        return replace(self, state="open", q="") != Filters()


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


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the list. `after` is where the next one begins, empty at the end. `near` came by forgiving typos.

    `more_than` is set where the list has more items than are put in order.
    """

    rows: tuple[Row, ...]
    after: str = ""
    near: tuple[Row, ...] = ()
    more_than: int | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """A list that somebody saved, as the address holds it."""

    id: int
    name: str
    query: str


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
                return self._listed(connection, filters, wanted, now, after, limit, _snoozed(connection, now), turn=1)
            if filters.state == "waiting":
                return self._listed(connection, filters, wanted, now, after, limit, _waiting(connection, now), turn=-1)
            if filters.state == "answered":
                return self._listed(connection, filters, wanted, now, after, limit, _answered(connection), turn=-1)
            return self._everything(connection, filters, wanted, now, after, limit)

    def counts(self, me: str, now: datetime) -> dict[str, int]:
        """How many items each state has, `MOST_OPEN` at most; none is told of `all`."""
        with self._database.read() as connection:
            item = sa.func.coalesce(actions.c.mention_id, -actions.c.id).label("item")
            asking = _asking(sa.select(item, sa.case((_own(me), item)).label("own")), now).limit(MOST_OPEN)

            def many(*conditions: sa.ColumnElement[bool]) -> sa.Row[int, int, int]:
                some = asking.where(*conditions).subquery()
                counted = sa.select(sa.func.count(some.c.item.distinct()), sa.func.count(some.c.own.distinct()), sa.func.count())
                return connection.execute(counted.select_from(some)).one()

            opened, own, looked = many()
            if looked >= MOST_OPEN:  # mine may be among those that were not counted
                own = many(_own(me))[1]
            return {
                "open": opened,
                "mine": own + len(connection.scalars(_given(now, me)).all()),
                "snoozed": len(_snoozed(connection, now)),
                "waiting": len(_waiting(connection, now)),
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

    # Lists that people saved

    def saved(self, me: str) -> list[Saved]:
        """A person's lists, by name."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(saved).where(saved.c.person == me).order_by(saved.c.name)).mappings()
            return [Saved(row["id"], row["name"], row["query"]) for row in found]

    def save(self, me: str, name: str, query: str, now: datetime) -> None:
        """Save a list under a name; one of that name is replaced."""
        name = " ".join(rows.clean(name).split())[:60]
        if not name:
            raise UserError("the list needs a name")
        with self._database.write() as connection:
            held = {"query": rows.clean(query)[:2_000], "at": now}
            statement = insert(connection, saved).values(person=me, name=name, **held)
            connection.execute(statement.on_conflict_do_update(index_elements=[saved.c.person, saved.c.name], set_=held))

    def forget(self, me: str, saved_id: int) -> None:
        """Delete a saved list. `UserError` when it is not there, or somebody else's."""
        with self._database.write() as connection:
            if connection.execute(sa.delete(saved).where(saved.c.id == saved_id, saved.c.person == me)).rowcount != 1:
                raise UserError("this list is not there any more")

    # What is in a list

    def _open(self, connection: Connection, filters: Filters, now: datetime, *conditions: sa.ColumnElement[bool]) -> list[_Candidate]:
        statement = _open_actions(filters, now, timed=bool(self._targets.aims))
        return _gather(connection.execute(statement.where(*conditions)).all())

    def _mine(self, connection: Connection, filters: Filters, now: datetime, me: str) -> list[_Candidate]:
        """What is mine and open, and what nobody ever had a task about: given to me by a colleague, it is there until I answer it."""
        opened = self._open(connection, filters, now, _own(me))
        given = _mention_columns(filters).where(batch.among(connection, mentions.c.id, connection.scalars(_given(now, me)).all()))
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
        posts = {row.mention: row for row in self._rows(connection, [one.mention for _, one in chosen if one.mention is not None], now)}
        lone = {row.open[0].id: row for row in _lone(connection, [one.tasks[0] for _, one in chosen if one.mention is None])}
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
        return Page(tuple(self._rows(connection, [id_ for _, id_ in chosen[:limit]], now)), more)

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
        found = tuple(self._rows(connection, fit[:limit], now))
        near: tuple[Row, ...] = ()
        if wanted.words and below == NEWEST and len(found) < limit // 2:
            known = {row.mention for row in found}
            like = [id_ for id_ in self._near.ids(connection, wanted, limit * 2) if id_ not in known]
            there = self._filtered(connection, filters, replace(wanted, words=(), author="", without=()), like, now)
            likely = self._rows(connection, [id_ for id_ in like if id_ in there], now)
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
            statement = _mention_columns(filters).where(batch.among(connection, mentions.c.id, these))
            fit = {row["id"] for row in connection.execute(statement).mappings()}
        if filters.state != "all" or wanted.ticket or wanted.without or wanted.author:
            fit &= self._fitting(connection, wanted, [id_ for id_ in these if id_ in fit])
        return fit

    # What a row tells

    def _rows(self, connection: Connection, ids: Sequence[int], now: datetime) -> list[Row]:
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
                sa.func.substr(mentions.c.text, 1, search.LONGEST_NEAR).label("text"),
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
                mentions.outerjoin(verdicts, verdicts.c.id == _last_verdict())
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
        return [self._row(found[id_], tuple(hanging.get(id_, ()))) for id_ in ids if id_ in found]

    def _row(self, row: RowMapping, hanging: tuple[Open, ...]) -> Row:
        answered = row["answered_at"] is not None
        due = self._targets.due(row["label"], row["source"], row["created_at"], answered=answered) if hanging else None
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


def _last_verdict() -> Any:
    inner = verdicts.alias("newest")
    return sa.select(sa.func.max(inner.c.id)).where(inner.c.mention_id == mentions.c.id).correlate(mentions).scalar_subquery()


def _awake(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a mention does not sleep: until a time, or until its author writes again."""
    return sa.or_(items.c.mention_id.is_(None), ~_asleep(now))


def _asleep(now: datetime) -> sa.ColumnElement[bool]:
    asleep = sa.or_(items.c.snoozed_until > now, sa.and_(items.c.until_reply, items.c.snoozed_until.is_(None)))
    return sa.func.coalesce(asleep, sa.false())


def _conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """The filters, on mentions, their last verdict and their items."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.label:
        found.append(verdicts.c.label == filters.label)
    if filters.source:
        found.append(mentions.c.source == filters.source)
    if filters.language:
        found.append(mentions.c.language == filters.language)
    if filters.private:
        found.append(mentions.c.visibility.in_(["private", "direct"]))
    if filters.unsure:
        found.append(verdicts.c.sure.is_(False))
    if filters.angry:
        found.append(sa.cast(verdicts.c.data["signals"], sa.Text).like('%"anger"%'))
    if filters.assigned:
        found.append(items.c.assignee.is_(None) if filters.assigned == "nobody" else items.c.assignee == filters.assigned)
    return found


_ORDERING = (
    mentions.c.id,
    mentions.c.source,
    mentions.c.created_at,
    verdicts.c.label,
    items.c.answered_at.is_not(None).label("answered"),
)


def _open_actions(filters: Filters, now: datetime, *, timed: bool) -> sa.Select[Any]:
    """The open actions that a person must look at, oldest first, each with what the order of its item depends on.

    That is little where no target times are set: what they are counted by is not read then.
    """
    conditions = _conditions(filters)
    asking = actions.outerjoin(items, items.c.mention_id == actions.c.mention_id)
    if timed or conditions:
        asking = asking.outerjoin(mentions, mentions.c.id == actions.c.mention_id).outerjoin(verdicts, verdicts.c.id == _last_verdict())
    statement = sa.select(
        actions.c.id.label("action_id"),
        actions.c.created_at.label("since"),
        actions.c.state,
        sa.func.coalesce(actions.c.payload["urgent"].as_boolean(), sa.false()).label("urgent"),
        *(_ORDERING if timed else (actions.c.mention_id.label("id"), *(sa.null() for _ in _ORDERING[1:]))),
    ).select_from(asking)
    return statement.where(_asks(now), *conditions).order_by(actions.c.created_at, actions.c.id).limit(MOST_OPEN)


def _asking(statement: sa.Select[Any], now: datetime) -> sa.Select[Any]:
    """Of actions that a person must look at, with their items."""
    return statement.select_from(actions.outerjoin(items, items.c.mention_id == actions.c.mention_id)).where(_asks(now))


def _asks(now: datetime) -> sa.ColumnElement[bool]:
    """Whether a person must look at an action: a task, or what is stuck or held; and its item does not sleep."""
    human = sa.and_(actions.c.via == HUMAN, actions.c.state == str(State.PLANNED))
    held = sa.and_(actions.c.state == str(State.PLANNED), actions.c.error.like(f"{HELD}%"))
    return sa.and_(OPEN, sa.or_(human, actions.c.state.in_(STUCK), held), _awake(now))


def _own(me: str) -> sa.ColumnElement[bool]:
    return sa.or_(items.c.assignee == me, items.c.claimed_by == me)


def _given(now: datetime, me: str) -> sa.Select[Any]:
    """What is mine, nobody ever had a task about, and nobody answered; nor is anything of it stuck or held, which is listed by itself."""
    task = sa.exists().where(actions.c.mention_id == items.c.mention_id, actions.c.kind == str(ActionKind.TASK))
    listed = _asking(sa.select(actions.c.mention_id), now).where(_own(me))
    statement = sa.select(items.c.mention_id).where(_own(me), items.c.answered_at.is_(None), ~_asleep(now), ~task)
    return statement.where(items.c.mention_id.not_in(listed)).order_by(items.c.mention_id.desc()).limit(MOST_OPEN)


def _mention_columns(filters: Filters) -> sa.Select[Any]:
    return (
        sa.select(*_ORDERING)
        .select_from(mentions.outerjoin(verdicts, verdicts.c.id == _last_verdict()).outerjoin(items, items.c.mention_id == mentions.c.id))
        .where(*_conditions(filters))
    )


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


def _timed(connection: Connection, column: sa.ColumnElement[Any], *conditions: sa.ColumnElement[bool]) -> list[tuple[datetime, int]]:
    found = connection.execute(sa.select(column, items.c.mention_id).where(*conditions).order_by(column.desc()).limit(MOST_OPEN))
    return [(moment, id_) for moment, id_ in found]


def _snoozed(connection: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """What sleeps, with the time until then; what waits for its author comes last."""
    timed = _timed(connection, items.c.snoozed_until, items.c.snoozed_until > now)
    known = {id_ for _, id_ in timed}
    wait = sa.select(items.c.mention_id).where(items.c.until_reply, items.c.snoozed_until.is_(None)).limit(MOST_OPEN)
    ever = now + timedelta(days=36_500)
    return timed + [(ever, id_) for id_ in connection.scalars(wait) if id_ not in known]


def _answered(connection: Connection) -> list[tuple[datetime, int]]:
    return _timed(connection, items.c.answered_at, items.c.answered_at.is_not(None))


def _waiting(connection: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """What was answered lately and has nothing open, while its author has not written in the thread since."""
    later = mentions.alias("later")
    said = sa.exists().where(
        later.c.problem_id == mentions.c.problem_id,
        later.c.thread == mentions.c.thread,
        later.c.author == mentions.c.author,
        later.c.stored_at > items.c.answered_at,
    )
    asks = sa.or_(actions.c.via == HUMAN, actions.c.kind == str(ActionKind.REPLY))
    still = sa.exists().where(actions.c.mention_id == items.c.mention_id, asks, actions.c.state.in_(OPEN_STATES))
    statement = (
        sa.select(items.c.answered_at, items.c.mention_id)
        .join(mentions, mentions.c.id == items.c.mention_id)
        .where(items.c.answered_at.is_not(None), items.c.answered_at > now - WAITS, ~still, ~said)
        .order_by(items.c.answered_at.desc())
        .limit(MOST_OPEN)
    )
    return [(moment, id_) for moment, id_ in connection.execute(statement)]


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


def _lone(connection: Connection, tasks: Sequence[int]) -> list[Row]:
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
