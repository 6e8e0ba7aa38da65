"""What becomes of an author's next reply, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.service import Service, service
from triage.mention import Mention
from triage.person import Role
from triage.pipeline import people
from triage.store.schema import audit, items, mentions

BOTH = pytest.mark.parametrize("made", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with a question that Ana, who has a log-in, has answered."""
    sqlite = getattr(request, "param", "sqlite") == "sqlite"
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db" if sqlite else request.getfixturevalue("database"))
    app.store.people.come(app.store.people.invite(Role.TRIAGER, "triage", app.clock.now()), "ana", "Ana", "", app.clock.now())
    asked(app)
    yield app
    app.close()


def asked(app: Service, by: str = "ana") -> Mention:
    """Mira asks, and is answered."""
    post = app.acme.post("mira@x.example", "how do I sync?")
    app.pass_()
    task = next(row["id"] for row in app.queue() if row["mention"] == newest(app))
    people.answer(app, task, "Press Sync.", by)
    app.pass_()
    return post


def newest(app: Service) -> int:
    with app.store.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.max(mentions.c.id))).scalar_one())


def reply(app: Service, to: Mention, author: str = "mira@x.example") -> tuple[str | None, list[str]]:
    """What becomes of a reply: whom it is assigned to, and what the trail says of that."""
    app.clock.move(minutes=5)
    app.acme.post(author, "how, still?", reply_to=to.remote_id)
    app.pass_()
    with app.store.database.read() as connection:
        assignee = connection.scalar(sa.select(items.c.assignee).where(items.c.mention_id == newest(app)))
        came = sa.select(audit.c.detail).where(audit.c.mention_id == newest(app), audit.c.what == "came back").order_by(audit.c.id)
        return assignee, list(connection.execute(came).scalars())


@BOTH
def test_the_authors_next_reply_comes_back_to_who_answered(made: Service) -> None:
    """And the one after that; the trail tells why."""
    post = asked(made)
    assert reply(made, post) == ("ana", ["to ana, whom its author answers"])
    assert reply(made, post)[0] == "ana"


def test_what_others_write_is_for_whoever_comes_first(made: Service) -> None:
    """In the same thread; and what the same author writes elsewhere."""
    post = asked(made)
    assert reply(made, post, "noor@x.example") == (None, [])
    other = made.acme.post("mira@x.example", "how do I export?")
    made.pass_()
    assert reply(made, other) == (None, [])


@pytest.mark.parametrize("how", ["away", "disabled"])
def test_nothing_comes_back_to_somebody_who_is_not_there(made: Service, how: str) -> None:
    """It is for the queue, and the trail says why."""
    post = asked(made)
    made.store.people.change("ana", "ana", made.clock.now(), **{how: True})
    assert reply(made, post) == (None, ["its author answers ana, who is away; it is for whoever comes first"])


def test_who_answers_from_the_command_line_without_a_log_in_gets_nothing(made: Service) -> None:
    """Nobody of that name could see it."""
    post = asked(made, "robin")
    assert reply(made, post)[0] is None


@BOTH
def test_who_answered_last_gets_it(made: Service) -> None:
    """Of two colleagues in one thread."""
    made.store.people.come(made.store.people.invite(Role.TRIAGER, "triage", made.clock.now()), "ben", "", "", made.clock.now())
    post = asked(made)
    reply(made, post)
    task = next(row["id"] for row in made.queue() if row["mention"] == newest(made))
    people.answer(made, task, "Twice.", "ben")
    assert reply(made, post)[0] == "ben"
