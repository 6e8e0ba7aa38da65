"""Corners of delivery that the simulator found: two things that happen to one action at nearly the same time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.service import Service, service
from triage.delivery import Move
from triage.errors import NotAccepted, OutcomeUnknown, Unauthorized
from triage.mention import Receipt, State, Work
from triage.pipeline import deliver, people, sweep


@pytest.fixture
def app(tmp_path: Path, store_url: str) -> Service:
    """A service that has made its first poll."""
    return service(tmp_path, store_url)


def test_a_post_that_goes_while_its_ticket_is_in_doubt_takes_the_ticket_with_it(app: Service) -> None:
    """The retry after clean looks would never be sent and never be cancelled; the post would be read again with every sweep."""
    post = app.acme.post("mira@x.example", "it is broken")
    app.tickets.fail("file", OutcomeUnknown("cut"))
    app.pass_()
    assert [row["state"] for row in app.actions("ticket")] == [State.DOUBT]
    app.acme.delete(post.remote_id)
    app.pass_(minutes=70)  # the deletion is seen
    for _ in range(4):
        app.pass_(minutes=11)
    assert [row["state"] for row in app.actions("ticket")] == [State.CANCELLED]
    assert app.tickets.tickets == []


def test_what_a_person_wants_sent_for_a_post_that_is_gone_is_sent(app: Service) -> None:
    """`triage retry` is a person's word: it is tried, whatever became of the post."""
    post = app.acme.post("mira@x.example", "it is broken")
    app.tickets.fail("file", OutcomeUnknown("cut"))
    app.pass_()
    (ticket,) = app.actions("ticket")
    app.store.desk.park(ticket["id"], "ana", app.clock.now())
    app.acme.delete(post.remote_id)
    app.pass_(minutes=70)
    app.store.desk.retry(ticket["id"], "ana", app.clock.now())
    app.pass_()
    assert [row["state"] for row in app.actions("ticket")] == [State.DONE]


def test_a_post_that_is_gone_is_never_due_to_be_read_again(app: Service) -> None:
    """An answer from before the deletion may be stored after it; it must not keep every sweep busy for ever."""
    post = app.acme.post("mira@x.example", "hello")
    app.pass_()
    before = app.acme.reread([post.remote_id])
    app.acme.delete(post.remote_id)
    app.pass_(minutes=70)
    hour = timedelta(hours=1)
    app.store.inbox.reread("acme", before, app.clock.now(), last=hour, old=hour)
    app.clock.move(hours=2)
    assert sweep.due(app).rereads == ()


def test_an_alert_that_ends_while_it_is_told_is_told_to_be_over(app: Service) -> None:
    """That it was told, and that it must be told again, are one transaction: a worker may die after any."""
    now = app.clock.now()
    app.store.alerts.open(now, "SourceFailing", "acme", "warning", "acme is failing")
    (alert,) = app.actions("alert")
    work = app.store.outbox.claim(alert["id"], now)
    assert work is not None
    app.store.alerts.clear(now, "SourceFailing", "acme")
    assert app.store.outbox.finish(work, Move(State.DONE, "", receipt=Receipt("told")), now)
    assert [row["state"] for row in app.actions("alert")] == [State.PLANNED]
    app.pass_()
    (told,) = app.oncall.alerts.values()
    assert not told.open


def test_two_calls_under_way_with_a_revoked_token_are_one_refusal(
    app: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two workers call before either is refused, and both write that down before either says it: one line, one alert, the first pause."""
    for number in range(3):
        app.acme.post("mira@x.example", f"it is broken {number}")
    monkeypatch.setattr(sweep, "deliver", lambda *_: [])  # everything up to the tickets
    app.pass_()
    first, second, third = (row["id"] for row in app.actions("ticket"))
    called, written = Barrier(2, timeout=60), Barrier(2, timeout=60)
    finish = app.store.outbox.finish

    def refuse(work: Work) -> Receipt:
        called.wait()
        raise Unauthorized("401")

    def finish_both(work: Work, move: Move, *args: Any, **more: Any) -> Any:
        finished = finish(work, move, *args, **more)
        written.wait()
        return finished

    monkeypatch.setattr(app.tickets, "file", refuse)
    monkeypatch.setattr(app.store.outbox, "finish", finish_both)
    caplog.clear()
    with ThreadPoolExecutor(2) as workers:
        assert list(workers.map(lambda id_: deliver.deliver(app, [id_, third]), (first, second))) == [[], []]
    assert [row["attempt"] for row in app.actions("ticket")] == [1, 1, 0]
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1, warned
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["AccountPaused"]
    assert {row["due_at"] - app.clock.now() for row in app.actions("ticket")} == {timedelta(minutes=5)}


def test_looks_before_sending_count_for_themselves(store_url: str, tmp_path: Path) -> None:
    """A reply that looks after a doubt did not find is tried once more; the looks before that begin at one again."""
    app = service(tmp_path, store_url, rules="delivery: {attempts_before_parking: 3}\n")
    app.acme.post("mira@x.example", "how do I do it")
    app.pass_()
    (task,) = app.actions("task")
    app.acme.fail("reply", OutcomeUnknown("cut"))
    (reply,) = people.answer(app, task["id"], "like this", "ana")
    deliver.deliver(app, [reply])
    for _ in range(3):
        app.clock.move(minutes=11)
        deliver.reconcile(app, [reply])
    assert [row["state"] for row in app.actions("reply")] == ["planned"]
    app.acme.fail("find", NotAccepted("an odd answer"))
    deliver.deliver(app, [reply])
    assert [row["state"] for row in app.actions("reply")] == ["planned"], "the first look before sending that failed parked it"
    app.pass_(hours=1)
    assert [row["state"] for row in app.actions("reply")] == ["done"]
    assert len(app.acme.replies) == 1
    app.close()


def test_a_look_that_breaks_is_a_look_that_failed(app: Service) -> None:
    """A connector's own mistake keeps the doubts behind it from nothing, and is repeated as any failed look is."""
    app.acme.post("mira@x.example", "it is broken")
    app.acme.post("eve@y.example", "this is broken")
    app.tickets.fail("file", OutcomeUnknown("cut"), times=2)
    app.pass_()
    ids = [row["id"] for row in app.actions("ticket")]
    finding, app.tickets.find = app.tickets.find, _broken  # type: ignore[method-assign, assignment]
    app.clock.move(minutes=10)
    assert deliver.reconcile(app, ids) == []
    waits = [row["due_at"] - app.clock.now() for row in map(app.store.outbox.row, ids)]
    assert waits == [timedelta(seconds=app.config.delivery.settle)] * 2
    app.tickets.find = finding  # type: ignore[method-assign]
    for _ in range(8):
        app.pass_(minutes=10)
    assert [row["state"] for row in app.actions("ticket")] == ["done", "done"]


def _broken(_work: object) -> Any:
    raise KeyError("issues")
