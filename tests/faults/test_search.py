"""An action's life, searched exhaustively on the real code; and the search finds what is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tests.faults.search import KINDS, explore
from tests.service import service
from triage import delivery
from triage.delivery import Move
from triage.errors import OutcomeUnknown
from triage.mention import ActionKind, Receipt, State, Work
from triage.pipeline import deliver
from triage.store.outbox import Outbox
from triage.store.schema import actions

DEPTH = 12
ALL = frozenset("abcdefghijklmnopq")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_made_twice_and_everything_ends(kind: str) -> None:
    """Twelve steps (eleven for a reply, which has more of them), with a crash or another trouble at every point."""
    summary = explore(kind, DEPTH - (KINDS[kind].kind is ActionKind.REPLY), troubles=1)
    assert not summary.violations, "\n".join(map(str, summary.violations))


def test_what_was_dropped_in_doubt_is_looked_for_before_it_is_filed_again(tmp_path: Path) -> None:
    """A person drops a ticket of which nobody knows whether it is there; the post is edited, and a rule asks for it again."""
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db")
    post = app.acme.post("mira@x.example", "it is broken")
    app.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    app.pass_()
    (ticket,) = app.actions("ticket")
    app.store.desk.park(ticket["id"], "ana", app.clock.now())
    app.store.desk.drop(ticket["id"], "ana", app.clock.now())
    app.acme.edit(post.remote_id, "it is broken, and I add a word")
    for _ in range(4):
        app.pass_(hours=2)
    assert len(app.tickets.tickets) == 1
    assert [row["state"] for row in app.actions("ticket")] == ["done"]
    app.close()


def test_every_edge_of_the_diagram_is_taken() -> None:
    """From a to q: what is drawn happens, and what is not drawn is a violation."""
    taken: set[str] = set()
    for kind, depth, troubles, only in (
        ("ticket, observed", 4, 2, None),
        ("ticket, braked", 4, 2, None),
        ("ticket, not repeatable", 8, 1, ("cut",)),
        ("ticket", 5, 2, ("cut", "late", "refused", "person")),
        ("ticket", 5, 2, ("lock", "person")),
    ):
        taken |= explore(kind, depth, troubles=troubles, only=only).edges
    assert taken >= ALL, f"never taken: {sorted(ALL - taken)}"


# Mutants: each is what the code would do without one of its rules.

real_finish = Outbox._finish
real_look = delivery.after_look


def _finish_without_attempt(self: Outbox, connection: Connection, work: Work, *rest: Any, **more: Any) -> bool:
    """The clause `attempt=` is dropped."""
    attempt = connection.scalar(sa.select(actions.c.attempt).where(actions.c.id == work.action_id))
    return real_finish(self, connection, replace(work, attempt=attempt or 0), *rest, **more)


def _finish_counting_from_intent(self: Outbox, connection: Connection, work: Work, move: Move, *rest: Any, **more: Any) -> bool:
    """The settle time counts from the intent."""
    written = real_finish(self, connection, work, move, *rest, **more)
    if written and move.state is State.DOUBT and not move.looked:
        connection.execute(sa.update(actions).where(actions.c.id == work.action_id).values(unknown_at=work.intent_at))
    return written


def _orphans_by_lease(self: Outbox, now: Any) -> list[int]:
    """A sender that took longer than a minute is taken for dead."""
    lease = sa.select(actions.c.id, actions.c.attempt, actions.c.kind).where(
        actions.c.state == str(State.SENDING), actions.c.intent_at < now - timedelta(minutes=1)
    )
    with self._database.read() as connection:
        late = connection.execute(lease).all()
    return [id_ for id_, attempt, kind in late if self._orphan(id_, attempt, ActionKind(kind), now)]


def _orphans_without_in_flight(self: Outbox, now: Any) -> list[int]:
    """What this process sends at this moment counts as forgotten."""
    self._in_flight.clear()
    return real_orphans(self, now)


real_orphans = Outbox.orphans


def _look_that_trusts_the_first(kind: ActionKind, found: list[Receipt], **rest: Any) -> Move:
    """One look is enough."""
    return real_look(kind, found, **{**rest, "looked": 2})


def _look_that_sees_nothing(kind: ActionKind, found: list[Receipt], **rest: Any) -> Move:
    """What is found does not count: it is tried again in any case."""
    return real_look(kind, [], **rest)


def _look_that_forgets_the_retry(kind: ActionKind, found: list[Receipt], **rest: Any) -> Move:
    """It may be tried once more again and again."""
    return real_look(kind, found, **{**rest, "retried": False})


def _postpone_anything(self: Outbox, action_id: int, state: State, due_at: Any, **_: Any) -> None:
    """A look that fails sets the time of whatever look comes next."""
    with self._database.write() as connection:
        connection.execute(sa.update(actions).where(actions.c.id == action_id, actions.c.state == str(state)).values(due_at=due_at))


Mutant = tuple[object, str, Callable[..., Any], tuple[str, ...]]
MUTANTS: dict[str, Mutant] = {
    "finish without attempt": (Outbox, "_finish", _finish_without_attempt, ("death", "death")),
    "the settle time counts from the intent": (Outbox, "_finish", _finish_counting_from_intent, ("cut",)),
    "an expired lease means dead": (Outbox, "orphans", _orphans_by_lease, ("cut",)),
    "its own work in flight is forgotten": (Outbox, "orphans", _orphans_without_in_flight, ("cut",)),
    "one look is enough": (deliver, "after_look", _look_that_trusts_the_first, ("cut",)),
    "tried again without a clean look": (deliver, "after_look", _look_that_sees_nothing, ("death",)),
    "tried again more than once": (deliver, "after_look", _look_that_forgets_the_retry, ("death", "death")),
    "a failed look hastens a later one": (Outbox, "postpone", _postpone_anything, ("cut", "away")),
}
"""Where, what, in its place what, and what has to go wrong for it to show."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_search_finds_what_is_broken_on_purpose(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of its rules the service makes something twice, and the search shows how in twelve steps at most."""
    where, attribute, mutant, troubles = MUTANTS[name]
    monkeypatch.setattr(where, attribute, mutant)
    search = partial(explore, "ticket", troubles=len(troubles), only=troubles, people=False)
    summary = search(DEPTH)
    assert summary.violations, summary
    steps = [step for step in summary.violations[0].path if not step.startswith("(nothing fails any more)")]
    assert len(steps) <= DEPTH
    monkeypatch.undo()
    assert not search(len(steps)).violations
