"""Ways to break the promise on purpose: the simulator has to notice each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tests.faults.sim.network import UNCLEAR
from tests.faults.sim.scheduler import Chaos
from tests.faults.sim.servers import SimTracker
from tests.faults.sim.world import Plan
from triage import delivery
from triage.contracts import Page
from triage.delivery import Move
from triage.errors import OutcomeUnknown, RemoteError
from triage.mention import ActionKind, Receipt, State, Work
from triage.pipeline import deliver
from triage.store.inbox import Added, Inbox
from triage.store.outbox import Outbox
from triage.store.owners import Owners
from triage.store.schema import actions


def no_attempt() -> AbstractContextManager[Any]:
    """`finish` without `AND attempt = ?`: an answer to an old attempt counts for the new one, whatever state that is in."""
    real = Outbox._finish

    def finish(self: Outbox, connection: Connection, work: Work, move: Move, now: datetime, looks: int | None) -> bool:
        number = connection.scalar(sa.select(actions.c.attempt).where(actions.c.id == work.action_id))
        return real(self, connection, dataclasses.replace(work, attempt=number or work.attempt), move, now, looks)

    return patch.object(Outbox, "_finish", finish)


def expired_lease() -> AbstractContextManager[Any]:
    """The owner's lock is not asked: whoever is slow is dead."""
    return patch.object(Owners, "is_alive", lambda self, owner: False)


def settle_from_intent() -> AbstractContextManager[Any]:
    """The settle clock starts when the call began, not when its outcome became unknown."""
    real = delivery.after_look

    def after_look(kind: ActionKind, found: Any, *, unknown_at: datetime, first_intent_at: datetime, **more: Any) -> Move:
        return real(kind, found, unknown_at=first_intent_at, first_intent_at=first_intent_at, **more)

    return patch.object(deliver, "after_look", after_look)


def no_look() -> AbstractContextManager[Any]:
    """What may have happened is simply tried again."""
    real = delivery.after_error

    def after_error(kind: ActionKind, attempt: int, error: RemoteError, now: datetime, pace: Any) -> Move:
        move = real(kind, attempt, error, now, pace)
        return dataclasses.replace(move, state=State.PLANNED) if move.state is State.DOUBT else move

    return patch.object(deliver, "after_error", after_error)


def repeating_client() -> AbstractContextManager[Any]:
    """A client with `max_retries`: it repeats a POST by itself when the connection breaks."""
    real = SimTracker.file

    def file(self: SimTracker, work: Work) -> Receipt:
        try:
            return real(self, work)
        except OutcomeUnknown:
            return real(self, work)

    return patch.object(SimTracker, "file", file)


def cursor_first() -> AbstractContextManager[Any]:
    """The cursor is saved before the mentions that it covers, in a transaction of its own."""
    real = Inbox.add_page

    def add_page(self: Inbox, source: str, page: Page, *, expect: str | None, now: datetime, **more: Any) -> Added:
        if page.cursor and page.items:
            real(self, source, Page((), page.cursor), expect=expect, now=now)
            return real(self, source, page, expect=page.cursor, now=now, **more)
        return real(self, source, page, expect=expect, now=now, **more)

    return patch.object(Inbox, "add_page", add_page)


@contextmanager
def forgotten_flight() -> Iterator[None]:
    """A process does not know what it is sending itself: its own sweep takes that for lost."""
    real = Outbox.orphans

    def orphans(self: Outbox, now: datetime) -> list[int]:
        kept, self._in_flight = self._in_flight, set()
        try:
            return real(self, now)
        finally:
            self._in_flight = kept

    with patch.object(Outbox, "orphans", orphans):
        yield


def nobody_wakes() -> AbstractContextManager[Any]:
    """What waited for an action is not made due when that is done."""
    real = Outbox._done

    def done(self: Outbox, connection: Connection, work: Work, move: Move, now: datetime) -> None:
        waiting = connection.execute(sa.select(actions.c.id, actions.c.due_at).where(actions.c.after_id == work.action_id)).all()
        real(self, connection, work, move, now)
        for id_, due_at in waiting:
            connection.execute(sa.update(actions).where(actions.c.id == id_).values(due_at=due_at))

    return patch.object(Outbox, "_done", done)


def blind_to_words() -> AbstractContextManager[Any]:
    """A lost answer to a blank is taken for one that was carried out, without a look at what the ticket says."""
    real = SimTracker.find

    def find(self: SimTracker, work: Work) -> Any:
        return [work.previous] if work.kind is ActionKind.BLANK else real(self, work)

    return patch.object(SimTracker, "find", find)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """How one is applied, which promise it breaks, what is made likely so that it takes few runs to find, and a seed that has found it."""

    apply: Callable[[], AbstractContextManager[Any]]
    promise: str
    likely: Mapping[str, Any]
    seed: int

    def change(self, plan: Plan) -> Plan:
        return dataclasses.replace(plan, **self.likely)


_CALM = {"chaos": Chaos(keep=0.5), "bugs": True, "workers": 2, "length": 1400.0, "brake": 30, "attempts": 40, "deeds": 0, "observes": False}
_WRITES = {"rates": (0.8,), "rescan": "6h"}

MUTANTS: Mapping[str, Mutant] = {
    "no attempt in the update": Mutant(
        no_attempt,
        "I2",
        _CALM | {"rates": (0.95,), "writes": ("429 late", "slow"), "lateness": (11.0, 25.0, 40.0)} | {"lost_locks": 5, "length": 3600.0},
        15,
    ),
    "an expired lease for the owner's lock": Mutant(expired_lease, "I2", _CALM | _WRITES | {"writes": ("slow", "cut late")}, 3),
    "the settle clock starts at the intent": Mutant(settle_from_intent, "I2", _CALM | _WRITES | {"writes": ("cut late",), "posts": 5}, 18),
    "no look before the retry": Mutant(no_look, "I2", _CALM | _WRITES | {"writes": UNCLEAR}, 3),
    "a client that repeats a POST": Mutant(repeating_client, "I2", _CALM | _WRITES | {"writes": UNCLEAR}, 3),
    "the cursor before its mentions": Mutant(cursor_first, "I1", {"chaos": Chaos(kill=0.02, kills=4), "rescan": "6h", "posts": 4}, 20),
    "a process that forgets what it sends": Mutant(forgotten_flight, "I2", _CALM | _WRITES | {"writes": ("slow", "cut late")}, 3),
    "a blank that nobody reads back": Mutant(blind_to_words, "I4", _CALM | {"rates": (0.5,), "writes": UNCLEAR, "posts": 6}, 27),
    "nobody wakes what waits": Mutant(nobody_wakes, "I3", {"chaos": Chaos(), "posts": 5, "bugs": False}, 6),
}
"""By name."""
