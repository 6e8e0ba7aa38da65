"""Runs the service on one machine: starts its processes, restarts what exits, ends what hangs, and leaves nothing behind.

What to do with a child is decided by `decide`, from what was seen of it; `Supervisor` sees and acts. A guard
(triage/guard.py) ends the children when the supervisor itself is killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from triage.errors import UserError
from triage.guard import Guard

GRACE_SECONDS = 10.0
HANG_SECONDS = 120.0  # several times the longest call of a worker, which has a deadline of 30 s
FIRST_SIGN_SECONDS = 120.0  # a worker that starts imports scikit-learn and loads its model, on a machine that may be busy
READY_SECONDS = 15.0  # how long the next child waits for the one before it, the first time
BACK_SECONDS = 5.0  # a child that was down is back when it has run for this long
STEADY_SECONDS = 60.0  # and after this long its failures are forgotten
LONGEST_BACKOFF_SECONDS = 30.0
TICK_SECONDS = 0.25
AWAY_SECONDS = 10.0  # a look that comes this late means that the machine slept, and the children with it

log = logging.getLogger("triage.supervisor")


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running.

    `env` is its whole environment (None: ours). `heartbeat` is a file that it touches while it lives, `answers` asks it
    for a sign of life; a child with neither is never taken for hung. `ready` tells that it does its work; the children
    after it are started then. A child without it is ready when it has started.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    heartbeat: Path | None = None
    answers: Callable[[], bool] | None = None
    ready: Callable[[], bool] | None = None


class Do(StrEnum):
    """What the supervisor does with a child next."""

    NOTHING = "nothing"
    START = "start"
    ASK = "ask it to end"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a child. All in seconds, and None for what is not the case.

    `start_in` is the time until it may be started (a child that is down), `silent` since its last sign of life, or since
    its start when it gave none yet (`starting`), `asked` since it was asked to end.
    """

    start_in: float | None = None
    silent: float | None = None
    starting: bool = False
    asked: float | None = None


def decide(seen: Seen, grace: float, hang: float) -> tuple[Do, str]:
    """What to do with a child, and why."""
    if seen.start_in is not None:
        return (Do.START, "it is due") if seen.start_in <= 0 else (Do.NOTHING, "it waits before it is started again")
    if seen.asked is not None:
        return (Do.KILL, f"it did not end within {grace:g} s") if seen.asked > grace else (Do.NOTHING, "it is ending")
    patience = max(hang, FIRST_SIGN_SECONDS) if seen.starting else hang
    if seen.silent is not None and seen.silent > patience:
        return Do.ASK, f"no sign of life for {patience:g} s"
    return Do.NOTHING, "it runs"


def backoff(failures: int) -> float:
    """Seconds before a child is started again after it exited `failures` times in a row: 1, 2, 4 … 30."""
    return min(2.0 ** min(max(failures - 1, 0), 10), LONGEST_BACKOFF_SECONDS)


@dataclass(slots=True)
class _Kept:
    """A child and what happened to it so far."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    first_started: float | None = None
    started: float = 0.0
    start_at: float = 0.0
    beat: int | None = None
    beat_at: float = 0.0
    beats: bool = False
    questioned_at: float = 0.0
    asked_at: float | None = None
    failures: int = 0
    down: bool = False
    ready: bool = False

    def seen(self, now: float) -> Seen:
        if self.process is None:
            return Seen(start_in=self.start_at - now)
        watched = self.child.heartbeat is not None or self.child.answers is not None
        asked = None if self.asked_at is None else now - self.asked_at
        return Seen(silent=now - self.beat_at if watched else None, starting=not self.beats, asked=asked)

    def listen(self, now: float, every: float) -> None:
        """Note a sign of life; ask for one `every` seconds. A heartbeat's change counts, not its age: clocks are set."""
        if self.child.answers is not None and now - self.questioned_at >= every:
            self.questioned_at = now
            if self.child.answers():
                self.beat_at, self.beats = now, True
        if self.child.heartbeat is None:
            return
        try:
            beat = self.child.heartbeat.stat().st_mtime_ns
        except OSError:
            return
        if beat != self.beat:
            self.beat, self.beat_at, self.beats = beat, now, True

    def others_may_start(self, now: float) -> bool:
        return self.ready or (self.first_started is not None and now - self.first_started > READY_SECONDS)


@dataclass(slots=True)
class Supervisor:
    """Keeps `children` running, started in their order, until Ctrl-C, SIGTERM, SIGHUP or `stop()`.

    `up` is set once every child has been ready. Each child leads a process group of its own, so a terminal's Ctrl-C
    reaches the supervisor alone, and what a child leaves behind is ended with it.
    """

    children: Sequence[Child]
    grace: float = GRACE_SECONDS
    hang_seconds: float = HANG_SECONDS
    up: threading.Event = field(default_factory=threading.Event)
    _kept: list[_Kept] = field(init=False)
    _stops: int = field(init=False, default=0)
    _wake: tuple[socket.socket, socket.socket] = field(init=False)

    def __post_init__(self) -> None:
        self._kept = [_Kept(child) for child in self.children]
        self._wake = socket.socketpair()
        for end in self._wake:
            end.setblocking(False)

    def run(self) -> int:
        """Run until asked to stop; the exit code: 0, or 130 when a second request cut the grace short. Main thread only."""
        with Guard() as guard, self._signals():
            looked = time.monotonic()
            while not self._stops:
                now = time.monotonic()
                if now - looked > AWAY_SECONDS:
                    for kept in self._kept:
                        kept.beat_at = now
                looked = now
                for place, kept in enumerate(self._kept):
                    # The order matters the first time only: later each must do without the others for a while.
                    first = kept.first_started is None
                    may_start = not first or all(before.others_may_start(now) for before in self._kept[:place])
                    self._look(kept, guard, now, may_start=may_start)
                if all(kept.ready for kept in self._kept):
                    self.up.set()
                self._sleep(TICK_SECONDS)
            return self._end(guard)

    def stop(self) -> None:
        """Ask for the end, from any thread; a second time cuts the grace short."""
        self._stops += 1
        with suppress(OSError):  # full: it wakes anyway; closed: it has ended
            self._wake[1].send(b"\0")

    def _look(self, kept: _Kept, guard: Guard, now: float, *, may_start: bool) -> None:
        name, process = kept.child.name, kept.process
        if process is not None and process.poll() is not None:
            self._note_exit(kept, _how(guard.forget(process)), now)
            return
        kept.listen(now, self.hang_seconds / 8)
        do, why = decide(kept.seen(now), self.grace, self.hang_seconds)
        if do is Do.START and may_start:
            self._start(kept, guard, now)
        elif do is Do.ASK and process is not None:
            log.warning("%s: %s; ending it", name, why)
            kept.asked_at, kept.down = now, True
            guard.ask(process)
        elif do is Do.KILL and process is not None:
            guard.kill(process)
        elif process is not None:
            self._note_running(kept, now)

    def _start(self, kept: _Kept, guard: Guard, now: float) -> None:
        kept.first_started = now if kept.first_started is None else kept.first_started
        kept.started = kept.beat_at = now
        kept.asked_at, kept.beats = None, False
        try:
            kept.process = guard.start(kept.child.argv, env=kept.child.env)
        except OSError as error:  # no memory or no process left: it may be better in a while
            self._note_exit(kept, f"could not be started: {error}", now)

    def _note_exit(self, kept: _Kept, how: str, now: float) -> None:
        kept.process = None
        kept.failures = 1 if now - kept.started > STEADY_SECONDS else kept.failures + 1
        kept.start_at = now + backoff(kept.failures)
        if not kept.down:  # an outage is said once
            log.warning("%s %s; starting it again", kept.child.name, how)
        kept.down = True

    def _note_running(self, kept: _Kept, now: float) -> None:
        if not kept.ready or kept.down:
            ready = kept.child.ready is None or kept.child.ready()
            kept.ready = kept.ready or ready
            if kept.down and ready and kept.asked_at is None and now - kept.started > BACK_SECONDS:
                kept.down = False
                log.warning("%s is back", kept.child.name)

    def _end(self, guard: Guard) -> int:
        """End all in reverse order within the grace: each has a share of it before the next one is asked too."""
        running = [(kept.child.name, kept.process) for kept in reversed(self._kept) if kept.process is not None]
        log.info("ending %s; Ctrl-C again ends them at once", ", ".join(name for name, _ in running) or "nothing")
        deadline = time.monotonic() + self.grace
        for _, process in running:
            guard.ask(process)
            self._await(process, min(deadline, time.monotonic() + self.grace / len(running)))
        for name, process in running:
            self._await(process, deadline)
            if process.poll() is None:
                log.warning("%s did not end %s; killing it", name, "at once" if self._stops > 1 else f"within {self.grace:g} s")
            guard.forget(process)
        return 0 if self._stops < 2 else 130

    def _await(self, process: subprocess.Popen[bytes], until: float) -> None:
        while process.poll() is None and self._stops < 2 and time.monotonic() < until:
            self._sleep(min(TICK_SECONDS, max(0.0, until - time.monotonic())))

    def _sleep(self, seconds: float) -> None:
        """Until the time is up, a signal comes (a child that ends sends one too) or `stop` is called."""
        if select.select([self._wake[0]], [], [], seconds)[0]:
            self._wake[0].recv(4096)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def asked(number: int, frame: object) -> None:
            self._stops += 1

        def nothing(number: int, frame: object) -> None:
            """Only here so that the end of a child wakes us: without a handler it would not."""

        handlers = {signal.SIGINT: asked, signal.SIGTERM: asked, signal.SIGHUP: asked, signal.SIGCHLD: nothing}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        woken = signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            for end in self._wake:
                end.close()


def _how(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the store in `folder` for this process alone. The kernel gives it free however the process ends.

    Raises UserError, with the other's process id, where another one holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "triage.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(descriptor, 32).decode(errors="replace").strip()
            raise UserError(
                f"triage runs on {folder} already (process {other or 'unknown'}); stop that one first: kill {other or '<its process id>'}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
