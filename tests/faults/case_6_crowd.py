"""Two beats, two pollers, three sweepers and eight workers at once on one store: everything once."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from tests.acceptance.rig import CHECKOUT, Rig, read_only
from tests.faults.case import Case, Ground
from tests.faults.redis_server import RedisServer
from tests.fixtures_services import eventually
from tests.ledger_check import reading

POSTS = ("{} is broken", "{} is broken, too", "How do I use {}?", "{} is lovely", "alarm: {} is gone", "Perhaps {} is odd")
CROWD = ("worker*8", "sweeper*3", "poller*2", "beat*2")


ALL = 8 + 3  # workers and sweepers; beats don't touch the store, and pollers claim nothing


def at_work(rig: Rig) -> int:
    """How many processes have taken the lock that says that they live."""
    try:
        with reading(read_only(rig.store)) as connection:
            return int(connection.scalar(sa.text("SELECT count(*) FROM owners")) or 0)
    except sa.exc.SQLAlchemyError:
        return 0  # there is no database yet, or no table in it


def crowd(ground: Ground) -> None:
    """Bursts of reports, several in one thread, while the tracker answers now and then with a cut connection."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    argv = [sys.executable, "-m", "tests.faults.crowd", *CROWD]
    with ground.rig(redis=server.url, sweep="50ms") as rig:
        with rig.running("crowd", argv, cwd=CHECKOUT, env={"TRIAGE_DELIVERY__CLAIM_SECONDS": "10s"}) as run:
            assert eventually(lambda: at_work(rig) >= ALL, 240.0), f"{at_work(rig)} are at work:\n{run.said[-3000:]}"
            rig.await_work(run)
            rig.jira.faults.add(kind="reset_after", method="POST", path="/issue", times=None, probability=0.05, seed=ground.seed)
            threads: list[str] = []
            for number in range(80):
                text = ground.random.choice(POSTS).format(f"thing {number}")
                to = ground.random.choice(threads) if threads and ground.random.random() < 0.4 else None
                threads.append(rig.mastodon.post(f"author{number % 7}@else.example", text, reply_to=to)["id"])
                ground.notes["posts"] += 1
            rig.settle(240.0)
            ground.notes["cut after accept"] += sum(fault.hits for fault in rig.jira.faults.rules)
            run.ask()
            assert run.ended(90.0) == 0, run.said[-3000:]
            assert "deadlock" not in run.said.lower()
        server.kill()


CASES = (
    Case(
        "crowd",
        6,
        "Two beats, two pollers, three sweepers, eight workers at once on one store",
        crowd,
        short_stores=("postgresql",),
        long=8,
    ),
)
