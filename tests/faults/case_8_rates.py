"""A server that has enough of us, or refuses our token, is left alone; afterwards everything is done, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from tests.acceptance.rig import Rig
from tests.faults.case import Case, Ground
from tests.faults.inside import Inside, inside, settle
from triage.pipeline import intake, judge
from triage.sandbox.http import Server

STEP_SECONDS = 30
HOUR = 3600 // STEP_SECONDS
POSTS = 12
STORMS = {"0": 0, "1": 0, "120": 120, "86400": 3600, "date": 120, "junk": 0}  # what Retry-After says, and the wait that it must make


class Said(logging.Handler):
    """Keeps what was logged as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(str(record.msg))


@contextmanager
def said() -> Iterator[Said]:
    """What the service logs within the block."""
    handler = Said()
    logging.getLogger().addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger().removeHandler(handler)


def work_waits(rig: Rig, app: Inside) -> None:
    """Posts are stored and judged, and a ticket is planned for each."""
    for number in range(POSTS):
        rig.mastodon.post(f"author{number}@else.example", f"Thing {number} is broken")
    app.clock.ahead += timedelta(seconds=2)
    intake.poll(app, app.sources)
    judge.process(app)
    app.clock.ahead += intake.RESCAN_BACK / 1000  # long enough that each post would be read again before its ticket is filed


def bear(rig: Rig, app: Inside, servers: tuple[Server, ...], kind: str, steps: int) -> dict[str, int]:
    """Work for so many steps while these servers answer with `kind`; how many calls each got that failed."""
    before = {server.name: len(server.requests) for server in servers}
    for server in servers:
        server.faults.add(kind=kind, path="/(api|rest)/", times=None)
    for _ in range(steps):
        app.pass_(seconds=STEP_SECONDS)
    for server in servers:
        server.faults.clear()
    return {server.name: sum(1 for one in server.requests[before[server.name] :] if one["fault"]) for server in servers}


def filed(rig: Rig, app: Inside, count: int) -> None:
    """Work on, past the longest rest, until all tickets are there; then every promise must be kept."""
    for _ in range(80):
        if len(rig.jira.tickets) >= count:
            break
        app.pass_(seconds=60)
    settle(rig, app, passes=70, seconds=60)
    assert len(rig.jira.tickets) == count


def storm(value: str) -> Callable[[Ground], None]:
    """429 with this Retry-After, from all sides."""

    def run(ground: Ground) -> None:
        with ground.rig() as rig, inside(rig) as app:
            work_waits(rig, app)
            rests = max(STORMS[value], STEP_SECONDS)
            steps = HOUR if STORMS[value] else 20
            failed = bear(rig, app, (rig.mastodon, rig.jira), f"429:{value}", steps)
            ground.notes["failed calls"] += sum(failed.values())
            most = 2 * (steps * STEP_SECONDS // rests) + 2  # two, since a poll and a delivery may be under way when the first is refused
            assert all(0 < count <= most for count in failed.values()), f"Retry-After: {value}: {failed} failed calls, {most} are enough"
            rig.mastodon.post("late@else.example", "One more is broken")
            filed(rig, app, POSTS + 1)

    return run


def revoked(ground: Ground) -> None:
    """Both tokens are refused for an hour: a failed call a pause step, one line and one alert an account, and it goes on by itself."""
    with ground.rig() as rig, inside(rig) as app, said() as log:
        work_waits(rig, app)
        failed = bear(rig, app, (rig.mastodon, rig.jira), "401", HOUR)
        ground.notes["failed calls"] += sum(failed.values())
        assert all(0 < count <= 4 for count in failed.values()), f"{failed} failed calls within an hour"
        told = [alert for alert in rig.receiver.alerts if alert["labels"]["alertname"] == "AccountPaused"]
        assert len(told) == 2, f"{len(told)} alerts"
        lines = [line for line in log.lines if "paused" in line]
        assert len(lines) <= 2, lines
        filed(rig, app, POSTS)


def renewed(ground: Ground) -> None:
    """A token that is renewed needs no hour: a restart forgets the pause, and does everything that waited."""
    with ground.rig() as rig:
        with inside(rig) as app:
            work_waits(rig, app)
            bear(rig, app, (rig.mastodon, rig.jira), "401", 40)
        seen = rig.seen_before
        with inside(rig) as app:
            rig.seen_before = seen
            settle(rig, app, passes=5)
            assert len(rig.jira.tickets) == POSTS
        ground.notes["restarts"] += 1


def _one(value: str) -> tuple[str, ...]:
    """Each form on one database in the short run, in turn."""
    return ("sqlite", "postgresql")[list(STORMS).index(value) % 2 :][:1]


CASES = (
    *(
        Case(f"rate-429-{value}", 8, f"429 from all sides, `Retry-After: {value}`", storm(value), long=5, short_stores=_one(value))
        for value in STORMS
    ),
    Case("rate-401", 8, "Both tokens refused for an hour: a failed call a pause step", revoked, long=5),
    Case("rate-401-renewed", 8, "Both tokens renewed: a restart goes on at once", renewed, long=5),
)
