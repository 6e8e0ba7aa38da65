"""Two at the same boost: two people who click, a person who takes it back and the worker who sends it, the last room of the day.

The far side's own list (`acme.boosts`) tells what was made, the attempts how often it was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.service import Service, service
from triage.errors import UserError
from triage.mention import State
from triage.pipeline import boosting
from triage.pipeline.deliver import deliver

ROUNDS = 20
HOLD = 15.0
MORE = "boosts: {{allies: ['*'], daily: {daily}}}\n"


@pytest.fixture
def make(store_url: str, tmp_path: Path) -> Iterator[Callable[..., tuple[Service, Service]]]:
    """Two processes on one store that talk to the same far side."""
    made: list[Service] = []

    def build(daily: int) -> tuple[Service, Service]:
        app = service(tmp_path, store_url, rules=MORE.format(daily=daily))
        other = service(tmp_path, store_url, rules=MORE.format(daily=daily), clock=app.clock, started=False)
        other._made["platforms", "acme"] = app.acme
        made.extend((app, other))
        return app, other

    yield build
    for one in made:
        one.close()


def praised(app: Service, count: int) -> list[int]:
    posts = [app.acme.post(f"noor{number}@x.example", f"I love part {number}") for number in range(count)]
    app.pass_()
    return [app.store.desk.mention_id(post.uri) for post in posts]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each of the calls returned or refused with, begun at the same moment."""
    start = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        start.wait()
        try:
            return call()
        except UserError as refused:
            return refused

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def test_of_two_who_boost_one_wins(make: Callable[..., tuple[Service, Service]]) -> None:
    """The other is told who it was; two workers that send it make one boost."""
    app, other = make(ROUNDS)
    mentions = praised(app, ROUNDS)
    for mention in mentions:
        found = at_once(partial(boosting.ask, app, mention, "ana"), partial(boosting.ask, other, mention, "bo"))
        refused = [one for one in found if isinstance(one, UserError)]
        assert len(refused) == 1
        winner = "ana" if isinstance(found[1], UserError) else "bo"
        assert f"{winner} asked for its boost" in str(refused[0])
    app.clock.move(seconds=HOLD)
    ids = [row["id"] for row in app.actions("boost")]
    assert len(ids) == ROUNDS
    at_once(partial(deliver, app, ids), partial(deliver, other, ids))
    assert len(app.acme.boosts) == len(set(app.acme.boosts)) == ROUNDS
    assert {(row["state"], row["attempt"]) for row in app.actions("boost")} == {("done", 1)}


def test_of_taking_back_and_sending_one_wins(make: Callable[..., tuple[Service, Service]]) -> None:
    """Never a boost that somebody was told is taken back."""
    app, other = make(ROUNDS)
    for mention in praised(app, ROUNDS):
        action = boosting.ask(app, mention, "ana")
        app.clock.move(seconds=HOLD)
        post = app.store.items.look(mention).mention
        assert post is not None
        found, _ = at_once(partial(boosting.take_back, app, mention, "ana"), partial(deliver, other, [action]))
        deliver(other, [action])
        state = app.store.outbox.row(action)["state"]
        if isinstance(found, UserError):
            assert (state, post.remote_id in app.acme.boosts) == (State.DONE, True), str(found)
        else:
            assert (state, post.remote_id in app.acme.boosts) == (State.CANCELLED, False)


def test_the_last_room_of_a_day_is_taken_once(make: Callable[..., tuple[Service, Service]]) -> None:
    """Of two who boost different posts by the same account, one has it."""
    app, other = make(1)
    for first, second in zip(*[iter(praised(app, ROUNDS))] * 2, strict=True):
        found = at_once(partial(boosting.ask, app, first, "ana"), partial(boosting.ask, other, second, "bo"))
        assert sum(isinstance(one, UserError) for one in found) == 1
        for mention, by, one in ((first, "ana", found[0]), (second, "bo", found[1])):
            if not isinstance(one, UserError):
                boosting.take_back(app, mention, by)
