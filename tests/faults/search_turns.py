"""The real verbs, one atomic thing at a time.

`deliver` and `reconcile` run as they are; what they ask of the store and of the far side goes through a `Turn`. It lets one
transaction or one outward call happen and stops the verb at the next by an exception. To go on, the verb runs again from its
beginning and gets the answers that it had before: what a worker holds in its hands is the list of these answers.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

from sqlalchemy.engine import RowMapping

from tests.faults.search_rows import HOUR, NOW, SETTLED, Book, Rows, column
from tests.service import HandClock, Service, service
from triage import delivery
from triage.errors import NotAccepted, OutcomeUnknown, Refused, RemoteError, StoreError, TooLate, Unauthorized
from triage.mention import ActionKind, Mention, Problem, Receipt, Verdict, Work
from triage.pipeline import deliver, intake, judge, people, spending, upkeep

ATTEMPTS = 2  # `attempts_before_parking`: small enough that the search comes by it
LOCKED = "the store is locked"


def _down(error: RemoteError) -> RemoteError:
    """The same from a server that seems to be away, so that its account is tried by one at a time."""
    error.down = True
    return error


ERRORS: dict[str, RemoteError] = {
    "refused": _down(NotAccepted("connection refused")),
    "late": TooLate("more than two seconds"),
    "unauthorized": Unauthorized("401", status=401),
    "rejected": Refused("400"),
    "cut": _down(OutcomeUnknown("the connection was cut")),
    "unreadable": OutcomeUnknown("the answer can't be read"),
    "away": _down(NotAccepted("the look failed")),
    "odd": NotAccepted("a page stood in place of an answer"),
}
ATOMIC = frozenset({"glance", "settle", "claim", "finish", "claim_look", "postpone", "strand", "failed", "send", "find"})

Answer = tuple[str, ...]  # what the far side says: ("receipt", "1"), ("error", "cut"), ("found", "1", "2"); or (LOCKED,)


def receipt(name: str) -> Receipt:
    """The far side's receipt for its thing number `name`."""
    return Receipt(f"50{name}", f"MEM-{name}", f"memory:MEM-{name}")


@dataclass(frozen=True, slots=True)
class At:
    """A moment in somebody's hands, in seconds from now."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Made:
    """A value in somebody's hands, taken apart so that it can be compared and aged."""

    made: type
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """A value that has no part in any decision about time, known by its words."""

    words: str
    value: Any = field(compare=False)


def held(value: Any) -> Any:
    """`value` as somebody holds it."""
    if isinstance(value, datetime):
        return At(max(int((value - NOW).total_seconds()), -HOUR))
    if isinstance(value, Work):
        value = replace(value, intent_at=max(value.intent_at, NOW - timedelta(seconds=SETTLED)))
    if isinstance(value, Mention | Verdict | Problem | Receipt):
        return Whole(repr(value), value)
    if is_dataclass(value) and not isinstance(value, type):
        return Made(type(value), tuple(held(getattr(value, each.name)) for each in fields(value)))
    if isinstance(value, RowMapping | Mapping):
        unread = {"due_at", "intent_at", "created_at", "closed_at"}
        return Made(dict, tuple((name, None if name in unread else held(each)) for name, each in sorted(value.items())))
    if isinstance(value, tuple | list):
        return Made(type(value), tuple(held(each) for each in value))
    return value


def given(value: Any) -> Any:
    """The other way round."""
    if isinstance(value, At):
        return NOW + timedelta(seconds=value.seconds)
    if isinstance(value, Whole):
        return value.value
    if isinstance(value, Made):
        if value.made is dict:
            return {name: given(each) for name, each in value.values}
        parts = [given(each) for each in value.values]
        return value.made(*parts) if is_dataclass(value.made) else value.made(parts)
    return value


def aged(value: Any, seconds: int) -> Any:
    """What is held, so many seconds later."""
    if isinstance(value, At):
        return At(max(value.seconds - seconds, -HOUR))
    if isinstance(value, Made):
        if value.made is Work:
            names = [each.name for each in fields(Work)]
            parts = [aged(each, seconds) for each in value.values]
            place = names.index("intent_at")
            parts[place] = At(max(parts[place].seconds, -SETTLED))
            return Made(Work, tuple(parts))
        return Made(value.made, tuple(aged(each, seconds) for each in value.values))
    if isinstance(value, tuple):
        return tuple(aged(each, seconds) for each in value)
    return value


@dataclass(frozen=True, slots=True)
class Hands:
    """A worker in the middle of a verb: the answers that it had, what it will do next, and whether it counts the action as in flight."""

    verb: str
    answers: tuple[tuple[str, Any], ...]
    next: str
    in_flight: bool

    @property
    def work(self) -> Work | None:
        """What it has claimed, for a send or for a look."""
        for name, answer in self.answers:
            if name == "claim":
                return cast(Work | None, given(answer))
            if name == "claim_look":
                return cast(tuple[Work, Any], given(answer))[0]
        return None


_VERBS: dict[str, Callable[..., Any]] = {
    "deliver": lambda *a: deliver.deliver(*a),
    "reconcile": lambda *a: deliver.reconcile(*a),
}


class Paused(BaseException):
    """The worker is stopped before its next atomic thing. No `except Exception` of the verb's may catch it."""


class Turn:
    """The parts that a verb works with during one atomic thing."""

    def __init__(self, stage: Stage, hands: Hands | None, answer: Answer) -> None:
        self._stage = stage
        self._before = list(hands.answers) if hands else []
        self._at = 0
        self._answer = answer
        self._reads: list[tuple[str, Any]] = []
        self.asked_store = False
        self.did = ""
        self.next = ""
        app = stage.app
        self.config = app.config
        self.sources, self.trackers, self.notifiers = app.sources, app.trackers, app.notifiers
        rooms = {name: _Door(self, getattr(app.store, name)) for name in ("outbox", "accounts", "desk", "inbox", "owners", "place")}
        self.store = SimpleNamespace(**rooms)
        self.clock = SimpleNamespace(now=self._now)

    @property
    def answers(self) -> tuple[tuple[str, Any], ...]:
        """All that it was answered up to now."""
        return tuple(self._before)

    def explain(self, mention: Mention, label: object) -> tuple[str, ...]:
        return ()

    def tracker(self, name: str) -> _Far:
        return _Far(self)

    platform = tracker

    def ask(self, name: str, real: Callable[[], Any]) -> Any:
        """One question to the store or to the far side: from memory, or for real."""
        if self._at < len(self._before):
            known, answer = self._before[self._at]
            assert known == name, f"the verb asked for {name} where it had asked for {known}"
            self._at += 1
            return self._told(name, answer)
        if name in ATOMIC:
            if self.did:
                self.next = name
                raise Paused
            self.did = name
        if name in ("send", "find"):
            answer = self._answer
        elif name == "check":
            answer = self._stage.stand
        elif name in ATOMIC and self._answer == (LOCKED,):
            with patch.object(self._stage.app.store.database, "write", _locked):
                return real()
        else:
            self.asked_store = True
            answer = held(real())
        self._before += [*self._reads, (name, answer)]
        self._reads.clear()
        self._at = len(self._before)
        return self._told(name, answer)

    def _told(self, name: str, answer: Any) -> Any:
        if name not in ("send", "find"):
            return given(answer)
        if answer[0] == "error":
            raise ERRORS[answer[1]]
        return receipt(answer[1]) if name == "send" else [receipt(each) for each in answer[1:]]

    def _now(self) -> datetime:
        if self._at < len(self._before) and self._before[self._at][0] == "now":
            self._at += 1
            return cast(datetime, given(self._before[self._at - 1][1]))
        self._reads.append(("now", At(0)))
        return NOW


def _locked() -> None:
    raise StoreError(LOCKED)


class _Door:
    """A room of the store, behind a turn."""

    def __init__(self, turn: Turn, room: object) -> None:
        self._turn = turn
        self._room = room

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._room, name)
        if name == "glance":
            return self._glance
        return (lambda *a, **k: self._turn.ask(name, lambda: real(*a, **k))) if callable(real) else real

    def _glance(self, action_id: int, now: datetime) -> AbstractContextManager[Any]:
        """A glance is one read. What it holds until its end keeps the threads of one process apart, and a worker here has one."""

        def read() -> Any:
            with cast(Any, self._room).glance(action_id, now) as glanced:
                return glanced

        return nullcontext(self._turn.ask("glance", read))


class _Far:
    """A tracker or a platform, behind a turn."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.manifest = SimpleNamespace(repeats=None)

    def file(self, work: Work) -> Receipt:
        return cast(Receipt, self._turn.ask("send", lambda: None))

    update = reply = file

    def find(self, work: Work) -> Sequence[Receipt]:
        return cast(Sequence[Receipt], self._turn.ask("find", lambda: None))

    def repeatable(self) -> bool:
        return self._turn._stage.repeatable

    def reread(self, remote_ids: Sequence[str]) -> Mapping[str, None]:
        return {}


class _Living:
    """Who lives, as a table in place of the kernel's locks."""

    def __init__(self) -> None:
        self.current = ""
        self.alive: frozenset[str] = frozenset({"w0", "w1", "sweeper"})

    def me(self, now: datetime) -> str:
        return self.current

    def is_alive(self, owner: str) -> bool:
        return owner in self.alive


class Stage:
    """The real service on a store in memory, with one action to look after. A context manager.

    `act(rows, who, …)` puts the rows back, lets somebody do one thing, and returns the rows after it.
    """

    def __init__(self, kind: ActionKind, *, repeatable: bool, observe: bool = False, brake: int = 30) -> None:
        self.kind = kind
        self.repeatable = repeatable
        self.calls = 0
        self._stack = ExitStack()
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        clock = HandClock()
        clock.moment = NOW - timedelta(seconds=11)
        rules = f"delivery: {{attempts_before_parking: {ATTEMPTS}}}\n"
        url = f"sqlite:///{self._folder}/triage.db"
        self.app: Service = service(self._folder, url, mode="act", rules=rules, clock=clock)
        self._stack.callback(self.app.close)
        for module in (deliver, judge, intake, spending):
            self._stack.enter_context(patch.object(module, "log", SimpleNamespace(**dict.fromkeys(("info", "warning", "debug"), _silent))))
        if kind is ActionKind.TICKET and not repeatable:  # a tracker that may not be asked twice
            real = delivery.after_look
            self._stack.enter_context(patch.object(deliver, "after_look", lambda *a, **k: real(*a, **{**k, "repeatable": False})))
        post = self.app.acme.post("mira@x.example", "it is broken" if kind is ActionKind.TICKET else "how do I do it")
        clock.move(seconds=11)
        mentions = intake.poll(self.app, ["acme"])
        ids = judge.process(self.app, mentions)
        self.task: int | None = None
        if kind is ActionKind.REPLY:
            self.task = self.app.actions("task")[0]["id"]
            ids = people.answer(self.app, self.task, "like this", "ana")
        clock.moment = NOW
        self.remote_id = post.remote_id
        (self.action,) = [row["id"] for row in self.app.actions() if row["id"] in ids and row["kind"] == str(kind)]
        store = self.app.store  # as after a restart with another config
        store.outbox._observe = store.inbox._observe = store.alerts._observe = observe
        store.outbox._brake = {"": brake}
        self._living = _Living()
        self.app.store.outbox._owners = self._living  # type: ignore[assignment]
        with self.app.store.database.engine.connect() as connection:
            driver = connection.connection.driver_connection
        assert driver is not None
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
            driver.execute(f"PRAGMA {pragma}")
        self._book = Book(driver, [row["id"] for row in self.app.actions()])
        self.stand = held(self.app.store.place.check(NOW))
        self.first = self._book.take()[0]
        self._place = [row["id"] for row in self.app.actions()].index(self.action)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def see(self, rows: Rows, name: str) -> Any:
        """A column of the action."""
        return column(rows, "actions", self._place, name)

    def act(self, rows: Rows, who: str, in_flight: bool, do: Callable[[Service], Any]) -> tuple[Rows, bool, bool]:
        """Let `who` do something in one go. Returns the rows, whether the action is in flight then, and whether people were told."""
        self.calls += 1
        self._book.put(rows)
        self._living.current = who
        outbox = self.app.store.outbox
        outbox._in_flight = {self.action} if in_flight else set()
        do(self.app)
        after, told = self._book.take()
        return after, self.action in outbox._in_flight, told

    def turn(self, rows: Rows, who: str, verb: str, hands: Hands | None, answer: Answer) -> tuple[Rows, Hands | None, str, bool]:
        """Let `who` do the next atomic thing of a verb. Returns the rows, what it holds then, what it did, and whether people were told."""
        turn, stopped = Turn(self, hands, answer), False

        def do(_: Service) -> None:
            nonlocal stopped
            try:
                _VERBS[verb](cast(Any, turn), [self.action])
            except Paused:
                stopped = True
            except StoreError:
                pass  # the sweep says so and tries again

        in_flight = hands.in_flight if hands else False
        after, in_flight, told = self.act(rows, who, in_flight, do)
        return after, Hands(verb, turn.answers, turn.next, in_flight) if stopped else None, turn.did, told

    def outward(self, verb: str, hands: Hands, answer: Answer) -> tuple[Hands | None, str]:
        """The next atomic thing where the store has no part in it: a call, or a transaction that fails. What it holds then, and did."""
        turn, outbox = Turn(self, hands, answer), self.app.store.outbox
        outbox._in_flight = {self.action} if hands.in_flight else set()
        after = None
        try:
            _VERBS[verb](cast(Any, turn), [self.action])
        except Paused:
            after = Hands(verb, turn.answers, turn.next, self.action in outbox._in_flight)
        except StoreError:
            pass
        assert not turn.asked_store, "the verb asked the store for something between its call and the next transaction"
        return after, turn.did

    def duplicates_told(self, rows: Rows, count: int) -> bool:
        """Whether the hourly audit sees that the far side holds so many."""
        twice = {"marker": [receipt(str(number + 1)) for number in range(count)]}

        def audit(app: Service) -> None:
            app.store.turns.give_back("audited/tickets", None)
            with patch.object(app.tickets, "duplicates", lambda since: twice):
                upkeep.audit(app)

        return self.act(rows, "w0", False, audit)[2]


def _silent(*_: object, **__: object) -> None:
    """Say nothing."""
