"""A worker that is stopped in the middle of a send for longer than it takes to doubt, look and try again, and then goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import sqlalchemy as sa

from tests.faults.case import Case, Ground
from tests.faults.scene import SETTLE, Scene, post_alarms, post_bugs, post_questions, scene
from tests.faults.zygote import Forked
from triage.remote import FIRST_BYTE_SECONDS
from triage.store.schema import attempts

LONG = 12 * SETTLE  # a doubt is looked into until 10 settles have passed, and then sent once more
SHORT = 3 * SETTLE
assert SHORT + 0.5 < FIRST_BYTE_SECONDS < LONG - 0.5


def _at(point: str) -> Callable[[Ground], None]:
    def run(ground: Ground) -> None:
        seconds = SHORT if point == "after_intent" and ground.random.random() < 0.5 else LONG
        with scene(ground) as on:
            owner = on.worker(f"{point}=stop#{ground.random.choice([1, 2, 3])}")
            on.watching()
            _post(on)
            assert owner.stopped(60.0), f"nothing passed {point}; {on.tail()}"
            _go_on_after(on, owner, seconds)
            if point == "after_intent" and seconds > FIRST_BYTE_SECONDS:
                late = [row for row in on.rows(sa.select(attempts)) if "lay between the intent and the first byte" in row["detail"]]
                assert late, "an intent that was older than 2 s was sent"
                ground.notes["too late to send"] += len(late)
            on.kept()
            _nothing_parked(on)
            on.sums()

    return run


def _in_the_call(ground: Ground) -> None:
    """The owner is stopped after the request went out and before the answer came."""
    with scene(ground, flavour=ground.random.choice(["cloud", "data_center"])) as on:
        server, path = ground.random.choice([(on.rig.jira, "/issue"), (on.rig.mastodon, "/api/v1/statuses")])
        owner = on.worker()
        on.watching()
        fault = server.faults.add(kind="slow:0.6", method="POST", path=f"{path}$")
        _post(on)
        on.answer_until(lambda: fault.hits > 0, f"a call to {path}")
        owner.send_signal(signal.SIGSTOP)
        assert owner.stopped(10.0)
        _go_on_after(on, owner, LONG)
        on.kept()
        _nothing_parked(on)
        on.sums()


def _post(on: Scene) -> None:
    post_bugs(on.rig, 4)
    post_questions(on.rig, 2)
    post_alarms(on.rig, 1)


def _go_on_after(on: Scene, owner: Forked, seconds: float) -> None:
    """Another worker comes and does what it can. What the stopped one was sending stays the stopped one's."""
    on.ground.notes["stops"] += 1
    held = {row["id"]: row["attempt"] for row in on.actions("sending")}
    done = len(on.actions("done"))
    until = time.monotonic() + seconds
    on.worker()
    while time.monotonic() < until:
        time.sleep(0.1)
    now = {row["id"]: row for row in on.actions()}
    taken = [now[id_]["key"] for id_, attempt in held.items() if (now[id_]["state"], now[id_]["attempt"]) != ("sending", attempt)]
    assert not taken, f"taken from a living owner: {taken}"
    on.ground.notes["held"] += len(held)
    on.ground.notes["done meanwhile"] += len(on.actions("done")) - done
    assert owner.is_stopped
    owner.send_signal(signal.SIGCONT)
    on.until(lambda: _over(on, held), "the owner to go on")
    on.answer()


def _over(on: Scene, held: dict[int, int]) -> bool:
    now = {row["id"]: row for row in on.actions()}
    return all((now[id_]["state"], now[id_]["attempt"]) != ("sending", attempt) for id_, attempt in held.items())


def _nothing_parked(on: Scene) -> None:
    parked = [row["key"] for row in on.actions("parked")]
    assert not parked, f"parked although its owner lived: {parked}"


CASES = (
    Case(
        "stop-after-intent",
        2,
        "SIGSTOP between the intent and the call, then SIGCONT, on both sides of the 2 s limit",
        _at("after_intent"),
        long=10,
    ),
    Case("stop-after-send", 2, "SIGSTOP between the far side's accept and our commit, then SIGCONT", _at("after_send"), long=10),
    Case("stop-in-the-call", 2, "SIGSTOP between the request and its answer, then SIGCONT", _in_the_call, long=10),
)
