"""Redis is only the doorbell: whatever happens to it, and whatever is put into it, the service is slower and nothing else."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.acceptance.rig import Rig, Running
from tests.faults.case import Case, Ground
from tests.faults.redis_server import CONTINUE, MEMORY, QUEUE, STOP, RedisServer, SlowWire, heard_after, memory_of, message, silent
from tests.fixtures_services import eventually

POSTS = ("{} is broken", "How do I use {}?", "{} is lovely", "alarm: {} is gone", "Perhaps {} is odd")
GROWTH = 120 * 2**20  # what a worker may grow by in a flood: a message of 10 MB is parsed, and a heap does not shrink


def load(ground: Ground, rig: Rig, count: int, seconds: float = 0.0) -> None:
    """Some posts of every kind, spread over so many seconds."""
    for _ in range(count):
        number = ground.notes["posts"]
        rig.mastodon.post(f"author{number % 7}@else.example", ground.random.choice(POSTS).format(f"thing {number}"))
        ground.notes["posts"] += 1
        time.sleep(seconds / count)


@contextmanager
def at_work(ground: Ground, rig: Rig) -> Iterator[Running]:
    """A worker and a beat; both must still be there at the end, and end when they are asked to."""
    with rig.forked("worker") as worker, rig.celery("beat") as beat:
        rig.await_work(worker)
        yield worker
        for run in (worker, beat):
            assert run.process.poll() is None, f"{run.name} ended with {run.process.returncode}:\n{run.said[-3000:]}"
        said = beat.said
        assert said.count("Traceback") == 0, f"an outage is said in one line:\n{said[:3000]}"
        ground.notes["log lines about Redis"] += worker.said.count("consumer:")


def is_rung(ground: Ground, worker: Running, what: str) -> None:
    """A ring must reach the worker from now on."""
    began = time.monotonic()
    assert heard_after(worker, len(worker.said)), f"after {what} the worker is deaf:\n{worker.said[-3000:]}"
    ground.notes["rung again"] += 1
    ground.notes["slowest ms until rung"] = max(ground.notes["slowest ms until rung"], int(1000 * (time.monotonic() - began)))


# What may happen to a Redis. Each ends with a server that is well.


def killed(ground: Ground, rig: Rig, server: RedisServer) -> None:
    server.kill()
    load(ground, rig, 3, ground.random.uniform(0, 2))
    server.start()


def flushed(ground: Ground, rig: Rig, server: RedisServer) -> None:
    for _ in range(5):
        load(ground, rig, 1, ground.random.uniform(0, 0.4))
        server.client.flushall()


def full(ground: Ground, rig: Rig, server: RedisServer) -> None:
    server.client.config_set("maxmemory", 1)
    load(ground, rig, 3, 3)
    server.client.config_set("maxmemory", MEMORY)


def slow(ground: Ground, rig: Rig, server: RedisServer) -> None:
    for seconds in (0.5, 1, 2):
        server.client.client_pause(int(seconds * 1000))
        load(ground, rig, 1, seconds)


def stopped(ground: Ground, rig: Rig, server: RedisServer) -> None:
    server.signal(STOP)
    load(ground, rig, 3, ground.random.choice([1, 4, 8]))
    server.signal(CONTINUE)


def replica(ground: Ground, rig: Rig, server: RedisServer) -> None:
    server.client.replicaof("127.0.0.1", 1)
    load(ground, rig, 3, 3)
    server.client.replicaof("NO", "ONE")


def alone(ground: Ground, rig: Rig, server: RedisServer) -> None:
    server.client.config_set("min-replicas-to-write", 1)
    load(ground, rig, 3, 3)
    server.client.config_set("min-replicas-to-write", 0)


def cut_off(ground: Ground, rig: Rig, server: RedisServer) -> None:
    for _ in range(3):
        load(ground, rig, 1, ground.random.uniform(0, 0.5))
        server.client.client_kill_filter(_type="normal", skipme=True)


FAULTS: tuple[Callable[[Ground, Rig, RedisServer], None], ...] = (killed, flushed, full, slow, stopped, replica, alone, cut_off)


def fails(ground: Ground) -> None:
    """Everything that can happen to it, in random order, with work coming in all the time."""
    _suffer(ground, [*FAULTS, killed, killed])


def killed_often(ground: Ground) -> None:
    """Killed and started again twenty times."""
    _suffer(ground, [killed] * 20)


def flushed_often(ground: Ground) -> None:
    """FLUSHALL a hundred times."""
    _suffer(ground, [flushed] * 20)


def _suffer(ground: Ground, faults: list[Callable[[Ground, Rig, RedisServer], None]]) -> None:
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    ground.random.shuffle(faults)
    with ground.rig(redis=server.url) as rig:
        with at_work(ground, rig) as worker:
            for fault in faults:
                fault(ground, rig, server)
                ground.notes[fault.__name__.replace("_", " ")] += 1
                is_rung(ground, worker, fault.__name__)
            rig.settle(90.0)
        server.kill()


def away(ground: Ground) -> None:
    """From the start nobody listens; then somebody who never answers; both times all the work is done. Then Redis is there, and rings."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    with ground.rig(redis=server.url) as rig:
        with at_work(ground, rig) as worker:
            load(ground, rig, 8)
            rig.settle(60.0)
            with silent(server.port):
                time.sleep(ground.random.uniform(1, 4))
                load(ground, rig, 8)
                rig.settle(60.0)
            assert "Task triage." not in worker.said
            server.start()
            is_rung(ground, worker, "having been away")
            load(ground, rig, 2)
            rig.settle(60.0)
        server.kill()


def slow_wire(ground: Ground) -> None:
    """Each answer of Redis takes a second, for the whole run: posts become tickets as ever, and the worker is rung."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    with SlowWire(server.port) as wire, ground.rig(redis=f"redis://127.0.0.1:{wire.port}/0") as rig:
        with at_work(ground, rig) as worker:
            wire.delay = ground.random.choice([0.3, 1.0])
            load(ground, rig, 10, 5)
            rig.settle(60.0)
            is_rung(ground, worker, "answers that come late")
            wire.delay = 0.0
        server.kill()


def only_the_bell(ground: Ground) -> None:
    """A worker that would sweep once in a quarter of an hour still files at once what it is rung for, before and after Redis was away."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    with ground.rig(redis=server.url, sweep="900s") as rig:
        with at_work(ground, rig):
            for turn in range(3):
                load(ground, rig, 3)
                rig.settle(90.0)
                ground.notes["done by the bell alone"] += 1
                if turn < 2:
                    server.kill()
                    time.sleep(ground.random.uniform(0, 5))
                    server.start()
        server.kill()


# What may be put into a Redis


def forged(ids: list[int]) -> list[str]:
    """What somebody who can write to Redis may send. None of it may do more than ring."""
    task = "triage.deliver"
    return [
        *("not json at all", "", "5", "[1]", "{}", "null", '{"body": "x", "properties": null, "headers": {}}'),
        json.dumps({"body": "", "properties": {"delivery_tag": "1", "delivery_info": {}}}),
        *(message(task, [[value]]) for value in (-1, 0, 2**70, "1", {"id": 1}, None, 1.5, True, [1])),
        *(message(task, arguments) for arguments in (["abc"], [], [1, 2, 3], [ids, ids], [{"ids": ids}])),
        message("triage.poll", [["nobody", 5, {"name": "quayside"}, "../../etc/passwd"]]),
        message("triage.poll", [ids]),
        message("triage.process", [["quayside"]]),
        message("os.system", ["true"]),
        message("celery.backend_cleanup", []),
        message(None, [ids]),
        message(["x"], [ids]),
        message(task, [], content_type="application/x-python-serialize", body=pickle.dumps([[ids], {}, {}])),
        message(task, [], content_type="application/x-yaml", body=b"[[[1]], {}, {}]"),
        message(task, [], content_type="application/data", body=b"\x00\xff\xfe"),
        message(task, [], body=b"[" * 200_000),
        message(task, [ids], eta="2099-01-01T00:00:00"),
        message(task, [ids], eta="junk"),
        message(task, [ids], expires="junk"),
        message(task, [ids], timelimit="x", group="g", chord={"task": "os.system"}),
        message(task, [ids]).replace('"body": "', '"body": "!!!'),
        message(task, [ids]).replace('"headers": {', '"headers": null, "h": {'),
    ]


def messages(ground: Ground) -> None:
    """Every message five times in reverse order, forged ones, one of 10 MB, a flood: once is once, and the worker stays as it is."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    theirs = server.reader
    theirs.hset("unacked", "theirs", json.dumps([{"body": "", "headers": {}, "properties": {}}, "theirs", "theirs"]))
    theirs.zadd("unacked_index", {"theirs": 1.0})
    theirs.set("cache:page", "theirs")
    theirs.rpush("celery", "theirs")
    with ground.rig(redis=server.url) as rig:
        with at_work(ground, rig) as worker:
            load(ground, rig, 10)
            rig.settle(60.0)
            rows = rig.checker().database
            ids = [row["id"] for row in rows["actions"]]
            mentions = [row["id"] for row in rows["mentions"]]
            load(ground, rig, 10)
            rings = [message("triage.poll", [["quayside"]]), message("triage.tick", [[]])]
            rings += [message("triage.process", [[id_]]) for id_ in range(1, max(mentions) + 20)]
            rings += [message(f"triage.{verb}", [[id_]]) for verb in ("deliver", "reconcile") for id_ in range(1, max(ids) + 40)]
            for ring in reversed(rings):
                server.client.lpush(QUEUE, *[ring] * 5)
            ground.notes["repeated"] += 5 * len(rings)
            lies = forged(ids)
            ground.random.shuffle(lies)
            server.client.lpush(QUEUE, *lies)
            ground.notes["forged"] += len(lies)
            rig.settle(90.0)
            assert eventually(lambda: server.client.llen(QUEUE) < 50, 90.0), "the worker does not listen any more"
            is_rung(ground, worker, "forged messages")
            before = memory_of(worker.process.pid)
            server.client.lpush(QUEUE, message("triage.deliver", [list(range(1, 1_300_000))]))
            for _ in range(20):
                kind = ground.random.choice(["tick", "deliver", "process"])
                one = message(f"triage.{kind}", [[] if kind == "tick" else ids[:50]])
                server.client.lpush(QUEUE, *[one] * 500)
            ground.notes["flood"] += 10_000
            load(ground, rig, 5)
            rig.settle(120.0)
            assert eventually(lambda: server.client.llen(QUEUE) < 50, 180.0), f"{server.client.llen(QUEUE)} rings wait"
            grown = memory_of(worker.process.pid) - before
            ground.notes["most MiB grown"] = max(ground.notes["most MiB grown"], grown >> 20)
            assert grown < GROWTH, f"the worker grew by {grown >> 20} MiB"
            is_rung(ground, worker, "a flood")
            rig.settle(60.0)
        server.client.delete(QUEUE)
        kept = {str(key) for key in theirs.keys("*") if not str(key).startswith((QUEUE, "_kombu"))}
        assert kept == {"unacked", "unacked_index", "cache:page", "celery"}, f"keys that are not ours changed: {kept}"
        assert theirs.hget("unacked", "theirs")
        assert theirs.zscore("unacked_index", "theirs") == 1.0
        assert theirs.lrange("celery", 0, -1) == ["theirs"]
        server.kill()


def nobody_hears(ground: Ground) -> None:
    """Two beats ring while no worker runs: what waits in Redis has a bound."""
    server = RedisServer(ground.folder / "redis", ground.guard)
    server.start()
    with ground.rig(redis=server.url) as rig:
        rig.once()
        rig.seen_before = len(rig.mastodon.ledger.entries())
        server.client.lpush(QUEUE, *[message("triage.tick", [[]])] * 1000)
        with rig.forked("beat"), rig.celery("beat"):
            assert eventually(lambda: server.calls("llen") >= 4 * 6, 60.0)  # a queue is four lists, one a priority
        assert server.client.llen(QUEUE) == 1000
        ground.notes["rings held back"] += 6
        load(ground, rig, 3)
        rig.once()
        rig.settle(30.0)
        server.kill()


CASES = (
    Case(
        "redis-fails",
        5,
        "Redis killed, flushed, full, slow, stopped, read-only, cut off, in random order",
        fails,
        short_stores=("sqlite",),
        long=8,
    ),
    Case("redis-killed-20", 5, "Redis killed and restarted twenty times in a run", killed_often, short=0, long=3),
    Case("redis-flushed-100", 5, "`FLUSHALL` a hundred times in a run", flushed_often, short=0, long=3),
    Case("redis-away", 5, "Redis away, then silent, for the whole run; then there", away, short_stores=("postgresql",), long=8),
    Case("redis-slow", 5, "Redis answers each time up to a second late", slow_wire, short=0, long=5),
    Case("redis-bell", 5, "Only the bell wakes the worker, before and after Redis was killed", only_the_bell, long=5, stores=("sqlite",)),
    Case(
        "redis-messages",
        5,
        "Messages five times in reverse, forged, 10 MB long, a flood of 10,000",
        messages,
        short=0,  # test_doorbell sends the same rubbish to a real worker
        stores=("postgresql",),
        long=3,
    ),
    Case("redis-nobody", 5, "Beat rings and no worker listens: what waits has a bound", nobody_hears, stores=("sqlite",), long=3),
)
