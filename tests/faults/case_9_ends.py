"""A full disk at any commit, and an end that is asked for at any moment."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.engine import make_url

from tests.acceptance.rig import Rig
from tests.faults.case import Case, Ground
from tests.faults.inside import Inside, inside, settle
from tests.fixtures_services import eventually
from triage.errors import StoreError
from triage.pipeline import deliver, intake, judge

POSTS = ("{} is broken", "{} is broken, too", "How do I use {}?", "{} is lovely", "alarm: {} is gone")


def post(ground: Ground, rig: Rig, length: int = 400) -> None:
    """One of them, with so much text."""
    words = ground.random.choice(POSTS).format(f"thing {ground.notes['posts']}")
    rig.mastodon.post(f"author{ground.notes['posts'] % 5}@else.example", words + " and so on" * (length // 10))
    ground.notes["posts"] += 1


def full(ground: Ground, app: Inside, verb: Callable[..., object], *arguments: object) -> None:
    """Do it on the full disk: it works or says in one sentence that the disk is full."""
    try:
        verb(app, *arguments)
    except StoreError as error:
        if "is full" not in str(error):
            raise AssertionError(f"it says: {error}") from error
        ground.notes["full"] += 1


def work(ground: Ground, app: Inside) -> None:
    """Every verb in turn, as the sweep would, each on its own."""
    for name in app.sources:
        full(ground, app, intake.poll, [name])
    full(ground, app, judge.process)
    with app.store.database.read() as connection:
        ids = list(connection.scalars(sa.text("SELECT id FROM actions WHERE state IN ('planned', 'doubt') ORDER BY id")))
    for id_ in ids:
        full(ground, app, deliver.deliver, [id_])
        full(ground, app, deliver.reconcile, [id_])
    full(ground, app, Inside.pass_)


def disk_full(ground: Ground) -> None:
    """The disk is full again and again, each time with a little more room than before, so that each commit meets it once."""
    if ground.store.startswith("sqlite"):
        _sqlite_full(ground)
    else:
        _postgres_full(ground)


def _sqlite_full(ground: Ground) -> None:
    with ground.rig() as rig, inside(rig) as app:
        limit = {"pages": 0}

        @sa.event.listens_for(app.store.database.engine, "begin")
        def _limit(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count={limit['pages'] or 1_000_000}")

        for room in range(6):
            for _ in range(4):
                post(ground, rig)
            with app.store.database.read() as connection:
                limit["pages"] = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one()) + room
            for _ in range(3):
                app.clock.ahead += deliver.JUDGE_FIRST
                work(ground, app)
            limit["pages"] = 0
            settle(rig, app, passes=40)
        assert ground.notes["full"], "the disk was never full"


@contextmanager
def small_disk(ground: Ground, mebibytes: int) -> Iterator[Path]:
    """A file system of so many MiB. Skips, with words, where it can't be made."""
    place = ground.guard.folder("triage-disk-")
    place.chmod(0o755)
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", place], capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def _postgres_full(ground: Ground) -> None:
    """The database's tables lie on a small disk of their own; the server's journal does not, as on a well-kept server."""
    url = make_url(ground.store)
    name = sql.Identifier(f"{url.database}_small")
    plain = url.set(drivername="postgresql", database="postgres").render_as_string(hide_password=False)
    with small_disk(ground, 24) as disk, closing(psycopg.connect(plain, autocommit=True)) as server:
        place = disk / "tables"
        place.mkdir()
        who = pwd.getpwnam("nobody")
        os.chown(place, who.pw_uid, who.pw_gid)
        database = sql.Identifier(str(url.database))
        server.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(name, str(place)))
        server.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE {}").format(database, name))
        try:
            with ground.rig() as rig, inside(rig) as app:
                for room in range(6):
                    for _ in range(12):
                        post(ground, rig, 9000)
                    stuffing = _fill(disk, room * 16384)
                    for _ in range(3):
                        app.clock.ahead += deliver.JUDGE_FIRST
                        work(ground, app)
                    stuffing.unlink()
                    settle(rig, app, passes=40)
                assert ground.notes["full"], "the disk was never full"
        finally:
            server.execute(sql.SQL("ALTER DATABASE {} SET TABLESPACE pg_default").format(database))
            server.execute(sql.SQL("DROP TABLESPACE {}").format(name))


def _fill(disk: Path, leave: int) -> Path:
    """A file that takes all that is left of a disk but so many bytes."""
    path = disk / "stuffing"
    seen = os.statvfs(disk)
    with path.open("wb") as file:
        left = max(0, seen.f_bavail * seen.f_frsize - leave)
        file.write(b"\0" * left)
    return path


def asked_in_mid_call(ground: Ground) -> None:
    """SIGTERM while tickets are being filed: it ends within the grace, what was sent is known or in doubt, and nothing is sent twice."""
    with ground.rig() as rig:
        with rig.forked("worker") as worker:
            rig.await_work(worker)
            rig.jira.faults.add(kind=ground.random.choice(["slow:1.5", "slow:0.4", "drip:0.01"]), method="POST", path="/issue", times=None)
            for _ in range(6):
                rig.mastodon.post("author@else.example", f"Thing {ground.notes['posts']} is broken")
                ground.notes["posts"] += 1
            asked = rig.jira.requests
            assert eventually(lambda: len(rig.jira.requests) > len(asked), 30.0)
            time.sleep(ground.random.uniform(0.0, 1.0))
            began = time.monotonic()
            worker.ask(signal.SIGTERM)
            code = worker.ended(60.0)
            assert code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), f"{code}:\n{worker.said[-2000:]}"
            ground.notes["slowest ms to end"] = max(ground.notes["slowest ms to end"], int(1000 * (time.monotonic() - began)))
            sending = [row for row in rig.checker().database["actions"] if row["state"] == "sending"]
            ground.notes["left in doubt"] += len(sending)
        rig.jira.faults.clear()
        with inside(rig) as app:
            rig.seen_before = 0
            settle(rig, app, passes=40)
        assert len(rig.jira.tickets) == 6


def asked_while_starting(ground: Ground) -> None:
    """SIGTERM, again and again, at any moment of the start: each ends soon, and the next start finds all well."""
    with ground.rig() as rig:
        for _ in range(4):
            with rig.celery("worker") as worker:
                time.sleep(ground.random.uniform(0.0, 6.0))
                for _ in range(ground.random.choice([1, 1, 3])):
                    if worker.process.poll() is None:
                        worker.ask(signal.SIGTERM)
                    time.sleep(0.05)
                code = worker.ended(60.0)
                assert code in (0, 1, 128 + signal.SIGTERM, -signal.SIGTERM), f"{code}:\n{worker.said[-2000:]}"
                assert "Traceback" not in worker.said, worker.said[-3000:]
                ground.notes[f"ended with {code}"] += 1
        with inside(rig) as app:
            for _ in range(4):
                post(ground, rig)
            settle(rig, app, passes=20)


CASES = (
    Case("disk-full", 9, "The disk is full at each commit", disk_full, long=5, short_stores=("sqlite",)),
    Case("sigterm-in-call", 9, "SIGTERM while a ticket is being filed", asked_in_mid_call, stores=("sqlite", "postgresql")),
    Case(
        "sigterm-at-start",
        9,
        "SIGTERM, also three times, at any moment of a worker's start",
        asked_while_starting,
        stores=("sqlite",),
        long=5,
    ),
)
