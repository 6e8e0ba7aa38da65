"""A period in numbers, against an example worked out by hand; the page, and that its CSV holds the same cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from tests.service import Service, service
from triage.person import Person, Role
from triage.store.insights import Alone, Period, Report, Spread
from triage.store.schema import actions, items, mentions, samples, verdicts
from triage.trust import Stratum, lower, upper
from triage.web import create
from triage.web.insights import Table, clock, csv_of, plots_of, tables_of

ORIGIN = "http://127.0.0.1:8321"
FRIDAY = datetime(2026, 5, 1, 16, tzinfo=UTC)
WEEK = Period(date(2026, 4, 27), date(2026, 5, 3))
NOW = datetime(2026, 5, 12, 9, tzinfo=UTC)


def at(day: int, hour: int = 12, minute: int = 0, second: int = 0) -> datetime:
    """A moment of May 2026, whose first day is a Friday."""
    return datetime(2026, 5, day, hour, minute, second, tzinfo=UTC)


class Example:
    """Writes what happened into a store, row by row."""

    def __init__(self, app: Service) -> None:
        self.app = app
        self._actions = 0

    def add(self, table: sa.Table, **values: Any) -> int:
        with self.app.store.database.write() as connection:
            key = next(iter(table.primary_key.columns))
            return int(connection.execute(sa.insert(table).values(values).returning(key)).scalar_one())

    def post(
        self, number: int, author: str, created: datetime, *, source: str = "acme", language: str | None = "en", platform: str = "memory"
    ) -> int:
        return self.add(
            mentions,
            id=number,
            uri=f"https://x.example/{number}",
            platform=platform,
            source=source,
            remote_id=str(number),
            author=author,
            visibility="public",
            language=language,
            text="…",
            data={},
            created_at=created,
            stored_at=created,
            read_at=created,
        )

    def said(self, post: int, label: str, when: datetime, *, by: str = "") -> int:
        who = {"by": by or "default 2026-10-01", "by_person": bool(by)}
        return self.add(verdicts, mention_id=post, revision=1, label=label, confidence=0.9, sure=True, data={}, at=when, **who)

    def action(self, post: int, kind: str, via: str, created: datetime, closed: datetime | None, *, state: str = "", **payload: Any) -> int:
        self._actions += 1
        return self.add(
            actions,
            key=f"k{self._actions}",
            kind=kind,
            via=via,
            state=state or ("done" if closed else "planned"),
            mention_id=post,
            reason="",
            rule="",
            payload=payload,
            created_at=created,
            closed_at=closed,
        )


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Iterator[Service]:
    """On each database."""
    made = service(tmp_path, store_url, started=False)
    yield made
    made.close()


@pytest.fixture
def example(app: Service) -> Example:
    """One week: Monday 27 April to Sunday 3 May.

    1  mira, a bug, Friday 16:00. Filed alone at 16:00:10. ana answers in two posts on Monday 4 May at 09:30:00, 65 h 30 min later.
    2  noor, a question, Saturday 12:00. The machine answers at 12:00:30, and nothing else is to be done.
    3  mira, noise by the machine, archived alone at once on Sunday; ben says on Monday that it is praise. That is a correction.
    4  kim, noise, archived alone on Sunday; ana says the same: no correction.
    5  lee, a question, Sunday. A person is asked to judge it, and it is still open.
    6  noor, praise, Sunday, in German; a colleague answered by herself an hour later.
    7  could not be read, Sunday: no post of anybody's.
    8  mira, in March, and 9 kim, in the second after the week: not in it.
    """
    made = Example(app)
    made.post(8, "mira", datetime(2026, 3, 1, tzinfo=UTC))
    made.post(1, "mira", FRIDAY)
    made.said(1, "bug_report", FRIDAY + timedelta(seconds=5))
    made.action(1, "ticket", "tickets", FRIDAY + timedelta(seconds=5), FRIDAY + timedelta(seconds=10))
    task = made.action(1, "task", "human", FRIDAY + timedelta(seconds=5), at(4, 9, 30), what="answer")
    for second in (0, 4):
        made.action(1, "reply", "acme", at(4, 9, 29), at(4, 9, 30, second), by="ana", by_person=True, task_id=task)
    made.post(2, "noor", at(2))
    made.said(2, "support_question", at(2, second=3))
    made.action(2, "reply", "acme", at(2, second=3), at(2, second=30), text="Press Sync.")
    made.post(3, "mira", at(3))
    made.said(3, "noise", at(3, second=2))
    made.action(3, "archive", "archive", at(3, second=2), at(3, second=2))
    made.said(3, "praise", at(4, 10), by="ben")
    made.action(3, "archive", "archive", at(4, 10), at(4, 10))
    made.post(4, "kim", at(3, 13), language=None)
    made.said(4, "noise", at(3, 13, 0, 2))
    made.action(4, "archive", "archive", at(3, 13, 0, 2), at(3, 13, 0, 2))
    made.said(4, "noise", at(4, 11), by="ana")
    made.post(5, "lee", at(3, 14), source="help")
    made.said(5, "support_question", at(3, 14))
    made.action(5, "task", "human", at(3, 14), None, what="judge")
    made.post(6, "noor", at(3, 23), language="de")
    made.said(6, "praise", at(3, 23))
    made.add(items, mention_id=6, answered_by="ben", answered_at=at(4, 0))
    made.post(7, "", at(3, 15), platform="")
    made.post(9, "kim", at(4, 0))
    return made


def test_a_week_worked_out_by_hand(example: Example) -> None:
    """Every figure."""
    found = example.app.store.insights.report(WEEK, NOW)
    assert found.volume == {
        (date(2026, 5, 1), "bug_report"): 1,
        (date(2026, 5, 2), "support_question"): 1,
        (date(2026, 5, 3), "praise"): 2,
        (date(2026, 5, 3), "noise"): 1,
        (date(2026, 5, 3), "support_question"): 1,
    }
    assert found.sources == {"acme": 5, "help": 1}
    assert found.languages == {"en": 4, "de": 1, None: 1}
    weekend = 65.5 * 3600
    assert found.responses == {True: Spread(2, 3600.0, weekend), False: Spread(1, 30.0, 30.0)}
    # 1 by people after the weekend's last post; 2 and 4 by the machine, and 3, whose second archive came with the correction.
    assert found.resolutions == {True: Spread(1, weekend + 4, weekend + 4), False: Spread(3, 30.0, 22 * 3600.0)}
    assert (found.reporters, found.answered) == (3, 2)
    assert found.people == {"ana": 1, "ben": 1}
    assert found.judged == 6
    assert sorted(found.alone, key=lambda one: one.label) == [Alone("bug_report", 1, 0), Alone("noise", 2, 1)]
    assert (found.new_authors, found.returning_authors) == ((3, 4), (1, 2))


def test_the_blind_audit_of_the_period(example: Example) -> None:
    """Samples of what was decided alone, by the chance with which they were drawn."""
    for number, (alone, answer, drawn) in enumerate(
        [(True, "noise", 3), (True, "praise", 3), (True, None, 3), (False, "noise", 3), (True, "noise", 9)]
    ):
        verdict = example.said(4, "noise", at(3, 13, 1))
        example.add(
            samples,
            mention_id=4,
            verdict_id=verdict,
            rule=f"r{number}",
            label="noise",
            model="m",
            alone=alone,
            share=0.1,
            drawn_at=at(drawn),
            answer=answer,
        )
    assert example.app.store.insights.report(WEEK, NOW).audits == [Stratum(0.1, 3, 2, 1)]


def test_a_report_is_kept_for_five_minutes(example: Example) -> None:
    """So the page and its CSV tell the same; then it is counted anew."""
    insights = example.app.store.insights
    before = insights.report(WEEK, NOW)
    example.post(20, "late", at(1))
    assert insights.report(WEEK, NOW + timedelta(minutes=4)) is before
    assert sum(insights.report(WEEK, NOW + timedelta(minutes=5)).volume.values()) == 7


def test_an_empty_period_is_told_as_one(app: Service) -> None:
    """Nothing is divided by nothing."""
    found = app.store.insights.report(WEEK, NOW)
    tables = {table.name: table for table in tables_of(found, Person(1, "ana", Role.ADMIN))}
    assert tables["answered"].rows == (("0", "0", "–"),)
    assert tables["alone"].rows == (("all", "0", "–", "0", "–", "–", "–"),)
    assert tables["sources"].rows == ()
    assert {plot.total for plot in plots_of(found)} == {0}


@pytest.mark.parametrize(
    ("times", "spread"),
    [
        ([], Spread(0, None, None)),
        ([7], Spread(1, 7.0, 7.0)),
        ([1, 2], Spread(2, 1.0, 2.0)),
        (list(range(1, 11)), Spread(10, 5.0, 9.0)),
        ([5] * 9 + [100], Spread(10, 5.0, 5.0)),
        ([5] * 8 + [99, 100], Spread(10, 5.0, 99.0)),
    ],
)
def test_half_within_and_nine_in_ten_within(times: list[int], spread: Spread) -> None:
    """The nearest rank: a time that occurred."""
    from collections import Counter

    assert Spread.of(Counter(times)) == spread


def test_the_interval_is_the_exact_one() -> None:
    """One correction of ten: 0.25 % to 44.5 %, as in the tables of Clopper and Pearson."""
    report = Report(WEEK, NOW, responses={True: Spread(0, None, None), False: Spread(0, None, None)}, judged=20)
    report.resolutions.update(report.responses)
    report.alone.append(Alone("noise", 10, 1))
    alone = next(table for table in tables_of(report, Person(1, "v", Role.VIEWER)) if table.name == "alone")
    assert alone.rows[0] == ("noise", "10", "50.0%", "1", "10.0%", "0.3%", "44.5%")
    assert (round(lower(1, 10, 0.975), 4), round(upper(1, 10, 0.975), 4)) == (0.0025, 0.445)


def test_times_are_written_as_spreadsheets_read_them() -> None:
    """More than a day stays hours."""
    assert [clock(one) for one in (None, 0, 59.6, 235_800)] == ["–", "0:00:00", "0:01:00", "65:30:00"]


def test_cells_that_a_spreadsheet_would_run_are_made_text() -> None:
    """By an apostrophe, as OWASP's page on CSV injection says; commas, quotes and line breaks by RFC 4180."""
    cells = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", 'a "quoted", cell\nof two lines', "fine")
    read = next(iter(csv.reader(io.StringIO(csv_of(Table("t", "T", cells, (), "")), newline=""))))
    assert read == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", 'a "quoted", cell\nof two lines', "fine"]


# The page


def browser(app: Service, role: Role) -> TestClient:
    now = app.clock.now()
    person = app.store.people.come(app.store.people.invite(role, "triage", now), str(role), str(role), "", now)
    made = TestClient(create(app), base_url=ORIGIN, follow_redirects=False)
    made.cookies.set("triage", app.store.sessions.start(person, now, address="", agent=""))
    return made


def cells(page: str, table: str) -> list[list[str]]:
    """The cells of a table of the page; the bars are no cells."""
    found = re.search(rf'<table id="{table}">(.*?)</table>', page, re.DOTALL)
    assert found is not None
    rows = re.findall(r"<tr>(.*?)</tr>", found[1], re.DOTALL)
    return [[unescape(cell) for cell in re.findall(r"<t[hd](?! class=\"bar\")[^>]*>([^<]*)</t[hd]>", row)] for row in rows]


def test_every_cell_of_every_csv_stands_on_the_page(example: Example) -> None:
    """Also where a name begins like a formula, but for the apostrophe."""
    example.post(30, "evil", at(2), language='=HYPERLINK("x")', source="<b>-1</b>")
    client = browser(example.app, Role.APPROVER)
    where = "from=2026-04-27&to=2026-05-03"
    page = client.get(f"/insights?{where}").text
    known = re.findall(r'<table id="(\w+)">', page)
    assert known == ["times", "answered", "authors", "alone", "audit", "sources", "languages", "people", "volume"]
    for table in known:
        answer = client.get(f"/insights.csv?table={table}&{where}")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert f'filename="triage-{table}-2026-04-27-2026-05-03.csv"' in answer.headers["content-disposition"]
        read = list(csv.reader(io.StringIO(answer.text, newline="")))
        assert [[cell.removeprefix("'") for cell in row] for row in read] == cells(page, table)
        assert len(read) > 1
        assert not [cell for row in read for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert "'=HYPERLINK" in client.get(f"/insights.csv?table=languages&{where}").text
    assert "<b>-1</b>" not in page
    assert "style=" not in page


def test_answers_by_person_are_for_those_who_share_out_the_work(example: Example) -> None:
    """Neither on the page nor as CSV for others."""
    client = browser(example.app, Role.TRIAGER)
    assert 'id="people"' not in client.get("/insights?from=2026-04-27&to=2026-05-03").text
    assert client.get("/insights.csv?table=people&from=2026-04-27&to=2026-05-03").status_code == 403


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("days=0", "days must be a number"),
        ("days=many", "days must be a number"),
        ("days=99999999999999999999", "days must be a number"),
        ("days=٣", "days must be"),
        ("from=yesterday", "`from` is no day"),
        ("to=2026-13-01", "`to` is no day"),
        ("from=0001-01-01&to=0001-01-02", "no day that posts have"),
        ("from=2026-05-02&to=2026-05-01", "before it begins"),
        ("from=2020-01-01&to=2026-01-01", "more than 366 days"),
    ],
)
def test_what_is_no_period_is_said(tmp_path: Path, query: str, said: str) -> None:
    """With what to write in its place."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", started=False)
    answer = browser(made, Role.VIEWER).get(f"/insights?{query}")
    assert answer.status_code == 409
    assert said in unescape(answer.text)
    made.close()


def test_the_usual_periods_and_an_unknown_table(tmp_path: Path) -> None:
    """The page stands for 7, 30 and 90 days without a post; a table that is none is named."""
    made = service(tmp_path, f"sqlite:///{tmp_path}/triage.db", started=False)
    client = browser(made, Role.VIEWER)
    for days in ("7", "30", "90"):
        page = client.get(f"/insights?days={days}").text
        assert f'aria-current="true">{days} days</a>' in page
    assert client.get("/insights").status_code == 200
    answer = client.get("/insights.csv?table=secrets")
    assert (answer.status_code, "there is no table" in answer.text) == (409, True)
    made.close()
