"""The service within this process, on a rig's servers and database, with a clock that a case moves by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.acceptance.rig import Rig
from triage import config as configuration
from triage import tasks
from triage.app import App
from triage.pipeline import sweep


class MovedClock:
    """The machine's clock, moved on by hand. It never stands still: the servers of the sandbox use the machine's own."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        """The machine's time and what it was moved by."""
        return datetime.now(UTC) + self.ahead


class Inside(App):
    """An `App` whose `pass_` does everything that is due."""

    clock: MovedClock

    def pass_(self, **by: float) -> dict[str, int]:
        """Move the clock (a second unless told otherwise) and do everything that is due."""
        self.clock.ahead += timedelta(**(by or {"seconds": 1}))
        return dict(sweep.once(self))


@contextmanager
def inside(rig: Rig) -> Iterator[Inside]:
    """The service on this rig. Its first poll has been made."""
    config = configuration.parse(rig.config.read_text(), rig.config, rig.env)
    app = Inside(config, role="worker", clock=MovedClock())
    try:
        tasks.begin(app)
        app.pass_()
        rig.seen_before = len(rig.mastodon.ledger.entries())
        yield app
    finally:
        app.close()


def settle(rig: Rig, app: Inside, passes: int = 12, seconds: float = 5.0) -> None:
    """Work until every promise is kept."""
    found: list[str] = []
    for _ in range(passes):
        app.pass_(seconds=seconds)
        found = rig.checker().violations()
        if not found:
            return
    raise AssertionError("\n".join(found[:40]))
