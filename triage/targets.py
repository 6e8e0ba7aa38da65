"""When an answer is due: target times by label and source, counted in working time (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from triage.config import Config
from triage.mention import Label

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FURTHEST_DAYS = 3660  # a time that takes more working days than ten years is as good as never
SOON = timedelta(minutes=30)
SOON_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Hours:
    """When people work: on `days` (0 is Monday) from `begins` to `ends` in `zone`, but not on `holidays`. `ends` 0:00 is midnight."""

    days: frozenset[int] = frozenset(range(7))
    begins: time = time(0)
    ends: time = time(0)
    zone: str = "UTC"
    holidays: frozenset[date] = frozenset()

    @property
    def always(self) -> bool:
        """Whether all time counts."""
        return len(self.days) == 7 and self.begins == self.ends == time(0) and not self.holidays

    def of(self, day: date) -> tuple[datetime, datetime] | None:
        """The working time of a day in the zone, in UTC; None for a day off. A day on which the clock is put on is shorter."""
        return _of(self, day)


@lru_cache(maxsize=4096)
def _of(hours: Hours, day: date) -> tuple[datetime, datetime] | None:
    if day.weekday() not in hours.days or day in hours.holidays:
        return None
    zone = ZoneInfo(hours.zone)
    begins = datetime.combine(day, hours.begins, zone).astimezone(UTC)
    last = day + timedelta(days=1) if hours.ends == time(0) else day
    ends = datetime.combine(last, hours.ends, zone).astimezone(UTC)
    return (begins, ends) if ends > begins else None  # a time that the clock leaves out may turn them round


@dataclass(frozen=True, slots=True)
class Aim:
    """Target times for mentions with one of `labels` from one of `sources`; empty means any. Seconds of working time, or none."""

    labels: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    first_response: float | None = None
    resolution: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """By when something should have happened, what (an answer, or the end of it), and from when on it is said loudly."""

    at: datetime
    what: str
    soon_from: datetime

    def is_over(self, now: datetime) -> bool:
        """Whether the time has passed."""
        return now >= self.at

    def is_soon(self, now: datetime) -> bool:
        """Whether it is time to hurry, or past it."""
        return now >= self.soon_from


@dataclass(frozen=True, slots=True)
class Targets:
    """The config's target times. The first aim that fits a mention counts."""

    aims: Sequence[Aim] = ()
    hours: Hours = field(default_factory=Hours)

    def due(self, label: str | None, source: str, created: datetime, *, answered: bool) -> Due | None:
        """What a mention that is still open is due for next: its first answer, then its end; None without a target."""
        for aim in self.aims:
            if (not aim.labels or label in aim.labels) and (not aim.sources or source in aim.sources):
                if not answered and aim.first_response is not None:
                    return self._due(created, aim.first_response, "first answer")
                return None if aim.resolution is None else self._due(created, aim.resolution, "resolution")
        return None

    def _due(self, created: datetime, seconds: float, what: str) -> Due | None:
        at = after(created, seconds, self.hours)
        if at is None:
            return None
        early = max(SOON, timedelta(seconds=seconds * SOON_SHARE))
        quarter = after(created, seconds * (1 - SOON_SHARE), self.hours) or at - early
        return Due(at, what, max(created, min(quarter, at - SOON)))


def after(start: datetime, seconds: float, hours: Hours) -> datetime | None:
    """The moment by which so many seconds of working time have passed since `start`; None where that takes more than ten years."""
    if hours.always:
        return start + timedelta(seconds=seconds)
    left = timedelta(seconds=seconds)
    day = start.astimezone(ZoneInfo(hours.zone)).date() - timedelta(days=1)
    for _ in range(FURTHEST_DAYS):
        span = hours.of(day)
        day += timedelta(days=1)
        if span is None or span[1] <= start:
            continue
        begins = max(span[0], start)
        if span[1] - begins >= left:
            return begins + left
        left -= span[1] - begins
    return None


def worked(start: datetime, end: datetime, hours: Hours) -> timedelta:
    """How much working time lies between two moments."""
    if hours.always:
        return max(timedelta(0), end - start)
    total = timedelta(0)
    day = start.astimezone(ZoneInfo(hours.zone)).date() - timedelta(days=1)
    last = end.astimezone(ZoneInfo(hours.zone)).date()
    while day <= last:
        if (span := hours.of(day)) is not None:
            total += max(timedelta(0), min(span[1], end) - max(span[0], start))
        day += timedelta(days=1)
    return total


def targets(config: Config) -> Targets:
    """The config's."""
    aims = [
        Aim(
            frozenset(str(Label(label)) for label in target.label or ()),
            frozenset(target.source or ()),
            target.first_response,
            target.resolution,
        )
        for target in config.targets
    ]
    told = config.hours
    days = frozenset(WEEK.index(day) for day in told.days)
    return Targets(tuple(aims), Hours(days, told.begins, told.ends, told.zone, frozenset(told.holidays)))
