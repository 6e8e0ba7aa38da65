"""What the measurements stand on: a service on a store of its own, posts as people write them, and the worker as a process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from triage import config as configuration
from triage.app import App
from triage.classifier import corpus_folder, read_corpus
from triage.contracts import Item, Page
from triage.guard import Guard
from triage.mention import Author, Mention
from triage.sandbox.world import World
from triage.store.schema import mentions, verdicts

START_SECONDS = 90.0
WORK_SECONDS = 300.0
PAGE = 80  # mentions; what Mastodon gives at once
AUTHORS = 1_500
HELD = timedelta(hours=1)
IN_A_THREAD = 0.2  # of the mentions answer an earlier one
NEAR = 100  # mentions; people answer what they have just read

# In observe mode what is routed waits for nobody, so that the worker does not deliver while its routing is measured.
CONFIG = """\
mode: observe
state: {folder}
store: "{store}"
sources:
  acme: {{platform: memory, every: 1h}}
trackers:
  tickets: {{tracker: memory}}
notifiers:
  oncall: {{notifier: memory}}
log:
  level: error
"""


@dataclass(frozen=True, slots=True)
class Post:
    """What somebody wrote, and the label that its author meant."""

    text: str
    label: str
    language: str


@cache
def posts() -> Sequence[Post]:
    """The project's own writing: the corpus and the demo's world, in one order that is always the same."""
    found = [Post(post.text, str(post.label), post.lang) for post in read_corpus(corpus_folder()).posts]
    found += [Post(post["text"], post["label"] or "noise", post["lang"] or "") for post in World.load().posts]
    random.Random(1).shuffle(found)
    return found


def items(count: int, *, first: int = 0) -> list[Item]:
    """`count` mentions as a platform yields them, numbered from `first`; the same numbers give the same mentions."""
    written, now = posts(), datetime.now(UTC)
    made: list[Item] = []
    for number in range(first, first + count):
        draw = random.Random(number)
        post, name = written[number % len(written)], f"writer{draw.randrange(AUTHORS)}"
        uri = f"https://bench.example/users/{name}/statuses/{number}"
        parent = str(draw.randrange(max(first, number - NEAR), number)) if number > first and draw.random() < IN_A_THREAD else None
        mention = Mention(
            uri=uri,
            platform="mastodon",
            source="acme",
            remote_id=str(number),
            author=Author(
                f"{name}@bench.example", name=name.title(), url=f"https://bench.example/@{name}", followers=draw.randrange(3_000)
            ),
            text=f"@acme {post.text}",
            created_at=now - timedelta(seconds=first + count - number),
            url=uri,
            parent_id=parent,
            language=post.language or None,
        )
        made.append(Item(mention.remote_id, json.dumps({"id": number, "content": post.text}).encode(), mention=mention))
    return made


class Stage:
    """A service whose far sides are in memory, on the store at `store`. Use it as a context manager."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.format(folder=folder, store=store))
        self.app = App(configuration.load(self.config, {}), role="bench")
        self.app.store.inbox.add_source("acme", self.app.clock.now(), self.app.clock.now() + timedelta(days=1))
        self._stored = 0

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()

    def store(self, count: int, *, held: bool = False) -> list[int]:
        """Store so many more mentions, page by page; their ids. `held` ones are due only after `let_go`, whatever a sweep finds."""
        made = items(count, first=self._stored)
        self._stored += count
        ids: list[int] = []
        for start in range(0, count, PAGE):
            page, now = Page(tuple(made[start : start + PAGE]), ""), self.app.clock.now() + HELD * held
            ids += self.app.store.inbox.add_page("acme", page, expect=None, now=now).new
        return ids

    def let_go(self) -> None:
        """The held mentions are due from now on."""
        now = self.app.clock.now()
        with self.app.store.database.write() as connection:
            connection.execute(sa.update(mentions).where(mentions.c.due_at > now).values(due_at=now))

    def waiting(self) -> int:
        """How many mentions are not routed yet."""
        with self.app.store.database.read() as connection:
            return int(connection.scalar(sa.select(sa.func.count()).where(mentions.c.due_at.is_not(None))) or 0)

    def check(self) -> None:
        """Every mention was judged once: a figure for work that was not done is none."""
        with self.app.store.database.read() as connection:
            judged = connection.scalar(sa.select(sa.func.count(sa.distinct(verdicts.c.mention_id))))
            written = connection.scalar(sa.select(sa.func.count()).select_from(verdicts))
        if not judged == written == self._stored:
            raise RuntimeError(f"{self._stored} mentions were stored, but {judged} were judged in {written} verdicts")

    def worker(self, guard: Guard, redis_url: str) -> subprocess.Popen[bytes]:
        """Start `triage worker` on this store and wait until it is warm: the classifier is loaded and it has swept once."""
        beat = self.folder / "worker.heartbeat"
        env = environment(TRIAGE_CONFIG=str(self.config), TRIAGE_HEARTBEAT=str(beat), REDIS_URL=redis_url)
        process = guard.start([sys.executable, "-m", "triage", "worker"], env=env)
        wait(beat.exists, START_SECONDS, "the worker to start", process)
        return process


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that is measured: ours without what would set the service up otherwise."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith("TRIAGE_") and name not in ("DATABASE_URL", "REDIS_URL")
    }
    return ours | more


def wait(
    what: Callable[[], bool], seconds: float, name: str, process: subprocess.Popen[bytes] | None = None, *, every: float = 0.02
) -> None:
    """Ask until it is true. RuntimeError when the time is up, or when the process that should do it has ended."""
    deadline = time.monotonic() + seconds
    while not what():
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"waited for {name}, but its process ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:.0f} s in vain for {name}")
        time.sleep(every)


@contextmanager
def stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Keep a process from working for the length of the block, so that all its work lies ready when it goes on."""
    os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.pid, signal.SIGCONT)


def rss_megabytes(pid: int) -> float:
    """The resident memory of a process, shared pages included, in units of 1,000,000 bytes."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    return int(said) * 1024 / 1e6


def tell(text: str) -> None:
    """Say how far we are, beside the table."""
    print(text, file=sys.stderr, flush=True)


Sizes = Mapping[str, int]
