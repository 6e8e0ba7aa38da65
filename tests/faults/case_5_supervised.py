"""What `triage up` looks after is replaced when it exits, is killed, hangs, or lives on without doing its work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import redis

from tests.acceptance.rig import Rig, Running
from tests.faults.case import Case, Ground
from tests.fixtures_services import eventually
from triage import broker

HANG = "TRIAGE_DELIVERY__HANG"
ROLES = ("broker", "worker", "beat", "web")


def pids(rig: Rig) -> dict[str, int]:
    """The supervised processes by their role."""
    found = {}
    for line in rig.left():
        pid, _, command = line.partition(" ")
        for role in ("worker", "beat", "web"):
            if command.split()[-3:] == ["-m", "triage", role]:
                found[role] = int(pid)
    served = broker.command(
        rig.folder / "state", {"PATH": os.environ["PATH"]}
    )  # it writes over its environment, so `left` does not know it
    assert served is not None
    with suppress(redis.RedisError), closing(redis.Redis(unix_socket_path=str(served.socket), socket_timeout=1)) as client:
        found["broker"] = int(client.info("server")["process_id"])
    return found


@contextmanager
def supervised(rig: Rig, hang: str = "3s", **env: str) -> Iterator[Running]:
    """`triage up`, all four there, that takes a process for hung after so long."""
    with rig.command("up", env={HANG: hang} | env) as run:
        rig.await_work(run)
        assert eventually(lambda: set(pids(rig)) == set(ROLES), 180.0), pids(rig)
        yield run


def replaced(ground: Ground, rig: Rig, role: str, old: int) -> None:
    """Another process has taken its place, within a time that a hang, a grace and a start take."""
    assert eventually(lambda: pids(rig).get(role, old) != old, 180.0), f"{role} was not replaced"
    ground.notes[f"{role} replaced"] += 1


def attack(number: int) -> Callable[[Ground, Rig, str], None]:
    """Send a signal to a process of this role."""

    def send(ground: Ground, rig: Rig, role: str) -> None:
        old = pids(rig)[role]
        # In mid-call more often than not: the tracker is slow to answer.
        rig.mastodon.post("author@else.example", f"Thing {ground.notes['posts']} is broken")
        ground.notes["posts"] += 1
        time.sleep(ground.random.uniform(0.0, 1.5))
        os.kill(old, number)
        ground.notes[signal.Signals(number).name] += 1
        replaced(ground, rig, role, old)

    return send


def _attacked(ground: Ground, attacks: Sequence[tuple[int, str]]) -> None:
    with ground.rig() as rig, supervised(rig) as run:
        rig.jira.faults.add(kind="slow:0.6", method="POST", path="/issue", times=None)
        for number, role in attacks:
            attack(number)(ground, rig, role)
        rig.settle(120.0)
        assert eventually(lambda: set(pids(rig)) == set(ROLES), 180.0), pids(rig)
        assert "Traceback" not in run.said, run.said[-3000:]


def attacked(ground: Ground) -> None:
    """Each process is killed or stopped once; the worker both."""
    attacks = [(ground.random.choice([signal.SIGKILL, signal.SIGSTOP]), role) for role in ("broker", "beat", "web")]
    attacks += [(signal.SIGKILL, "worker"), (signal.SIGSTOP, "worker")]
    ground.random.shuffle(attacks)
    _attacked(ground, attacks)


def sweep_dies(ground: Ground) -> None:
    """The sweep thread of each worker dies after a while, and the process would live on: it ends itself, and is replaced."""
    with ground.rig() as rig, supervised(rig, TRIAGE_FAILPOINTS="after_sweep=raise@0.05") as run:
        old = pids(rig)["worker"]
        for number in range(5):
            rig.mastodon.post("author@else.example", f"Thing {number} is broken")
            ground.notes["posts"] += 1
        replaced(ground, rig, "worker", old)
        assert "the sweep has died" in run.said
        rig.settle(120.0)


def seldom_sweeps(ground: Ground) -> None:
    """A worker that sweeps once in a quarter of an hour gives a sign of life all the same, and is left alone."""
    with ground.rig(sweep="900s") as rig, supervised(rig, hang="2s") as run:
        before = pids(rig)
        time.sleep(8)
        assert pids(rig) == before, run.said[-3000:]
        rig.mastodon.post("author@else.example", "This is broken")
        rig.settle(60.0)


def stopped_briefly(ground: Ground) -> None:
    """A stop that is shorter than the hang, in mid-call, is no death: nothing is replaced and nothing is sent twice."""
    with ground.rig() as rig, supervised(rig, hang="20s") as run:
        before = pids(rig)
        rig.jira.faults.add(kind="slow:0.6", method="POST", path="/issue", times=None)
        for number in range(4):
            rig.mastodon.post("author@else.example", f"Thing {number} is broken")
            time.sleep(ground.random.uniform(0.0, 1.2))
            os.kill(before["worker"], signal.SIGSTOP)
            time.sleep(ground.random.uniform(0.5, 4.0))
            os.kill(before["worker"], signal.SIGCONT)
            ground.notes["stops"] += 1
        rig.settle(60.0)
        assert pids(rig) == before, run.said[-3000:]


CASES = (
    Case(
        "supervised",
        5,
        "Processes of `triage up` killed and stopped, in mid-call too: each is replaced",
        attacked,
        long=5,
        short_stores=("sqlite",),
    ),
    Case("supervised-sweep", 5, "A worker whose sweep has died while the process lives: replaced", sweep_dies, stores=("sqlite",), long=5),
    Case("supervised-seldom", 5, "A worker that sweeps seldom is not taken for hung", seldom_sweeps, short=0, long=2, stores=("sqlite",)),
    Case("supervised-stopped", 5, "A worker stopped for less than the hang: left alone", stopped_briefly, short=0, long=5),
)
