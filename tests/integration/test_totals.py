"""A large store's kept count answers like a count of everything."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.service import Service, service
from triage.errors import OutcomeUnknown
from triage.mention import ActionKind, State
from triage.pipeline import judge
from triage.store import totals
from triage.store.schema import OPEN_STATES
from triage.store.totals import Totals


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    """A service on a database of each kind, which counts as large from its first mention on."""
    return service(tmp_path, f"sqlite:///{tmp_path}/triage.db" if request.param == "sqlite" else request.getfixturevalue("database"))


def counted(made: Service, now: datetime | None = None) -> Totals:
    with made.store.database.read() as connection:
        return totals.totals(connection, now or made.clock.now())


def live(made: Service, monkeypatch: pytest.MonkeyPatch) -> Totals:
    """What a count of everything says."""
    with monkeypatch.context() as patch:
        patch.setattr(totals, "SMALL", 10**9)
        return counted(made)


def plain(found: Totals) -> tuple[object, ...]:
    """Without what is none."""
    return found.mentions, *({k: v for k, v in tally.items() if v} for tally in (found.verdicts, found.labels, found.actions))


def test_what_is_added_counts_at_once(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """New mentions, new verdicts on old ones, and everything that is open; what was closed since is counted by the next count."""
    monkeypatch.setattr(totals, "SMALL", 1)
    old = [made.acme.post(f"a{number}@x.example", text) for number, text in enumerate(("broken", "how?", "love it", "hello"))]
    made.pass_()
    assert made.store.count(made.clock.now())
    made.acme.post("new@x.example", "this is broken, too")
    made.acme.post("new@x.example", "love that")
    made.acme.edit(old[3].remote_id, "how do I say hello?")
    made.tickets.fail("file", OutcomeUnknown("cut"))
    made.pass_()
    made.pass_(hours=1)
    judge.relabel(made, made.store.desk.mention_id(old[2].uri), "noise", "robin")
    task = next(row["id"] for row in made.queue() if row["text"] == old[1].text)
    made.store.desk.close(task, "robin", made.clock.now(), "")
    everything, now = live(made, monkeypatch), counted(made)
    assert (everything.actions[ActionKind.TASK, State.DONE], now.actions[ActionKind.TASK, State.DONE]) == (1, 0)
    for found in (everything, now):
        found.actions = Counter({(kind, state): number for (kind, state), number in found.actions.items() if state in OPEN_STATES})
    assert everything.actions
    assert plain(now) == plain(everything)
    assert made.store.count(made.clock.now())
    assert plain(counted(made)) == plain(live(made, monkeypatch))


def test_an_old_count_is_no_answer(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no worker has counted for hours, everything is counted."""
    made.acme.post("a@x.example", "how?")
    made.pass_()
    monkeypatch.setattr(totals, "SMALL", 1)
    assert made.store.count(made.clock.now())
    made.store.desk.close(made.queue()[0]["id"], "robin", made.clock.now(), "")
    later = made.clock.now() + totals.STALE + timedelta(seconds=1)
    assert counted(made).actions[ActionKind.TASK, State.DONE] == 0
    assert counted(made, later).actions[ActionKind.TASK, State.DONE] == 1


def test_a_small_store_keeps_no_count(made: Service) -> None:
    """It is counted when it is asked."""
    made.acme.post("a@x.example", "hello")
    made.pass_()
    assert not made.store.count(made.clock.now())
    assert counted(made).mentions == 1
