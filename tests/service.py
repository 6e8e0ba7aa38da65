"""The service with in-memory far sides, a clock that a test moves, and verdicts that a test dictates by the post's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.stores import furnish
from triage import config as configuration
from triage import tasks
from triage.app import App
from triage.errors import OutcomeUnknown, RemoteError
from triage.mention import Label, Mention, Receipt, Ticket, Verdict, Work
from triage.notifiers.memory import Memory as MemoryNotifier
from triage.pipeline import sweep
from triage.platforms.memory import MemoryPlatform
from triage.store import Store, health
from triage.trackers.memory import Memory
from triage.trackers.memory import Options as MemoryOptions

CONFIG = """
mode: {mode}
state: {folder}
store: "{store}"
sources:
  acme: {{platform: memory, every: 10s{source}}}
trackers:
  tickets: {{tracker: memory}}
notifiers:
  oncall: {{notifier: memory}}
"""

WORDS = {"broken": Label.BUG_REPORT, "how": Label.SUPPORT_QUESTION, "love": Label.PRAISE, "hello": Label.NOISE}


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        return self.moment

    def move(self, **by: float) -> None:
        self.moment += timedelta(**by)


def judge(mention: Mention) -> Verdict:
    """The label that the post's words name; not sure where it says maybe."""
    text = mention.text.lower()
    label = next((label for word, label in WORDS.items() if word in text), Label.NOISE)
    sure = "maybe" not in text
    confidence = 0.95 if sure else 0.4
    rest = (1 - confidence) / 3
    signals = frozenset({"data_loss"} if "all my data" in text else {"anger"} if "furious" in text else ())
    return Verdict(label, confidence, {str(x): confidence if x is label else rest for x in Label}, sure, "test", signals=signals)


class FaultyTracker(Memory):
    """The tracker in memory, that can be told to fail; it shows all changes, since its clock is not the test's."""

    def __init__(self, name: str, options: MemoryOptions) -> None:
        super().__init__(name, options)
        self._failures: dict[str, list[tuple[RemoteError, bool]]] = {}
        self._late: list[tuple[HandClock, float]] = []
        self._coming: list[tuple[datetime, HandClock, Callable[[], Receipt]]] = []

    def late(self, clock: HandClock, seconds: float) -> None:
        """The next ticket's connection breaks, and the far side makes it so many seconds later."""
        self._late.append((clock, seconds))

    def find(self, work: Work) -> Sequence[Receipt]:
        self._commit_late()
        return super().find(work)

    def _commit_late(self) -> None:
        for moment, clock, call in list(self._coming):
            if clock.now() >= moment:
                self._coming.remove((moment, clock, call))
                call()

    def fail(self, method: str, error: RemoteError, *, times: int = 1, after: bool = False) -> None:
        """The next calls of `method` raise `error`; with `after` they are carried out all the same."""
        self._failures.setdefault(method, []).extend([(error, after)] * times)

    def heal(self) -> None:
        """No more failures."""
        self._failures.clear()

    def double(self, key: str) -> None:
        """The far side carries out the request of a ticket a second time."""
        first = next(kept for kept in self.tickets if kept.key == key)
        number = len(self.tickets) + 1
        self.tickets.append(replace(first, id=str(20000 + number), key=f"MEM-{number}"))

    def file(self, work: Work) -> Receipt:
        self._commit_late()
        if self._late:
            clock, seconds = self._late.pop(0)
            self._coming.append((clock.now() + timedelta(seconds=seconds), clock, lambda: super(FaultyTracker, self).file(work)))
            raise OutcomeUnknown("cut")
        return self._carry_out("file", super().file, work)

    def update(self, work: Work) -> Receipt:
        return self._carry_out("update", super().update, work)

    def blank(self, work: Work) -> Receipt:
        return self._carry_out("blank", super().blank, work)

    def changed(self, since: datetime | None) -> Iterator[Ticket]:
        return super().changed(None)

    def _carry_out(self, method: str, call: Callable[[Work], Receipt], work: Work) -> Receipt:
        failures = self._failures.get(method)
        if not failures:
            return call(work)
        error, after = failures.pop(0)
        if after:
            call(work)
        raise error


class Service(App):
    """An `App` whose classifier is `judge`. `pass_` does everything that is due."""

    clock: HandClock

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        for mention in mentions:
            if "unjudgeable" in mention.text:
                raise ValueError("a text that the classifier can't take")
        return [judge(mention) for mention in mentions]

    def explain(self, mention: Mention, label: Label) -> tuple[str, ...]:
        return tuple(word for word in WORDS if word in mention.text)

    @property
    def acme(self) -> MemoryPlatform:
        platform = self.platform("acme")
        assert isinstance(platform, MemoryPlatform)
        return platform

    @property
    def tickets(self) -> FaultyTracker:
        tracker = self.tracker("tickets")
        assert isinstance(tracker, FaultyTracker)
        return tracker

    @property
    def oncall(self) -> MemoryNotifier:
        notifier = self.notifier("oncall")
        assert isinstance(notifier, MemoryNotifier)
        return notifier

    def pass_(self, **by: float) -> dict[str, int]:
        """Move the clock (11 s unless told otherwise, so that a poll is due) and do everything that is due."""
        self.clock.move(**(by or {"seconds": 11}))
        return dict(sweep.once(self))

    def actions(self, kind: str | None = None) -> list[dict[str, Any]]:
        """All actions, oldest first."""
        import sqlalchemy as sa

        from triage.store.schema import actions

        with self.store.database.read() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(actions).order_by(actions.c.id)).mappings()]
        return [row for row in rows if kind is None or row["kind"] == kind]

    def queue(self) -> list[dict[str, Any]]:
        return self.store.views.queue()


def service(
    folder: Path, store: str, *, mode: str = "act", source: str = "", rules: str = "", clock: HandClock | None = None, started: bool = True
) -> Service:
    """A service on the store at `store`; with `started` its first poll is made. No post is drawn for an audit unless `rules` say so."""
    text = CONFIG.format(mode=mode, folder=folder, store=store, source=source) + rules
    if "audit:" not in rules:
        text += "audit: {share: 0.0}\n"
    furnish(store)
    made = Service(configuration.parse(text, folder / "config.yaml", {}), clock=clock or HandClock())
    made._made["trackers", "tickets"] = FaultyTracker("tickets", MemoryOptions())
    tasks.know_sources(made)
    if started:
        sweep.once(made)
    return made


__all__ = ["HandClock", "Service", "Store", "health", "service"]
