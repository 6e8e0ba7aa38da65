"""The insights: a period as tables and small plots. The tables are made once; the page shows them and the CSV holds the same cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import Response

from triage import trust
from triage.app import App
from triage.errors import UserError
from triage.person import Person, Role
from triage.store.insights import Alone, Period, Report, Spread, periods
from triage.web.access import Denied, Parts, Routes, Who
from triage.web.render import LABELS, label, render

routes = Routes()

LONGEST = 366  # days
USUAL = 30
CONFIDENCE = 0.95
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula
HEIGHT = 48  # of a plot, in its own units; a day is 10 wide


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as people read them. `shares` are the lengths of bars beside the rows, from 0 to 1; `note` says what is counted."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars of one label, a day each, on the scale that all plots share: `bars` hold x, y, height and what the day was."""

    label: str | None
    total: int
    most: int
    width: int
    bars: tuple[tuple[int, int, int, str], ...]


@routes.get("/insights", Role.VIEWER)
def show(
    request: Request,
    app: Parts,
    who: Who,
    days: str = "",
    first: Annotated[str, Query(alias="from")] = "",
    last: Annotated[str, Query(alias="to")] = "",
) -> Response:
    """The page."""
    period = asked(app, days, first, last)
    report = app.store.insights.report(period, app.clock.now())
    usual = [(name, one, one == period) for name, one in periods(app.clock.now().date())]
    tables = tables_of(report, who)
    plots = plots_of(report)
    return render(request, "insights.html", period=period, usual=usual, tables=tables, plots=plots, at=report.at, height=HEIGHT)


@routes.get("/insights.csv", Role.VIEWER)
def download(
    app: Parts,
    who: Who,
    table: str,
    days: str = "",
    first: Annotated[str, Query(alias="from")] = "",
    last: Annotated[str, Query(alias="to")] = "",
) -> Response:
    """One table of the page, the same cells; what a spreadsheet would run begins with an apostrophe."""
    if table == "people" and not sees_people(who):
        raise Denied(403, f"this needs the role {Role.APPROVER}; yours is {who.role}. An admin can change it")
    period = asked(app, days, first, last)
    tables = {one.name: one for one in tables_of(app.store.insights.report(period, app.clock.now()), who)}
    if table not in tables:
        raise UserError(f"there is no table {table!r}; known: {', '.join(tables)}")
    name = f"triage-{table}-{period.first}-{period.last}.csv"
    return Response(
        csv_of(tables[table]), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def asked(app: App, days: str, first: str, last: str) -> Period:
    """The period that the address names: so many days up to today, or from a day to a day. `UserError` for what is none."""
    today = app.clock.now().date()
    if not first and not last:
        number = days or str(USUAL)
        if not (number.isascii() and number.isdecimal()) or not 1 <= int(number[:6]) <= LONGEST:
            raise UserError(f"days must be a number from 1 to {LONGEST}, such as 30")
        return Period(date.fromordinal(today.toordinal() - int(number) + 1), today)
    end = _day("to", last) if last else today
    start = _day("from", first) if first else date.fromordinal(max(end.toordinal() - USUAL + 1, 1))
    if start > end:
        raise UserError(f"the period ends ({end}) before it begins ({start}); change `from` or `to`")
    if (end - start).days >= LONGEST:
        raise UserError(f"from {start} to {end} are more than {LONGEST} days; take a shorter period")
    return Period(start, end)


def _day(name: str, text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise UserError(f"`{name}` is no day; write it as 2026-05-01") from None
    if not 2000 <= found.year <= 9000:
        raise UserError(f"`{name}` is no day that posts have; write it as 2026-05-01")
    return found


def sees_people(who: Person) -> bool:
    """Answers by person are for those who share out the work: this is no leaderboard."""
    return who.role.may(Role.APPROVER)


def csv_of(table: Table) -> str:
    """A table as CSV (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in (table.head, *table.rows):
        writer.writerow([f"'{cell}" if cell.startswith(DANGEROUS) else cell for cell in row])
    return text.getvalue()


# What is shown


def tables_of(report: Report, who: Person) -> list[Table]:
    """Every table that this person may see."""
    made = [
        Table(
            "times",
            "Answer and resolution times",
            ("what", "by", "posts", "half within", "nine in ten within"),
            (
                *(_times("first response", person, report.responses[person]) for person in (True, False)),
                *(_times("resolution", person, report.resolutions[person]) for person in (True, False)),
            ),
            "Hours, minutes and seconds since the post was written; nights and weekends count. Resolved is when nothing was left to do.",
        ),
        Table(
            "answered",
            "Reporters who got an answer",
            ("reporters", "got an answer", "share"),
            ((str(report.reporters), str(report.answered), _share(report.answered, report.reporters)),),
            "A reporter is an author of at least one bug report or question in the period.",
        ),
        Table(
            "authors",
            "Authors",
            ("authors", "how many", "posts"),
            (("new", *map(str, report.new_authors)), ("returning", *map(str, report.returning_authors))),
            "New is who had written nothing before the period.",
        ),
        Table(
            "alone",
            "Decided alone",
            ("label", "decided alone", "of all judged", "corrected by people", "share", "at least", "at most"),
            tuple(_alone(label(one.label), one, report.judged) for one in [*report.alone, _sum(report.alone)]),
            "Alone: a machine acted, and nobody was asked to judge. Corrected: a person said another label later. "
            f"The interval is exact (Clopper and Pearson, {CONFIDENCE:.0%}); nobody looked at every post, so the audit below tells more.",
        ),
        _audit(report),
        _counted("sources", "Sources", "source", list(report.sources.items())),
        _counted("languages", "Languages", "language", [(name or "not told", count) for name, count in report.languages.items()]),
    ]
    if sees_people(who):
        made.append(_counted("people", "Answers by person", "person", list(report.people.items()), "answers"))
    return [*made, _volume(report)]


def plots_of(report: Report) -> list[Plot]:
    """A plot for each label that occurs, and one for all, on one scale."""
    days = report.period.days
    known = _labels(report)
    by_day = {day: sum(report.volume.get((day, name), 0) for name in known) for day in days}
    series: list[tuple[str | None, list[int]]] = [("all", [by_day[day] for day in days])]
    series += [(name, [report.volume.get((day, name), 0) for day in days]) for name in known]
    top = max(1, *by_day.values())
    return [
        Plot(
            name,
            sum(counts),
            max(counts),
            10 * len(days),
            tuple(
                (10 * at + 1, HEIGHT - tall, tall, f"{day}: {count}")
                for at, (day, count) in enumerate(zip(days, counts, strict=True))
                if (tall := -(-HEIGHT * count // top))
            ),
        )
        for name, counts in series
    ]


def _labels(report: Report) -> list[str | None]:
    occurring = {name for _, name in report.volume}
    return [*LABELS, *sorted(name for name in occurring if name and name not in LABELS), *([None] if None in occurring else [])]


def _volume(report: Report) -> Table:
    known = _labels(report)
    days = [[report.volume.get((day, name), 0) for name in known] for day in report.period.days]
    rows = [(str(day), *map(str, counts), str(sum(counts))) for day, counts in zip(report.period.days, days, strict=True)]
    totals = [sum(column) for column in zip(*days, strict=True)]
    rows.append(("all", *map(str, totals), str(sum(totals))))
    return Table("volume", "Posts by day and label", ("day", *map(label, known), "all"), tuple(rows), "Days in UTC, by the newest label.")


def _counted(name: str, title: str, head: str, counts: Sequence[tuple[str, int]], what: str = "posts") -> Table:
    total = sum(count for _, count in counts)
    rows = tuple((key, str(count), _share(count, total)) for key, count in counts)
    return Table(name, title, (head, what, "share"), rows, "", tuple(count / total for _, count in counts))


def _times(what: str, person: bool, spread: Spread) -> tuple[str, ...]:
    return (what, "people" if person else "automation", str(spread.count), clock(spread.median), clock(spread.most))


def _alone(name: str, one: Alone, judged: int) -> tuple[str, ...]:
    tail = (1 + CONFIDENCE) / 2
    low = trust.lower(one.corrected, one.decided, tail) if one.decided else None
    high = trust.upper(one.corrected, one.decided, tail) if one.decided else None
    shares = (_share(one.corrected, one.decided), _percent(low), _percent(high))
    return (name, str(one.decided), _share(one.decided, judged), str(one.corrected), *shares)


def _sum(alone: Sequence[Alone]) -> Alone:
    return Alone("all", sum(one.decided for one in alone), sum(one.corrected for one in alone))


def _audit(report: Report) -> Table:
    rate = trust.rate(report.audits, CONFIDENCE)
    known = rate.rate is not None
    cells = (
        str(sum(one.drawn for one in report.audits)),
        str(sum(one.answered for one in report.audits)),
        str(sum(one.wrong for one in report.audits)),
        _percent(rate.rate),
        _percent(rate.low if known else None),
        _percent(rate.high if known else None),
    )
    note = f"Verdicts drawn by lot from what was decided alone, and judged by people who did not see them ({CONFIDENCE:.0%} interval)."
    return Table("audit", "The blind audit of it", ("drawn", "answered", "wrong", "error rate", "at least", "at most"), (cells,), note)


def clock(seconds: float | None) -> str:
    """A time as hours, minutes and seconds, which spreadsheets read: `74:30:00`."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _share(part: int, whole: int) -> str:
    return _percent(part / whole if whole else None)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
