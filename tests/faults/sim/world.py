"""One run: what is drawn from its seed, the processes and people in it, and how it is brought to its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from kombu.exceptions import OperationalError

from tests.faults.sim.network import LATENESS, READS, REFUSED, SETTLE, UNCLEAR, Network
from tests.faults.sim.patches import Running
from tests.faults.sim.scheduler import CALM, START, Actor, Chaos, Process, Scheduler
from tests.faults.sim.servers import Pager, Post, PostServer, SimNotifier, SimPlatform, SimTracker, TicketServer
from tests.faults.sim.store import folder, looking, url
from tests.service import judge as verdict_by_words
from triage import config as configuration
from triage import tasks
from triage.app import App
from triage.cli import people as cli
from triage.config import Config
from triage.errors import RemoteError, UserError
from triage.mention import Label, Mention, Verdict, Visibility
from triage.pipeline import intake, judge, people, sweep
from triage.store.markers import marker

CONFIG = """
mode: {mode}
state: {folder}
store: "{url}"
sources:
  acme: {{platform: memory, every: 3m}}
trackers:
  tickets: {{tracker: memory}}
notifiers:
  oncall: {{notifier: memory}}
delivery: {{settle: {settle}s, brake_per_hour: {brake}, attempts_before_parking: {attempts}, rescan: {rescan}}}
"""
RESCAN = 6 * 3600.0
TEXTS = (
    "it is broken",
    "broken here",
    "still broken",
    "how do I do it",
    "how does it work",
    "maybe broken",
    "broken: all my data is gone",
    "love it",
    "hello",
)
MOVES = """
CREATE TABLE sim_moves (
  id INTEGER PRIMARY KEY, action_id INTEGER, kind TEXT, via TEXT, old TEXT, new TEXT, old_error TEXT, error TEXT, closed_by TEXT,
  looks INTEGER
);
CREATE TRIGGER sim_planned AFTER INSERT ON actions BEGIN
  INSERT INTO sim_moves (action_id, kind, via, old, new, old_error, error, closed_by, looks)
  VALUES (new.id, new.kind, new.via, '', new.state, '', new.error, new.closed_by, new.looks);
END;
CREATE TRIGGER sim_moved AFTER UPDATE OF state ON actions WHEN old.state <> new.state BEGIN
  INSERT INTO sim_moves (action_id, kind, via, old, new, old_error, error, closed_by, looks)
  VALUES (new.id, new.kind, new.via, old.state, new.state, old.error, new.error, new.closed_by, new.looks);
END;
"""


@cache
def config(mode: str, brake: int, attempts: int, rescan: str) -> Config:
    text = CONFIG.format(mode=mode, folder=folder(), url=url(), settle=f"{SETTLE:g}", brake=brake, attempts=attempts, rescan=rescan)
    return configuration.parse(text, folder() / "config.yaml", {})


@dataclass(frozen=True)
class Plan:
    """What is drawn from the seed before a run begins."""

    workers: int
    posts: int
    length: float  # seconds of simulated time until everything is healed
    brake: int
    attempts: int
    rescan: str
    chaos: Chaos
    bell: str  # away, lossy or mad
    repeatable: bool
    page: int
    lag: float
    doubled: float
    blind: float
    repeats: float | None
    observes: bool
    deeds: int  # how often a person does something
    bugs: bool  # every post is a bug report in a thread of its own
    lost_locks: int  # how often a living process loses its lock, as when a database server drops its connection
    writes: tuple[str, ...] = (*UNCLEAR, *UNCLEAR, *REFUSED)  # what may become of a write
    rates: tuple[float, ...] = (0.0, 0.4, 0.7, 0.95)
    lateness: tuple[float, ...] = LATENESS

    @classmethod
    def draw(cls, scheduler: Scheduler) -> Plan:
        rng = scheduler.rng
        rough = rng.random() < 0.85
        chaos = Chaos(
            kill=rng.choice((0.0, 0.001, 0.004)),
            kill_at_failpoint=rng.choice((0.0, 0.05, 0.15)),
            kill_in_transaction=rng.choice((0.0, 0.005, 0.02)),
            full=rng.choice((0.0, 0.0, 0.01, 0.04)),
            stop=rng.choice((0.002, 0.01, 0.03)),
            kills=rng.choice((0, 2, 4, 6)),
            stops=rng.choice((0, 1, 2, 3)),
            keep=rng.choice((0.3, 0.7, 0.9)),
            hiccup=rng.choice((0.0, 0.01, 0.05)),
        )
        return cls(
            workers=rng.choice((1, 2, 2, 2, 3)),
            posts=rng.choice((1, 2, 3, 4, 5)),
            length=rng.choice((400.0, 800.0, 1400.0)),
            brake=rng.choice((30, 30, 30, 1)),
            attempts=rng.choice((40, 40, 2)),
            rescan="6h" if rng.random() < 0.85 else "10m",
            chaos=chaos if rough else replace(chaos, kills=0, stops=0, full=0.0),
            bell=rng.choice(("away", "lossy", "mad")),
            repeatable=rng.random() < 0.6,
            page=rng.choice((40, 40, 2)),
            lag=rng.choice((0.0, 1.0, 5.0, 1000.0)) * SETTLE,
            doubled=rng.choice((0.0, 0.3)),
            blind=rng.choice((0.0, 0.0, 0.7)),
            repeats=rng.choice((None, None, 900.0)),
            observes=rng.random() < 0.06,
            deeds=rng.choice((0, 2, 4, 7)),
            bugs=rng.random() < 0.5,
            lost_locks=rng.choice((0, 0, 0, 1)),
        )


class SimApp(App):
    """The product's own wiring, with simulated connectors and a classifier that goes by the post's words."""

    bell: Any

    def classify(self, mentions: Sequence[Mention]) -> list[Verdict]:
        return [verdict_by_words(mention) for mention in mentions]

    def explain(self, mention: Mention, label: Label) -> tuple[str, ...]:
        return ("broken",)


class SimClock:
    """The scheduler's clock as the product asks for it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> datetime:
        return self._scheduler.clock()


class _Lane:
    """A job in the sweeper's pool, as the sweeper asks after it."""

    def __init__(self) -> None:
        self.over = False

    def done(self) -> bool:
        return self.over


class _Pool:
    """The sweeper's threads, as actors of its process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._lanes: list[_Lane] = []

    def submit(self, call: Callable[..., int], lane: str, job: sweep.Job) -> _Lane:
        running = _Lane()

        def work() -> None:
            call(lane, job)
            running.over = True

        self._lanes = [*(one for one in self._lanes if not one.over), running]
        self._world.scheduler.spawn(f"{self._process.name} {lane}", self._process, work)
        return running

    def shutdown(self, **_: bool) -> None:
        while any(not lane.over for lane in self._lanes):
            self._world.scheduler.sleep(600.0)


class _Stop:
    """The sweeper's event: set once the run heals; a wait is as long as nothing is due, or a bit longer."""

    def __init__(self, world: World) -> None:
        self._world = world

    def is_set(self) -> bool:
        return self._world.healing

    def wait(self, every: float) -> bool:
        rng = self._world.scheduler.rng
        until = self._world.next_due() - self._world.scheduler.now
        self._world.scheduler.sleep(min(max(until, every), 300.0) + 40.0 * rng.random() ** 2)
        return self._world.healing


class World:
    """Everything in one run."""

    def __init__(self, scheduler: Scheduler, change: Callable[[Plan], Plan] | None = None) -> None:
        self.scheduler = scheduler
        self.plan = Plan.draw(scheduler)
        if change is not None:
            self.plan = change(self.plan)
        self.network = Network(scheduler)
        self.network.lateness = self.plan.lateness
        self.posts = PostServer(self.network, repeatable=self.plan.repeatable, page=self.plan.page)
        self.tickets = TicketServer(self.network, lag=self.plan.lag)
        self.pager = Pager(self.network)
        self.healing = False
        self.healed_at = 0.0
        self.processes: list[Process] = []
        self._count = 0

    # Looking from outside

    def rows(self, query: str, *parameters: Any) -> list[sqlite3.Row]:
        return looking().execute(query, parameters).fetchall()

    def next_due(self, *, polls: bool = True) -> float:
        """When something is due, in the scheduler's time; far away where nothing is."""
        wanted = [
            "SELECT min(due_at) FROM actions WHERE due_at IS NOT NULL AND state IN ('planned', 'doubt') AND via <> 'human'",
            "SELECT min(due_at) FROM mentions WHERE due_at IS NOT NULL AND quarantined IS NULL",
        ]
        if polls:
            wanted += ["SELECT min(max(due_at, coalesce(paused_until, due_at))) FROM accounts WHERE role = 'source'"]
            wanted += ["SELECT min(max(rescan_at, coalesce(paused_until, rescan_at))) FROM accounts WHERE role = 'source'"]
            wanted += ["SELECT min(reread_at) FROM mentions WHERE reread_at IS NOT NULL"]
        found = [row[0] for query in wanted for row in self.rows(query) if row[0]]
        if not found:
            return self.scheduler.now + 10 * RESCAN
        return (datetime.fromisoformat(min(found)).replace(tzinfo=UTC) - START).total_seconds()

    # Processes

    def process(self, name: str) -> Process:
        self._count += 1
        made = Process(f"{name}{self._count}")
        made.on_kill.append(lambda: _let_go(made))
        self.processes.append(made)
        return made

    def open(self, process: Process, *, mode: str = "act", role: str = "worker") -> SimApp:
        """A process opens the store and gets its connectors."""
        plan = self.plan
        app = SimApp(config(mode, plan.brake, plan.attempts, plan.rescan), role=role, clock=SimClock(self.scheduler))
        app._made["platforms", "acme"] = SimPlatform(self.posts, doubled=plan.doubled, blind=plan.blind)
        app._made["trackers", "tickets"] = SimTracker(self.tickets)
        app._made["notifiers", "oncall"] = SimNotifier(self.pager, repeats=plan.repeats)
        app.bell = tasks._Bell()
        process.app = app
        app.store.owners.me(self.scheduler.clock())
        return app

    def worker(self, *, delay: float = 0.0, mode: str = "act") -> None:
        process = self.process("w")

        def run() -> None:
            try:
                app = self.open(process, mode=mode)
                tasks.begin(app)
                process.ready = True
                sweeper = sweep.Sweeper(app, every=app.config.delivery.sweep, threads=1, beat=lambda: None)
                sweeper._pool = _Pool(self, process)  # type: ignore[assignment]
                sweeper.run(_Stop(self))  # type: ignore[arg-type]
                while any(actor.process is process for actor in self.scheduler._actors if actor is not self.scheduler.current):
                    self.scheduler.sleep(60.0)
                process.alive = False
                _let_go(process)
            except UserError as error:  # it says so and ends; the supervisor starts another
                self.scheduler.tell(f"could not start: {error}")
                self.scheduler.kill(process)

        self.scheduler.spawn(process.name, process, run, delay)

    @property
    def working(self) -> list[Process]:
        return [process for process in self.processes if process.alive and process.ready]

    def supervise(self) -> None:
        """Dead workers are replaced; now and then one is killed from outside, stopped or not."""
        scheduler, plan = self.scheduler, self.plan
        wanted, lost = plan.workers, plan.lost_locks
        for number in range(wanted):
            self.worker(delay=float(number))
        while True:
            scheduler.sleep(20.0 + 40.0 * scheduler.rng.random())
            if self.healing:
                return
            alive = [process for process in self.processes if process.alive and process.name.startswith("w")]
            if alive and scheduler.chaos.kills and scheduler.rng.random() < 0.05:
                scheduler.seen["kill from outside"] += 1
                scheduler.kill(scheduler.rng.choice(alive))
            if lost and self.working and scheduler.rng.random() < 0.2:
                lost -= 1
                self._lose_lock(scheduler.rng.choice(self.working))
            for _ in range(wanted - len(alive)):
                self.worker(mode="observe" if plan.observes and scheduler.rng.random() < 0.5 else "act")

    def _lose_lock(self, process: Process) -> None:
        """Its lock is gone although it lives, and it takes another: what it is sending counts as a dead process's."""
        if process.frozen_until > self.scheduler.now:
            return
        self.scheduler.seen["a lock is lost"] += 1
        self.scheduler.tell(f"LOCK LOST {process.name}")
        process.stoppable = False  # stopped between the last check and the first byte it would send what nobody waits for any more
        for give_up in process.on_kill[1:]:
            give_up()
        _let_go(process)
        owners, actor = process.app.store.owners, self.scheduler.current
        owners._file = None
        self.scheduler.current = None
        try:
            owners.me(self.scheduler.clock())
        finally:
            self.scheduler.current = actor

    # The doorbell

    def publish(self, name: str, ids: Any) -> None:
        """What happens to a message: it is lost, comes late, comes five times, out of order, or somebody writes another."""
        scheduler, rng, bell = self.scheduler, self.scheduler.rng, self.plan.bell
        if self.healing or bell == "away" or rng.random() < 0.1:
            scheduler.seen["bell: away"] += 1
            raise OperationalError("connection refused")
        copies = 1
        if bell == "mad":
            copies = rng.choice((0, 1, 1, 2, 5))
        elif rng.random() < 0.2:
            copies = 0
        scheduler.seen[f"bell: {copies} copies"] += 1
        for _ in range(copies):
            self._deliver(name, ids, rng.random() * rng.choice((0.5, 5.0, 200.0)))
        if bell == "mad" and rng.random() < 0.5:
            scheduler.seen["bell: forged"] += 1
            names = ("triage.poll", "triage.process", "triage.deliver", "triage.reconcile", "triage.tick")
            forged = rng.choice(([1, 2, 3, 4, 5, 6, 7, 8], [-1, 0, 2**70, "1", None, 3.5, True], ["acme"], "acme", {"a": 1}, None, [[1]]))
            self._deliver(rng.choice(names), forged, rng.random())

    def _deliver(self, name: str, ids: Any, delay: float) -> None:
        """A worker takes the message off the queue; from then on it is nowhere else."""

        def take() -> None:
            there = [process for process in self.working if process.frozen_until <= self.scheduler.now]
            if not there or self.healing:
                return
            process = self.scheduler.rng.choice(there)
            self.scheduler.spawn(f"{process.name} {name.removeprefix('triage.')}", process, partial(self._run_task, name, ids))

        self.scheduler.later(delay, take)

    def _run_task(self, name: str, ids: Any) -> None:
        try:
            tasks.app.tasks[name].run(ids)
        except UserError as error:  # Celery logs it; the sweep does it again
            self.scheduler.tell(f"the task failed: {error}")

    def beat(self) -> None:
        """Beat rings for everything that is due."""
        while not self.healing:
            self.scheduler.sleep(60.0 + 240.0 * self.scheduler.rng.random())
            if self.plan.bell != "away":
                self._deliver("triage.tick", [], 0.0)

    def stream(self) -> None:
        """A worker hears of edits and deletions as they happen, now and then."""
        while not self.healing:
            self.scheduler.sleep(100.0 + 700.0 * self.scheduler.rng.random())
            there = self.working
            if not there or self.healing:
                continue
            process = self.scheduler.rng.choice(there)

            def follow(app: SimApp) -> None:
                try:
                    intake.follow(app, "acme", _Stop(self), lambda ids: tasks.bell.ring(tasks.process, ids))  # type: ignore[arg-type]
                except UserError as error:
                    self.scheduler.tell(f"the stream ended: {error}")

            self.scheduler.spawn(f"{process.name} stream", process, partial(follow, process.app))

    # People

    def authors(self) -> None:
        """Those who write to us, and change their minds."""
        scheduler, rng, plan = self.scheduler, self.scheduler.rng, self.plan
        made: list[Post] = []
        for _ in range(plan.posts):
            scheduler.sleep(rng.random() * rng.choice((1.0, 20.0, 150.0)))
            parent = rng.choice(made).mention.remote_id if made and rng.random() < 0.5 else None
            ours = [p for p in self.posts.posts.values() if p.mention.author.handle.startswith("quayside") and not p.gone]
            if ours and rng.random() < 0.3:
                parent = rng.choice(ours).mention.remote_id
            visibility = rng.choice((Visibility.PUBLIC,) * 7 + (Visibility.DIRECT,))
            late = rng.random() * 600.0 if rng.random() < 0.15 else 0.0
            text = rng.choice(TEXTS[:3] if plan.bugs else TEXTS)
            made.append(self.posts.post(text, parent=None if plan.bugs else parent, visibility=visibility, late=late))
        for _ in range(rng.choice((0, 0, 1, 2))):
            scheduler.sleep(rng.random() * rng.choice((5.0, 100.0, 700.0)))
            post = rng.choice(made)
            if post.gone:
                continue
            if rng.random() < 0.5:
                self.posts.edit(post, rng.choice(TEXTS) + f" ({rng.randrange(1000)})")
            else:
                self.posts.delete(post)

    def colleagues(self) -> None:
        """Other people's tickets come between ours, and some of ours are worked on."""
        scheduler, rng = self.scheduler, self.scheduler.rng
        for _ in range(rng.choice((0, 2, 6))):
            scheduler.sleep(rng.random() * 300.0)
            if rng.random() < 0.7:
                self.tickets.create("")
            elif self.tickets.issues:
                issue = rng.choice(self.tickets.issues)
                issue.status = "Done"
                issue.gone = rng.random() < 0.1 and not issue.marker

    def person(self) -> None:
        """Somebody at the command line, now and then; each command is a process of its own."""
        scheduler = self.scheduler
        for _ in range(self.plan.deeds):
            scheduler.sleep(60.0 + scheduler.rng.random() * 300.0)
            if self.healing:
                return
            process = self.process("cli")
            scheduler.spawn(process.name, process, partial(self._deed, process))

    def _deed(self, process: Process) -> None:
        try:
            app = self.open(process, role="cli")
            try:
                for deed in (self._with_action, self._with_task, self._with_mention):
                    if self.scheduler.rng.random() < 0.7 and deed(app):
                        break
            finally:
                if process.alive:
                    app.close()
        except (UserError, RemoteError) as error:
            self.scheduler.tell(f"refused: {error}")
        process.alive = False

    def _with_action(self, app: SimApp) -> bool:
        """Somebody who looks at the far side first, and does not take for missing what is still on its way."""
        rng, desk, now = self.scheduler.rng, app.store.desk, app.clock.now()
        states = "('parked', 'rejected', 'observed', 'doubt', 'planned')"
        found = self.rows(
            f"SELECT id, key, kind, state, attempt FROM actions WHERE via <> 'human' AND kind <> 'alert' AND state IN {states} ORDER BY id"
        )
        if not found:
            return False
        row = rng.choice(found)
        there = self.exists(app, row["key"], row["kind"])
        marker = row["key"] if row["kind"] == "reply" else self.marker(app, row["key"])
        if row["state"] in ("parked", "rejected", "doubt") and there is not None:
            desk.found(row["id"], there, "ana", now)
        elif row["state"] in ("planned", "doubt"):
            desk.park(row["id"], "ana", now) if rng.random() < 0.7 or row["state"] == "doubt" else desk.drop(row["id"], "ana", now)
        elif self.network.is_coming(marker):
            return False
        elif rng.random() < 0.75:
            desk.retry(row["id"], "ana", now)
            cli._send(app, [row["id"]])
        else:
            desk.drop(row["id"], "ana", now)
        return True

    def exists(self, app: SimApp, key: str, kind: str) -> str | None:
        """What a person finds who looks for it at the far side."""
        if kind == "reply":
            return next((entry["id"] for entry in self.posts.ledger if entry["kind"] == "reply" and entry["idempotency_key"] == key), None)
        return self.tickets.exists(self.marker(app, key))

    def marker(self, app: SimApp, key: str) -> str:
        """What a ticket or a comment of this key carries."""
        return marker(app.store.place.check(app.clock.now()).secret, key)

    def _with_task(self, app: SimApp) -> bool:
        rng, now = self.scheduler.rng, app.clock.now()
        tasks_ = self.rows("SELECT id FROM actions WHERE via = 'human' AND state = 'planned' AND mention_id IS NOT NULL ORDER BY id")
        if not tasks_:
            return False
        task = rng.choice(tasks_)["id"]
        if rng.random() < 0.8:
            text = f"task {task}: try this" + ("|and then that" if rng.random() < 0.3 else "")
            cli._send(app, people.answer(app, task, text, "ana"))
        else:
            app.store.desk.close(task, "ana", now, "seen")
        return True

    def _with_mention(self, app: SimApp) -> bool:
        rng = self.scheduler.rng
        found = self.rows("SELECT id FROM mentions WHERE platform <> '' ORDER BY id")
        if not found:
            return False
        mention = rng.choice(found)["id"]
        if rng.random() < 0.5:
            cli._send(app, judge.relabel(app, mention, rng.choice(("bug_report", "support_question", "noise")), "ana"))
        else:
            cli._send(app, judge.file(app, mention, "ana"))
        return True

    # The run

    def run(self) -> None:
        """From an empty store to a quiet one."""
        _begin()
        scheduler, plan = self.scheduler, self.plan
        Running.scheduler, Running.publish = scheduler, self.publish
        self._weather()
        scheduler.chaos = plan.chaos
        scheduler.tell(str(plan))
        for name, job in (
            ("supervisor", self.supervise),
            ("authors", self.authors),
            ("colleagues", self.colleagues),
            ("person", self.person),
            ("beat", self.beat),
            ("stream", self.stream),
            ("weather", self._change_weather),
        ):
            scheduler.spawn(name, None, job)
        scheduler.spawn("heal", None, self._heal, plan.length)
        try:
            scheduler.run()
        finally:
            for process in self.processes:
                _let_go(process)
            Running.scheduler = Running.publish = None

    def _weather(self) -> None:
        """How the network is for a while."""
        rng = self.scheduler.rng
        for side in ("acme", "tickets", "oncall"):
            self.network.writes[side] = _some(rng.choice(self.plan.rates), self.plan.writes, rng)
            reads = READS if side == "acme" else tuple(fate for fate in READS if fate != "404")
            self.network.reads[side] = _some(rng.choice((0.0, 0.1, 0.5)), reads, rng)

    def _change_weather(self) -> None:
        while not self.healing:
            self.scheduler.sleep(self.scheduler.rng.random() * 400.0)
            if not self.healing:
                self._weather()

    def _heal(self) -> None:
        """All is well from now on: what is left to do is done, the audit looks, the day's second reading comes."""
        scheduler = self.scheduler
        self.healing = True
        self.healed_at = scheduler.now
        self.network.calm()
        scheduler.chaos = CALM
        self.tickets.lag = 0.0
        for issue in self.tickets.issues:
            issue.indexed_at = min(issue.indexed_at, scheduler.clock())
        for process in self.processes:
            process.frozen_until = min(process.frozen_until, scheduler.now)
        process = self.process("w")
        process.healer = True
        scheduler.tell("HEAL")
        scheduler.spawn("healer", process, partial(self._work_off, process))

    def _work_off(self, process: Process) -> None:
        scheduler = self.scheduler
        app = self.open(process)
        tasks.begin(app)
        for wait in (0.0, 3700.0, max(RESCAN - scheduler.now, 0.0) + 100.0):  # at once; when the audit looks; after the second reading
            scheduler.sleep(wait)
            for _ in range(80):
                sweep.once(app)
                until = self.next_due(polls=False)
                others, coming = self._others(), scheduler.last_event
                if until > scheduler.now + 4000.0 or self._only_repeats(until):
                    if not others and coming is None:
                        break
                    until = max([coming or 0.0, *(actor.wake_at for actor in others)])
                scheduler.sleep(max(until - scheduler.now, 1.0))
        scheduler.finished = True

    def _others(self) -> list[Actor]:
        """What is still under way in other processes."""
        return [actor for actor in self.scheduler._actors if actor.process is not None and not getattr(actor.process, "healer", False)]

    def _only_repeats(self, until: float) -> bool:
        """Whether nothing is left but open alerts, which are told again and again."""
        if not self.plan.repeats:
            return False
        left = self.rows(
            "SELECT count(*) FROM actions WHERE state IN ('planned', 'sending', 'doubt') AND via <> 'human' AND due_at IS NOT NULL "
            "AND NOT (kind = 'alert' AND remote_id IS NOT NULL)"
        )
        return left[0][0] == 0 and until > self.scheduler.now + 1.0


def _some(rate: float, fates: Sequence[str], rng: Any) -> Mapping[str, float]:
    """A few of the fates, which happen `rate` of the time together."""
    chosen = [rng.choice(fates) for _ in range(rng.choice((1, 2, 4)))]
    shares = [rng.random() for _ in chosen]
    return {fate: rate * share / sum(shares) for fate, share in zip(chosen, shares, strict=True)}


def _let_go(process: Process) -> None:
    """What the kernel does for a dead process: its locks are free."""
    file = process.app.store.owners._file if process.app is not None else None
    if file is not None:
        file.close()


def _begin() -> None:
    """The store as it is after a first start and a first poll, copied into place."""
    template().backup(looking())
    (folder() / "heartbeat.json").unlink(missing_ok=True)  # else the store would look older than it, and put back
    for lock in (folder() / "triage.db.owners").glob("*"):
        lock.unlink()


@cache
def template() -> sqlite3.Connection:
    """An empty store that has made its first poll, with a trigger that notes every change of an action's state."""
    scheduler = Scheduler(0)
    Running.scheduler = scheduler
    world = World(scheduler)
    world.plan = replace(world.plan, chaos=CALM, rescan="6h")
    app = world.open(world.process("template"), role="cli")
    tasks.begin(app)
    intake.catch_up(app, "acme", lambda: None)
    app.store.owners.close()
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    looking().backup(kept)
    kept.executescript("DELETE FROM owners;" + MOVES)
    return kept
