"""One scheduler for everything that moves: it alone says who goes on, and what time it is.

An actor is ordinary blocking code in a thread of its own, but only the one that holds the baton runs. At each of its points
(before and after a transaction, at a failpoint, at a call to a far side) it may lose the baton, its process may be killed, or
stopped for a while. All of that is drawn from one `random.Random`, so the same seed gives the same run.
"""

from __future__ import annotations

import heapq
import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
MOST_STEPS = 60_000  # more than any run takes: an endless one is a defect, too

Job = Callable[[], Any]


class Killed(BaseException):
    """kill -9 as the actor sees it: no code of the product catches it."""


class Endless(RuntimeError):
    """The run did not come to its end."""


@dataclass(eq=False)
class Process:
    """A process: what its actors share, and lose together. `on_kill` gives back what the kernel would."""

    name: str
    alive: bool = True
    frozen_until: float = 0.0
    on_kill: list[Job] = field(default_factory=list)
    app: Any = None
    ready: bool = False
    healer: bool = False
    stoppable: bool = True


@dataclass(eq=False)
class Actor:
    """One thread of a process."""

    name: str
    process: Process | None
    job: Job
    wake_at: float
    carrier: _Carrier | None = None


class _Carrier(threading.Thread):
    """A thread that carries one actor after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="actor")
        self.gate = threading.Lock()
        self.gate.acquire()
        self.task: Job | None = None
        self.start()

    def run(self) -> None:
        while True:
            self.gate.acquire()
            task, self.task = self.task, None
            assert task is not None
            task()


_idle: list[_Carrier] = []  # carriers outlive a run: to start a thread costs more than to wake one


@dataclass(frozen=True)
class Chaos:
    """How rough it gets: chances at each point, and how much of it there may be in one run."""

    kill: float = 0.0
    kill_at_failpoint: float = 0.0
    kill_in_transaction: float = 0.0
    full: float = 0.0  # a commit fails: the disk is full, or somebody holds the lock for too long
    stop: float = 0.0
    stop_seconds: tuple[float, float] = (1.0, 3000.0)
    kills: int = 0
    stops: int = 0
    keep: float = 0.7  # the chance that the running actor goes on at a point
    hiccup: float = 0.02  # the machine was busy for some seconds


CALM = Chaos(hiccup=0.0, keep=0.95)


class Scheduler:
    """The baton, the clock and the trace of one run."""

    def __init__(self, seed: int, *, trace: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.chaos = CALM
        self.current: Actor | None = None
        self.seen: Counter[str] = Counter()
        self.failures: list[str] = []
        self.steps = 0
        self.finished = False
        self._actors: list[Actor] = []
        self._events: list[tuple[float, int, Job]] = []
        self._order = 0
        self._trace = trace
        self._unwinding = False
        self._main = threading.Lock()
        self._main.acquire()

    # What the actors see

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def tell(self, what: str) -> None:
        """A line of the trace."""
        if self._trace is not None:
            name = self.current.name if self.current is not None else "-"
            self._trace(f"{self.now:10.3f} {name:<18} {what}")

    def point(self, where: str, *, failpoint: bool = False) -> None:
        """Whatever can come between two instructions may come here."""
        actor = self.current
        if actor is None:
            return
        process = actor.process
        if process is not None and not process.alive:
            raise Killed
        self.tell(where)
        rng, chaos = self.rng, self.chaos
        if process is not None and (chaos.kills or chaos.stops):
            draw = rng.random()
            kill = chaos.kill_at_failpoint if failpoint else chaos.kill
            if chaos.kills and draw < kill:
                self.seen[f"kill {where.split(':')[0]}"] += 1
                self.kill(process)
                raise Killed
            if chaos.stops and process.stoppable and kill <= draw < kill + chaos.stop * (6 if failpoint else 1):
                self.stop(process, where)
        self.now += 5.0 * rng.random() if rng.random() < chaos.hiccup else 0.002
        if rng.random() > chaos.keep or (process is not None and process.frozen_until > self.now):
            self._yield(actor, self.now)

    def sleep(self, seconds: float) -> None:
        """The actor waits; time goes on without it."""
        actor = self.current
        if actor is not None:
            self._yield(actor, self.now + seconds)

    def in_transaction(self) -> bool:
        """Just before a commit: whether the process dies here. Nobody else runs meanwhile, so that the write lock needs no model."""
        actor = self.current
        if actor is None or actor.process is None:
            return False
        if self.chaos.kills and self.rng.random() < self.chaos.kill_in_transaction:
            self.seen["kill before commit"] += 1
            self.kill(actor.process)
            return True
        return False

    def disk_is_full(self) -> bool:
        actor = self.current
        if actor is None or not self.chaos.full or self.rng.random() >= self.chaos.full:
            return False
        self.seen["commit fails"] += 1
        self.tell("the commit fails")
        return True

    # What happens to processes

    def kill(self, process: Process) -> None:
        self.tell(f"KILL {process.name}")
        process.alive, process.frozen_until = False, 0.0
        self.chaos = _less(self.chaos, kills=1)
        for give_back in process.on_kill:
            give_back()
        for actor in self._actors:
            if actor.process is process:
                actor.wake_at = min(actor.wake_at, self.now)

    def stop(self, process: Process, where: str) -> None:
        low, high = self.chaos.stop_seconds
        seconds = low * (high / low) ** self.rng.random()
        self.tell(f"STOP {process.name} for {seconds:.0f} s")
        self.seen[f"stop {where.split(':')[0]}"] += 1
        process.frozen_until = self.now + seconds
        self.chaos = _less(self.chaos, stops=1)

    # Running

    def spawn(self, name: str, process: Process | None, job: Job, delay: float = 0.0) -> Actor:
        actor = Actor(name, process, job, self.now + delay)
        self._actors.append(actor)
        return actor

    def later(self, seconds: float, what: Job) -> None:
        """Something that no process of ours does: a server carries out a request. It never waits."""
        self._order += 1
        heapq.heappush(self._events, (self.now + seconds, self._order, what))

    def run(self) -> None:
        """Until `finished` is set or nobody is left; then every actor is unwound."""
        self._pass_on()
        self._main.acquire()
        self.finished = False
        self._events.clear()
        self._actors = [actor for actor in self._actors if actor.carrier is not None]
        for actor in self._actors:
            actor.wake_at, actor.process = self.now, Process("-", alive=False)
        if self._actors:
            self._unwinding = True
            self._pass_on()
            self._main.acquire()

    def _yield(self, actor: Actor, wake_at: float) -> None:
        actor.wake_at = wake_at
        following = self._next()
        if following is not actor:
            assert actor.carrier is not None
            self._wake(following)
            actor.carrier.gate.acquire()
        self.current = actor
        if actor.process is not None and not actor.process.alive:
            raise Killed

    def _pass_on(self) -> None:
        self._wake(self._next())

    def _wake(self, actor: Actor | None) -> None:
        self.current = actor
        if actor is None:
            self._main.release()
            return
        if actor.carrier is None:
            carrier = actor.carrier = _idle.pop() if _idle else _Carrier()
            carrier.task = lambda: self._carry(actor)
        actor.carrier.gate.release()

    def _carry(self, actor: Actor) -> None:
        self.current = actor
        try:
            if actor.process is None or actor.process.alive:
                actor.job()
        except Killed:
            pass
        except BaseException:  # a defect, of the product or of the simulator: the run ends and tells it
            self.failures.append(f"{actor.name}: {traceback.format_exc()}")
            self.finished = True
        self._actors.remove(actor)
        assert actor.carrier is not None
        _idle.append(actor.carrier)
        self._pass_on()

    def _next(self) -> Actor | None:
        """Who has the baton next; moves the clock to where somebody is awake."""
        self.steps += 1
        if self.steps > MOST_STEPS and not self._unwinding:
            self.failures.append(f"{MOST_STEPS} steps and no end; the last at {self.now:.0f} s")
            self.finished = True
        while True:
            if self.finished or not self._actors:
                return None
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            now = self.now
            ready = [
                actor for actor in self._actors if actor.wake_at <= now and (actor.process is None or actor.process.frozen_until <= now)
            ]
            if ready:
                return ready[0] if len(ready) == 1 else ready[int(self.rng.random() * len(ready))]
            moments = [max(a.wake_at, a.process.frozen_until if a.process is not None else 0.0) for a in self._actors]
            if self._events:
                moments.append(self._events[0][0])
            self.now = max(now, min(moments))

    @property
    def last_event(self) -> float | None:
        """When the last request that is still on its way is carried out."""
        return max((moment for moment, _, _ in self._events), default=None)


def _less(chaos: Chaos, *, kills: int = 0, stops: int = 0) -> Chaos:
    return replace(chaos, kills=chaos.kills - kills, stops=chaos.stops - stops)
