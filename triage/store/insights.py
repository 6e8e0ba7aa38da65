"""A period in numbers: what came, how fast it was answered, what was decided alone, who wrote.

A period is whole days in UTC, and its posts are those that were written in it; what was done about them counts whenever it was
done. Each number is read along the index of the posts' times. Times are elapsed ones: nights and weekends count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles

from triage.mention import HUMAN, ActionKind, Label, State
from triage.store.database import Database
from triage.store.schema import OPEN_STATES, actions, items, mentions, samples, verdicts
from triage.trust import Stratum

KEPT = timedelta(minutes=5)  # so long a report is told again as it was: a large store takes seconds
KEPT_REPORTS = 16
ASKING = (str(Label.BUG_REPORT), str(Label.SUPPORT_QUESTION))  # who writes these waits for an answer


@dataclass(frozen=True, slots=True)
class Period:
    """From the beginning of the day `first` to the end of the day `last`, in UTC."""

    first: date
    last: date

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime.combine(self.first, time(), UTC)

    @property
    def end(self) -> datetime:
        """The first moment after it."""
        return datetime.combine(self.last + timedelta(days=1), time(), UTC)

    @property
    def days(self) -> list[date]:
        """Every day of it."""
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """How many times there are, and within how many seconds half of them and nine in ten were; None without any."""

    count: int
    median: float | None
    most: float | None

    @classmethod
    def of(cls, times: Counter[int]) -> Spread:
        """From how often each time (in seconds) occurred: the nearest rank, so each figure is a time that occurred."""
        count = times.total()

        def rank(share: float) -> float | None:
            seen = 0
            for seconds in sorted(times):
                seen += times[seconds]
                if seen >= share * count:
                    return float(seconds)
            return None

        return cls(count, rank(0.5), rank(0.9))


@dataclass(frozen=True, slots=True)
class Alone:
    """Posts of one label that a machine decided without asking anybody, and on how many of them a person said something else."""

    label: str
    decided: int
    corrected: int


@dataclass(frozen=True)
class Report:
    """The numbers of a period, as they were at `at`. A label of None is a post that nobody judged."""

    period: Period
    at: datetime
    volume: dict[tuple[date, str | None], int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    languages: dict[str | None, int] = field(default_factory=dict)
    responses: dict[bool, Spread] = field(default_factory=dict)  # by whether people did it
    resolutions: dict[bool, Spread] = field(default_factory=dict)
    reporters: int = 0
    answered: int = 0
    judged: int = 0
    alone: list[Alone] = field(default_factory=list)
    audits: list[Stratum] = field(default_factory=list)
    new_authors: tuple[int, int] = (0, 0)  # how many, and their posts
    returning_authors: tuple[int, int] = (0, 0)
    people: dict[str, int] = field(default_factory=dict)


class Insights:
    """Reports, each kept for five minutes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: dict[Period, Report] = {}

    def report(self, period: Period, now: datetime) -> Report:
        """What the period was."""
        kept = self._kept.get(period)
        if kept is not None and timedelta(0) <= now - kept.at < KEPT:
            return kept
        with self._database.read() as connection:
            found = _report(connection, period, now)
        self._kept.pop(period, None)
        self._kept[period] = found
        while len(self._kept) > KEPT_REPORTS:
            self._kept.pop(next(iter(self._kept)), None)
        return found


def _report(connection: Connection, period: Period, now: datetime) -> Report:
    written = sa.and_(mentions.c.created_at >= period.start, mentions.c.created_at < period.end, mentions.c.platform != "")
    volume: Counter[tuple[date, str | None]] = Counter()
    sources: Counter[str] = Counter()
    languages: Counter[str | None] = Counter()
    for day, label, source, language, count in connection.execute(_volume(written)):
        volume[date.fromisoformat(day), label] += count
        sources[source] += count
        languages[language] += count
    responses, reporters, answered, people = _responses(connection, written)
    new, returning = _authors(connection, written, period)
    judged, alone = _alone(connection, written)
    return Report(
        period,
        now,
        dict(volume),
        dict(sources.most_common()),
        dict(languages.most_common()),
        responses,
        _resolutions(connection, written),
        reporters,
        answered,
        judged,
        alone,
        _audits(connection, period),
        new,
        returning,
        dict(people.most_common()),
    )


def _label() -> sa.ScalarSelect[Any]:
    """The label of a post's newest verdict."""
    newest = sa.select(verdicts.c.label).where(verdicts.c.mention_id == mentions.c.id).order_by(verdicts.c.id.desc()).limit(1)
    return newest.correlate(mentions).scalar_subquery()


def _volume(written: sa.ColumnElement[bool]) -> sa.Select[Any]:
    posts = _once(
        sa.select(Day(mentions.c.created_at).label("day"), _label().label("label"), mentions.c.source, mentions.c.language).where(written)
    )
    return sa.select(*posts.c, sa.func.count()).group_by(*posts.c)


def _responses(connection: Connection, written: sa.ColumnElement[bool]) -> tuple[dict[bool, Spread], int, int, Counter[str]]:
    """First responses, reporters and those among them who got one, and answers by person.

    A response is an answer that was posted, by us or by hand, or a colleague's own that closed the item.
    """
    posted = sa.select(
        mentions.c.id,
        Seconds(actions.c.closed_at, mentions.c.created_at).label("seconds"),
        actions.c.payload["by_person"].as_boolean().label("by_person"),
        actions.c.payload["by"].as_string().label("by"),
        actions.c.payload["task_id"].as_integer().label("task"),
        actions.c.id.label("action"),
    ).join(actions, actions.c.mention_id == mentions.c.id)
    posted = posted.where(written, actions.c.kind == str(ActionKind.REPLY), actions.c.state == str(State.DONE))
    elsewhere = sa.select(mentions.c.id, Seconds(items.c.answered_at, mentions.c.created_at), items.c.answered_by)
    elsewhere = elsewhere.join(items, items.c.mention_id == mentions.c.id).where(written, items.c.answered_at.is_not(None))
    # An answer of ours is noted there when it is written; it counts once it is posted, by its action.
    ours = (actions.c.mention_id == mentions.c.id, actions.c.kind == str(ActionKind.REPLY), actions.c.state != str(State.CANCELLED))
    elsewhere = elsewhere.where(~sa.exists().where(*ours, actions.c.payload["by"].as_string() == items.c.answered_by))
    first: dict[int, tuple[int, bool]] = {}
    people: Counter[str] = Counter()
    told: set[tuple[int, Any]] = set()  # an answer in three posts is one answer
    for mention, seconds, by_person, by, task, action in connection.execute(posted):
        person = by_person or by is not None
        first[mention] = min(first.get(mention, (seconds, person)), (seconds, person))
        if by is not None and (mention, task or action) not in told:
            told.add((mention, task or action))
            people[by] += 1
    by_hand = {mention for mention, _ in told}
    for mention, seconds, by in connection.execute(elsewhere):
        first[mention] = min(first.get(mention, (seconds, True)), (seconds, True))
        if by and mention not in by_hand:
            people[by] += 1
    times: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for seconds, person in first.values():
        times[person][max(seconds, 0)] += 1
    askers: dict[str, bool] = {}
    asking = _once(sa.select(mentions.c.id, mentions.c.author, _label().label("label")).where(written))
    for mention, author in connection.execute(sa.select(asking.c.id, asking.c.author).where(asking.c.label.in_(ASKING))):
        askers[author] = askers.get(author, False) or mention in first
    return {person: Spread.of(found) for person, found in times.items()}, len(askers), sum(askers.values()), people


def _resolutions(connection: Connection, written: sa.ColumnElement[bool]) -> dict[bool, Spread]:
    """Until nothing was left to do: the last action done, where none is open. By people where one of them had a hand in it."""
    hand = sa.or_(actions.c.via == HUMAN, actions.c.payload["by_person"].as_boolean())
    done = sa.case((actions.c.state == str(State.DONE), actions.c.closed_at))
    each = (
        sa.select(
            sa.func.max(sa.case((hand, 1), else_=0)).label("people"),
            sa.func.max(done).label("closed"),
            mentions.c.created_at,
        )
        .select_from(mentions.join(actions, actions.c.mention_id == mentions.c.id))
        .where(written, actions.c.kind != str(ActionKind.ALERT))
        .group_by(mentions.c.id, mentions.c.created_at)
        .having(sa.func.max(done).is_not(None), sa.func.max(sa.case((actions.c.state.in_(OPEN_STATES), 1), else_=0)) == 0)
    ).cte()
    seconds = Seconds(each.c.closed, each.c.created_at)
    times: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for people, took, count in connection.execute(sa.select(each.c.people, seconds, sa.func.count()).group_by(each.c.people, seconds)):
        times[bool(people)][max(took, 0)] += count
    return {person: Spread.of(found) for person, found in times.items()}


def _alone(connection: Connection, written: sa.ColumnElement[bool]) -> tuple[int, list[Alone]]:
    """How many posts were judged by a machine, and what of them it decided alone, by the machine's label.

    Alone is what it acted on while nobody was asked to judge. It is corrected where the last word of a person is another label.
    """
    theirs, ours = verdicts.alias("theirs"), verdicts.alias("ours")
    # Of most posts one verdict is read, and the actions once: few have a person's word, and an index of its own knows which. No joins:
    # PostgreSQL would shuffle the posts, and verdicts and actions lie in their order.
    spoken = sa.select(theirs.c.id).where(theirs.c.mention_id == mentions.c.id, theirs.c.by_person).correlate(mentions).limit(1)
    first = spoken.order_by(theirs.c.id).scalar_subquery()
    before = ours.c.id < sa.func.coalesce(first, sa.literal_column("9223372036854775807"))
    label = sa.select(ours.c.label).where(ours.c.mention_id == mentions.c.id, ~ours.c.by_person, before).order_by(ours.c.id.desc()).limit(1)
    heard = _once(
        sa.select(
            mentions.c.id,
            label.correlate(mentions).scalar_subquery().label("label"),
            first.label("first"),
            spoken.order_by(theirs.c.id.desc()).scalar_subquery().label("last"),
        ).where(written)
    )
    posts = _once(
        sa.select(
            heard.c.id,
            heard.c.label,
            sa.select(theirs.c.label).where(theirs.c.id == heard.c.last).correlate(heard).scalar_subquery().label("said"),
            sa.select(theirs.c.at).where(theirs.c.id == heard.c.first).correlate(heard).scalar_subquery().label("said_at"),
        ).where(heard.c.label.is_not(None))
    )
    asked = sa.and_(actions.c.kind == str(ActionKind.TASK), actions.c.payload["what"].as_string() == "judge")
    acted = sa.and_(
        actions.c.kind.not_in([str(ActionKind.TASK), str(ActionKind.REPLY), str(ActionKind.BOOST)]),
        sa.or_(posts.c.said_at.is_(None), actions.c.created_at < posts.c.said_at),
    )
    hands = sa.select(sa.func.max(sa.case((asked, 2), (acted, 1), else_=0))).where(actions.c.mention_id == posts.c.id)
    each = _once(
        sa.select(
            posts.c.label,
            (hands.correlate(posts).scalar_subquery() == 1).label("alone"),
            (posts.c.said != posts.c.label).label("other"),
        )
    )
    judged, decided, corrected = 0, Counter[str](), Counter[str]()
    counted = sa.select(each.c.label, each.c.alone, each.c.other, sa.func.count()).group_by(each.c.label, each.c.alone, each.c.other)
    for label, alone, other, count in connection.execute(counted):
        judged += count
        if alone:
            decided[label] += count
            corrected[label] += count if other else 0
    return judged, [Alone(label, count, corrected[label]) for label, count in decided.most_common()]


def _audits(connection: Connection, period: Period) -> list[Stratum]:
    """The blind audit's samples of what was decided alone, drawn in the period."""
    drawn = sa.and_(samples.c.alone, samples.c.drawn_at >= period.start, samples.c.drawn_at < period.end)
    wrong = sa.case((samples.c.answer != samples.c.label, 1), else_=0)
    statement = sa.select(samples.c.share, sa.func.count(), sa.func.count(samples.c.answer), sa.func.sum(wrong)).where(drawn)
    found = connection.execute(statement.group_by(samples.c.share).order_by(samples.c.share)).all()
    return [Stratum(share, drawn, answered, int(wrong)) for share, drawn, answered, wrong in found]


def _authors(connection: Connection, written: sa.ColumnElement[bool], period: Period) -> tuple[tuple[int, int], tuple[int, int]]:
    """New authors and returning ones, and how many posts each of both groups wrote: new is who wrote nothing before the period."""
    writers = sa.select(mentions.c.author, sa.func.count().label("posts")).where(written).group_by(mentions.c.author).subquery()
    # Whatever has a lower id than all that was written since is earlier, which the index of authors tells by itself; of the others few
    # are, as those that a backfill brought. No EXISTS: PostgreSQL would turn it into a join with the whole table.
    since = _once(sa.select(mentions.c.id).where(mentions.c.created_at >= period.start))
    lowest = connection.scalar(sa.select(sa.func.min(since.c.id))) or 0
    earlier = mentions.alias("earlier")
    before = sa.select(earlier.c.id).where(earlier.c.author == writers.c.author, earlier.c.id < lowest).order_by(earlier.c.id).limit(1)
    # By itself, and with an end, else they take another index or none.
    later = _once(sa.select(mentions.c.author, mentions.c.created_at).where(mentions.c.id.between(lowest, 2**62)))
    late = _once(sa.select(later.c.author).where(later.c.created_at < period.start).distinct())
    known = sa.or_(before.scalar_subquery().is_not(None), writers.c.author.in_(sa.select(late.c.author)))
    each = _once(sa.select(known.label("known"), writers.c.posts))
    counted = sa.select(each.c.known, sa.func.count(), sa.func.sum(each.c.posts)).group_by(each.c.known)
    found = {bool(known): (int(count), int(posts)) for known, count, posts in connection.execute(counted)}
    return found.get(False, (0, 0)), found.get(True, (0, 0))


def _once(statement: sa.Select[Any]) -> sa.CTE:
    """The same as a table that is made once: SQLite would ask a subquery again wherever its column is named."""
    return statement.cte().prefix_with("MATERIALIZED")


class Day(sa.sql.functions.GenericFunction[str]):
    """The day of a time in UTC, as `2026-05-01`."""

    inherit_cache = True
    type = sa.Text()


class Seconds(sa.sql.functions.GenericFunction[int]):
    """Whole seconds from the second time to the first."""

    inherit_cache = True
    type = sa.Integer()


@compiles(Day, "sqlite")
def _day_sqlite(element: Any, compiler: Any, **how: Any) -> str:
    return f"substr({compiler.process(element.clauses, **how)}, 1, 10)"


@compiles(Day, "postgresql")
def _day_postgresql(element: Any, compiler: Any, **how: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **how)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


@compiles(Seconds, "sqlite")
def _seconds_sqlite(element: Any, compiler: Any, **how: Any) -> str:
    later, earlier = (compiler.process(one, **how) for one in element.clauses)
    return f"CAST(round((julianday({later}) - julianday({earlier})) * 86400) AS INTEGER)"


@compiles(Seconds, "postgresql")
def _seconds_postgresql(element: Any, compiler: Any, **how: Any) -> str:
    later, earlier = (compiler.process(one, **how) for one in element.clauses)
    return f"CAST(round(extract(epoch FROM {later} - {earlier})) AS BIGINT)"


def periods(today: date) -> Iterator[tuple[str, Period]]:
    """The usual ones, with their names, ending today."""
    for days in (7, 30, 90):
        yield f"{days} days", Period(today - timedelta(days=days - 1), today)
