"""When an answer is due: working time across nights, weekends, holidays and days on which the clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.configs import parse
from triage.errors import ConfigError
from triage.targets import Aim, Hours, Targets, after, targets, worked

BERLIN = Hours(frozenset(range(5)), time(9), time(17), "Europe/Berlin", frozenset({date(2026, 12, 25)}))
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"]

moments = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
hours_of = st.builds(
    Hours,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.sampled_from([time(0), time(2, 30), time(9)]),
    st.sampled_from([time(0), time(10), time(17, 30)]),
    st.sampled_from(ZONES),
    st.frozensets(st.dates(date(2011, 1, 1), date(2030, 1, 1)), max_size=3),
)
lengths = st.integers(1, 20 * 86400)


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-23T10:00", 2, "2026-11-23T12:00"),  # a Monday
        ("2026-11-23T16:00", 2, "2026-11-24T10:00"),  # over night
        ("2026-11-27T16:30", 1, "2026-11-30T09:30"),  # over the weekend
        ("2026-11-28T12:00", 8, "2026-11-30T17:00"),  # a Saturday; the whole of Monday
        ("2026-12-24T16:00", 2, "2026-12-28T10:00"),  # a holiday, then a weekend
        ("2026-11-23T06:00", 1, "2026-11-23T10:00"),  # before work begins
        ("2026-10-23T16:00", 2, "2026-10-26T10:00"),  # the clock is put back on Sunday
        ("2026-03-27T16:00", 2, "2026-03-30T10:00"),  # and on
    ],
)
def test_only_working_time_counts(start: str, hours: float, end: str) -> None:
    """Nights, weekends and holidays don't, and work begins at nine by the clock on the wall."""
    assert after(berlin(start), hours * 3600, BERLIN) == berlin(end)


def test_a_day_is_as_long_as_it_is() -> None:
    """Around the clock, the day on which the clock is put on has 23 hours."""
    sundays = Hours(frozenset({6}), zone="Europe/Berlin")
    assert after(berlin("2026-03-29T00:00"), 23 * 3600, sundays) == berlin("2026-03-30T00:00")
    assert after(berlin("2026-10-25T00:00"), 25 * 3600, sundays) == berlin("2026-10-26T00:00")


@given(moments, lengths, hours_of)
def test_exactly_so_much_was_worked_until_then(start: datetime, seconds: int, hours: Hours) -> None:
    """And a moment earlier it was less: the due time is within working time, and the first that will do."""
    end = after(start, seconds, hours)
    assert end is not None
    assert end > start
    assert worked(start, end, hours) == timedelta(seconds=seconds)
    assert worked(start, end - timedelta(seconds=1), hours) == timedelta(seconds=seconds - 1)


@given(moments, lengths, lengths, hours_of)
def test_more_time_is_due_later(start: datetime, first: int, more: int, hours: Hours) -> None:
    """Two pieces of work after one another take what both take together."""
    one = after(start, first, hours)
    assert one is not None
    assert after(one, more, hours) == after(start, first + more, hours)


def test_a_time_that_never_comes_is_none() -> None:
    """Ten years of a minute a week."""
    seldom = Hours(frozenset({0}), time(9), time(9, 1))
    assert after(datetime(2026, 1, 1, tzinfo=UTC), 30 * 86400, seldom) is None
    assert Targets((Aim(first_response=30 * 86400),), seldom).due(None, "acme", datetime(2026, 1, 1, tzinfo=UTC), answered=False) is None


def test_the_first_target_that_fits_counts() -> None:
    """By label and source; after the answer comes the end."""
    aims = (Aim(frozenset({"bug_report"}), frozenset({"acme"}), 3600, 86400), Aim(first_response=7200))
    made = Targets(aims)
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)
    bug = made.due("bug_report", "acme", start, answered=False)
    assert bug is not None
    assert (bug.at, bug.what) == (start + timedelta(hours=1), "first answer")
    assert [bug.is_soon(start + timedelta(minutes=minutes)) for minutes in (0, 29, 30, 59, 90)] == [False, False, True, True, True]
    assert [bug.is_over(start + timedelta(minutes=minutes)) for minutes in (59, 60)] == [False, True]
    end = made.due("bug_report", "acme", start, answered=True)
    assert end is not None
    assert (end.at, end.what, end.soon_from) == (start + timedelta(days=1), "resolution", start + timedelta(hours=18))
    other = made.due("praise", "other", start, answered=False)
    assert other is not None
    assert other.at == start + timedelta(hours=2)
    assert made.due("praise", "other", start, answered=True) is None
    assert Targets().due("praise", "other", start, answered=False) is None


CONFIG = """
sources: {acme: {platform: memory}}
targets:
  - {label: bug_report, first_response: 2h, resolution: 5d}
  - {label: [praise, noise], source: [acme, import], first_response: 90m}
hours: {days: [mon, tue], from: 9:00, to: 24:00, zone: Europe/Berlin, holidays: 2026-12-25}
"""


def test_the_config_makes_targets() -> None:
    """As they stand in the file."""
    assert targets(parse(CONFIG)) == Targets(
        (
            Aim(frozenset({"bug_report"}), frozenset(), 7200.0, 432_000.0),
            Aim(frozenset({"praise", "noise"}), frozenset({"acme", "import"}), 5400.0, None),
        ),
        Hours(frozenset({0, 1}), time(9), time(0), "Europe/Berlin", frozenset({date(2026, 12, 25)})),
    )
    assert targets(parse("mode: observe\n")).hours.always


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source: [acme, import]", "source: acne", r'targets\[1\]\.source.*"acne" is no source; did you mean "acme"'),
        ("label: bug_report, first_response: 2h, resolution: 5d", "label: bug_report", "names no time; write first_response"),
        ("from: 9:00", "from: 25:00", "hours.from: must be a time of day such as 09:00"),
        ("to: 24:00", "to: 8:00", "`to` must be later than `from`"),
        ("zone: Europe/Berlin", "zone: Mars", "is no time zone that this machine knows"),
        ("2026-12-25", "Christmas", "must be a day such as 2026-12-25"),
        ("[mon, tue]", "[moon]", '"moon" is not one of mon'),
        ("[mon, tue]", "[]", "hours.days"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(old: str, new: str, said: str) -> None:
    """With its place and the next step."""
    assert old in CONFIG
    with pytest.raises(ConfigError, match=said):
        parse(CONFIG.replace(old, new))
