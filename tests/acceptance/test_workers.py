"""Workers by themselves: several at once, and without a broker."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.rig import Rig, free_port
from tests.fixtures_services import eventually


def test_two_workers_make_one_ticket_each(new_rig: Callable[..., Rig], database: str, redis_url: str) -> None:
    """Two workers that sweep all the time, and a beat that rings them both, file a burst of bugs once each."""
    rig = new_rig(store=database, redis=redis_url, sweep="50ms")
    with rig.celery("worker") as one, rig.celery("worker") as other, rig.celery("beat"):
        rig.await_work(one, other)
        assert eventually(lambda: len(rig.triage("status", "--json").json["workers"]) >= 2, 60.0)
        for number in range(40):
            rig.mastodon.post(f"author{number % 7}@else.example", f"Thing number {number} is broken")
        rig.settle(60.0)
    assert len(rig.jira.tickets) == 40


def test_without_redis_the_sweep_does_everything(new_rig: Callable[..., Rig]) -> None:
    """Nobody answers at REDIS_URL from the start to the end: mentions come in, tickets go out, and the worker still ends when asked."""
    rig = new_rig(redis=f"redis://127.0.0.1:{free_port()}/0")
    with rig.celery("worker") as worker:
        rig.await_work(worker)
        bug = rig.mastodon.post("ola@else.example", "Syncing is broken without a broker")
        question = rig.mastodon.post("pia@else.example", "How do I sync?")
        rig.settle()
        assert rig.show(bug)["ticket"]
        rig.triage("answer", str(rig.task(question)["id"]), "Press Sync", "--now")
        rig.settle()
        assert [reply["in_reply_to"] for reply in rig.mastodon.replies] == [question["id"]]
        worker.ask()
        assert worker.ended() == 0
