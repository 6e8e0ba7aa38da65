"""A rig with forked workers on it: what cases post, start, kill, stop and wait for."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.acceptance.rig import Rig, read_only
from tests.faults.case import Ground
from tests.faults.zygote import Forked, Zygote, zygote_of
from tests.ledger_check import leaks, reading
from triage.store.schema import actions, mentions

SETTLE = 0.3  # seconds; every time of the service is a multiple of it or scaled down with it
PACE = f"{SETTLE * 1000:g}ms, claim_seconds: 1s"
TICK_SECONDS = 0.1
KEPT_SECONDS = 90.0


class Scene:
    """One run's servers and workers."""

    def __init__(self, ground: Ground, rig: Rig) -> None:
        self.ground = ground
        self.rig = rig
        self.zygote: Zygote = zygote_of(ground.guard)
        self.workers: list[Forked] = []
        self.logs: list[Path] = []
        self.caught: Counter[int] = Counter()  # actions that were under way when their process was killed
        self.begun: set[tuple[int, int]] = set()  # mentions, by number and attempt, that were being judged when a process was killed

    # Processes

    def fork(self, *job: str, failpoints: str = "") -> Forked:
        """A child of the zygote that sees what a process of the rig sees."""
        env = self.rig.env
        if failpoints:
            env |= {"TRIAGE_FAILPOINTS": failpoints, "TRIAGE_FAILPOINT_SEED": str(self.ground.random.random())}
        log = self.rig.folder / f"{len(self.logs)}-{job[0]}.log"
        child = self.zygote.fork(job, env, log)
        self.logs.append(log)
        self.workers.append(child)
        return child

    def worker(self, failpoints: str = "") -> Forked:
        """A worker without a broker."""
        return self.fork("sweep", failpoints=failpoints)

    def watching(self) -> None:
        """Until a worker has made the first poll: what is posted from then on may not be lost."""
        self.until(self.rig._watching, "the first poll")
        self.rig.seen_before = self.rig.seen_before or len(self.rig.mastodon.ledger.entries())

    def count_kill(self, worker: Forked, name: str = "kills") -> None:
        """A worker has died: that it was a kill, and of what it was in the middle."""
        assert worker.code == -9, f"the worker ended with {worker.code} by itself:\n{worker.said[-3000:]}"
        self.ground.notes[name] += 1
        for row in self.actions("sending"):
            self.caught[row["id"]] += 1
            self.ground.notes[f"{row['kind']} caught"] += 1
        judged = sa.select(mentions.c.id, mentions.c.attempt).where(mentions.c.due_at.is_not(None), mentions.c.attempt > 0)
        self.begun |= {(row["id"], row["attempt"]) for row in self.rows(judged)}

    # People

    def answer(self) -> None:
        """Somebody answers every question that waits, and leaves the sending to the workers."""
        tasks = [
            str(row["id"])
            for row in self.actions("planned")
            if row["kind"] == "task" and row["rule"] == "question" and not row["closed_at"]
        ]
        if not tasks:
            return
        child = self.fork("answer", "It is under File, Export.", *tasks)
        assert child.ended(30.0), "the answer hangs"
        assert child.code == 0, child.said

    # What came of it

    def rows(self, statement: sa.Select[Any]) -> list[dict[str, Any]]:
        """Rows of the database, read from outside."""
        with reading(read_only(self.rig.store)) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def actions(self, state: str | None = None) -> list[dict[str, Any]]:
        """The actions, all or those in one state, oldest first."""
        found = self.rows(sa.select(actions).order_by(actions.c.id))
        return [row for row in found if state in (None, row["state"])]

    def stored(self) -> int:
        """How many mentions there are."""
        return len(self.rows(sa.select(mentions.c.id)))

    def until(self, what: Callable[[], bool], name: str, seconds: float = KEPT_SECONDS) -> None:
        """Ask until it is true; AssertionError, with what the workers said, when the time is up."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {name}; {self.tail()}"
            time.sleep(TICK_SECONDS)

    def answer_until(self, what: Callable[[], bool], name: str) -> None:
        """The same, while somebody answers whatever question turns up."""

        def asked() -> bool:
            self.answer()
            return what()

        self.until(asked, name)

    def violations(self) -> list[str]:
        """The broken promises, as things stand."""
        return self.rig.checker().violations()

    def kept(self, seconds: float = KEPT_SECONDS, ignore: Callable[[str], bool] = lambda _: False) -> None:
        """Until every promise is kept. AssertionError with those that are broken when the time is up."""
        deadline = time.monotonic() + seconds
        while left := [one for one in self.violations() if not ignore(one)]:
            twice = [one for one in left if one.startswith("I2")]
            assert not twice, "\n".join([*left, self.tail()])  # that does not mend itself
            assert time.monotonic() < deadline, "\n".join([*left, self.tail()])
            time.sleep(TICK_SECONDS)

    def tail(self) -> str:
        """The end of what the last workers said."""
        return "\n".join(f"--- {log.name} ---\n{log.read_text(errors='replace')[-1500:]}" for log in self.logs[-3:] if log.exists())

    def sums(self) -> None:
        """Note what there was, for the table, and hold parked actions against the kills: one kill alone parks nothing."""
        notes = self.ground.notes
        notes["mentions"] += self.stored()
        notes["sent"] += len(self.rig.checker().tickets) + len(self.rig.checker().comments) + len(self.rig.mastodon.replies)
        notes["parked"] += len(self.actions("parked"))

    def given_up_only_if_caught_twice(self) -> None:
        """One kill alone parks nothing and quarantines nothing: only the second one of the same action, or of the same judging."""
        early = [row["key"] for row in self.actions("parked") if self.caught[row["id"]] < 2]
        assert not early, f"parked after one kill alone: {early}"
        set_aside = self.rows(sa.select(mentions.c.id).where(mentions.c.quarantined.is_not(None)))
        self.ground.notes["quarantined"] += len(set_aside)
        caught = Counter(id_ for id_, _ in self.begun)
        early = [row["id"] for row in set_aside if caught[row["id"]] < 2]
        assert not early, f"quarantined after one kill alone: {early}"

    def end(self) -> None:
        """Every worker ends when asked, and nothing secret is left behind."""
        for worker in self.workers:
            if worker.poll() is None:
                assert worker.end() == 0, worker.said[-3000:]
        rig = self.rig
        assert leaks([rig.mastodon.token, rig.jira.token], store=read_only(rig.store), files=self.logs) == []


@contextmanager
def scene(ground: Ground, *, settle: str = PACE, **more: Any) -> Iterator[Scene]:
    """A scene for the length of a run. Its promises are checked once more at the end, when every worker has ended."""
    with ground.rig(settle=settle, **more) as rig:
        made = Scene(ground, rig)
        try:
            yield made
            made.end()
        except BaseException:
            print(made.tail(), file=sys.stderr)
            raise
        finally:
            for worker in made.workers:
                worker.send_signal(9)


BUGS = ("The harbour view is broken", "Uploading a PNG is broken", "Search is broken on Tuesdays", "Printing is broken", "Sync is broken")
QUESTIONS = ("How do I export?", "Where is the dark mode?", "Can I use it offline?")
ALARMS = ("alarm: I see the numbers of strangers", "alarm, my data went away")


def post_bugs(rig: Rig, count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """So many reports, each a thread of its own."""
    return [rig.mastodon.post(f"author{n % 7}@else.example", f"{BUGS[n % len(BUGS)]}, case {n}") for n in range(first, first + count)]


def post_questions(rig: Rig, count: int) -> list[dict[str, Any]]:
    """So many questions."""
    return [rig.mastodon.post(f"asker{n}@else.example", f"{QUESTIONS[n % len(QUESTIONS)]} (number {n})") for n in range(count)]


def post_alarms(rig: Rig, count: int) -> list[dict[str, Any]]:
    """So many urgent posts."""
    return [rig.mastodon.post(f"urgent{n}@else.example", f"{ALARMS[n % len(ALARMS)]} ({n})") for n in range(count)]


def post_second_reports(rig: Rig, reports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One more report in each of these threads: a comment on its ticket."""
    return [rig.mastodon.post(f"other{n}", f"It is broken for me too, {n}", reply_to=one["id"]) for n, one in enumerate(reports)]
