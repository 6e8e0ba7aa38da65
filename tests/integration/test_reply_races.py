"""Two at the same answer: a person who takes it back and the worker who sends it, two people who answer, one form twice.

The far side's own ledger (`acme.replies`) tells what was posted.
"""

from __future__ import annotations

import time
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
from triage.person import Person, Role
from triage.pipeline import people
from triage.pipeline.deliver import deliver

ROUNDS = 200
HOLD = 15.0


@pytest.fixture
def app(store_url: str, tmp_path: Path) -> Iterator[Service]:
    made = service(tmp_path, store_url)
    yield made
    made.close()


@pytest.fixture
def other(app: Service, store_url: str, tmp_path: Path) -> Iterator[Service]:
    """A second process on the same store; both talk to the same far side."""
    made = service(tmp_path, store_url, clock=app.clock, started=False)
    made._made["platforms", "acme"] = app.acme
    yield made
    made.close()


def asked(app: Service, count: int = ROUNDS) -> list[int]:
    """So many questions, each with an open task: the mentions' numbers."""
    for number in range(count):
        app.acme.post(f"noor{number}@x.example", f"how do I do number {number}?")
    app.pass_()
    found = [row["mention_id"] for row in app.actions("task")]
    assert len(found) == count
    return found


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


def test_of_taking_back_and_sending_one_wins(app: Service, other: Service) -> None:
    """Never both a post and an open task; who comes too late is told what became of it."""
    mentions = asked(app)
    won = {"person": 0, "worker": 0}
    tasks = {row["mention_id"]: row["id"] for row in app.actions("task")}
    for turn, mention in enumerate(mentions):
        (reply,) = people.answer_mention(app, mention, "like this", "ana", hold=HOLD)
        app.clock.move(seconds=HOLD)
        # The worker reads a while before it claims: the person comes earlier or later, so that both are met in the middle.
        calls: list[Callable[[], Any]] = [partial(after, turn % 20, people.unsend, app, mention, "ana"), partial(deliver, other, [reply])]
        outcome, _ = at_once(*calls) if turn % 2 else reversed(at_once(*reversed(calls)))
        posted = [sent for sent in app.acme.replies if sent.key.endswith("/reply/1") and sent.mention.parent_id == post_of(app, mention)]
        state, task = app.store.outbox.row(reply)["state"], app.store.outbox.row(tasks[mention])["state"]
        drafts = app.store.drafts.of(mention)
        if isinstance(outcome, UserError):
            won["worker"] += 1
            deliver(other, [reply])
            assert (len(posted), state, task, drafts) == (1, State.DONE, State.DONE, []), str(outcome)
            assert "sent" in str(outcome)
        else:
            won["person"] += 1
            assert (outcome, len(posted), state, task) == ("like this", 0, State.CANCELLED, State.PLANNED)
            assert [(draft.person, draft.text) for draft in drafts] == [("ana", "like this")]
    assert won["person"] + won["worker"] == ROUNDS
    app.pass_(hours=1)  # and nothing that was taken back goes out later
    assert len(app.acme.replies) == won["worker"]


def after(milliseconds: int, call: Callable[..., Any], *given: Any) -> Any:
    time.sleep(milliseconds / 1000)
    return call(*given)


def post_of(app: Service, mention: int) -> str:
    return app.store.desk.take(mention)[0].mention.remote_id


@pytest.mark.parametrize("archived", [False, True], ids=["task", "no task"])
def test_of_two_people_who_answer_one_wins(app: Service, other: Service, archived: bool) -> None:
    """One post; the other one is told who was first and keeps the draft. With and without an open task."""
    rounds = 50 if archived else ROUNDS
    mentions = asked(app, rounds)
    if archived:
        for row in app.actions("task"):
            app.store.desk.close(row["id"], "cleo", app.clock.now(), "")
    now = app.clock.now()
    for mention in mentions:
        for name in ("ana", "bo"):
            app.store.drafts.save(mention, name, f"so says {name}", now)
        outcomes = at_once(
            partial(people.answer_mention, app, mention, "so says ana", "ana", known=0),
            partial(people.answer_mention, other, mention, "so says bo", "bo", known=0),
        )
        winner, loser = ("ana", "bo") if isinstance(outcomes[0], list) else ("bo", "ana")
        refused = next(outcome for outcome in outcomes if isinstance(outcome, UserError))
        assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
        assert str(refused).startswith(f"{winner} answered at "), str(refused)
        assert [(draft.person, draft.text) for draft in app.store.drafts.of(mention)] == [(loser, f"so says {loser}")]
    app.pass_()
    assert len(app.acme.replies) == rounds
    assert len({sent.mention.parent_id for sent in app.acme.replies}) == rounds


def test_a_form_sent_twice_acts_once(app: Service, other: Service) -> None:
    """Both are told of the same answer."""
    mentions = asked(app, 25)
    for mention in mentions:
        outcomes = at_once(
            partial(people.answer_mention, app, mention, "like this", "ana", known=0, once=f"form {mention}"),
            partial(people.answer_mention, other, mention, "like this", "ana", known=0, once=f"form {mention}"),
        )
        assert outcomes[0] == outcomes[1]
    app.pass_()
    assert len(app.acme.replies) == 25


def test_of_two_who_decide_on_an_approval_one_wins(store_url: str, tmp_path: Path) -> None:
    """It is sent, or it is a draft again; never both."""
    rules = "rules: [{name: all, then: task, approve: approver, reason: two look}]\n"
    app = service(tmp_path, store_url, rules=rules)
    other = service(tmp_path, store_url, rules=rules, clock=app.clock, started=False)
    other._made["platforms", "acme"] = app.acme
    bo, cleo = (Person(number, name, Role.APPROVER) for number, name in enumerate(("bo", "cleo")))
    approved = 0
    for mention in asked(app, 25):
        (reply,) = people.answer_mention(app, mention, "like this", "ana", known=0)
        outcomes = at_once(partial(people.approve, app, reply, bo), partial(people.refuse, other, reply, cleo, "too long"))
        assert sum(isinstance(outcome, UserError) for outcome in outcomes) == 1
        yes = not isinstance(outcomes[0], UserError)
        approved += yes
        assert app.store.outbox.row(reply)["state"] == (State.PLANNED if yes else State.CANCELLED)
        assert bool(app.store.drafts.of(mention)) is not yes
    app.pass_()
    assert len(app.acme.replies) == approved
    app.close()
    other.close()
