"""Who answers an item, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa

from tests.service import Service, service
from triage.errors import UserError
from triage.person import Person, Role
from triage.store.schema import audit, items, mentions

ROUNDS = 200

BOTH = pytest.mark.parametrize("made", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with a mention."""
    sqlite = getattr(request, "param", "sqlite") == "sqlite"
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db" if sqlite else request.getfixturevalue("database"))
    app.acme.post("mira@x.example", "how do I sync?")
    app.pass_()
    yield app
    app.close()


def person(app: Service, name: str) -> tuple[Person, str]:
    """Somebody who is logged in, and their session."""
    now = app.clock.now()
    token = app.store.people.invite(Role.TRIAGER, "triage", now)
    came = app.store.people.come(token, name, name.title(), "", now)
    return came, app.store.sessions.start(came, now, address="", agent="")


def item(app: Service) -> int:
    """The mention's id."""
    with app.store.database.read() as connection:
        return int(connection.execute(sa.select(mentions.c.id)).scalar_one())


def trail(app: Service, mention_id: int) -> list[tuple[str, str, str]]:
    """Who did what to it beside the machine's judging."""
    words = sa.select(audit.c.who, audit.c.what, audit.c.detail).where(audit.c.mention_id == mention_id).order_by(audit.c.id)
    with app.store.database.read() as connection:
        return [(who, what, detail) for who, what, detail in connection.execute(words)]


def test_the_first_one_has_it_and_the_second_is_told_who(made: Service) -> None:
    """Asking again changes nothing."""
    (ana, _), (ben, _), it = person(made, "ana"), person(made, "ben"), item(made)
    now, claims = made.clock.now(), made.store.claims
    claims.claim(it, ana.name, now)
    claims.claim(it, ana.name, now + timedelta(seconds=5))
    with pytest.raises(UserError, match=f"Ana has been answering this since {now:%Y-%m-%d %H:%M} UTC"):
        claims.claim(it, ben.name, now)
    stands = claims.of([it, it + 1], now)
    assert {id_: (claim.by, claim.called, claim.since) for id_, claim in stands.items()} == {it: ("ana", "Ana", now)}
    assert trail(made, it) == [("ana", "claimed", "")]


@BOTH
def test_it_is_taken_over_by_who_asks_for_it(made: Service) -> None:
    """Of two who take it from Ana the second one would take it from Ben, and is told."""
    (ana, _), (ben, _), (cleo, _), it = person(made, "ana"), person(made, "ben"), person(made, "cleo"), item(made)
    now, claims = made.clock.now(), made.store.claims
    claims.claim(it, ana.name, now)
    claims.claim(it, ben.name, now, over=True, holder="ana")
    with pytest.raises(UserError, match="Ben has been answering"):
        claims.claim(it, cleo.name, now, over=True, holder="ana")
    claims.claim(it, cleo.name, now, over=True)
    assert [line[::2] for line in trail(made, it)] == [("ana", ""), ("ben", "taken from ana"), ("cleo", "taken from ben")]


def test_who_lets_go_lets_others(made: Service) -> None:
    """And nobody lets go for somebody else."""
    (ana, _), (ben, _), it = person(made, "ana"), person(made, "ben"), item(made)
    now, claims = made.clock.now(), made.store.claims
    claims.release(it, ben.name, now)  # nobody has it
    claims.claim(it, ana.name, now)
    with pytest.raises(UserError, match="Ana is answering this, not you"):
        claims.release(it, ben.name, now)
    claims.release(it, ana.name, now)
    claims.claim(it, ben.name, now)
    assert claims.of([it], now)[it].by == "ben"


def test_nobody_claims_what_is_not_there(made: Service) -> None:
    """It is said so."""
    with pytest.raises(UserError, match="there is no mention 999"):
        made.store.claims.claim(999, "ana", made.clock.now())


def away(app: Service, session: str, now: datetime) -> None:
    app.store.people.change("ana", "ana", now, away=True)


def disabled(app: Service, session: str, now: datetime) -> None:
    app.store.people.change("ana", "ben", now, disabled=True)


def logged_out(app: Service, session: str, now: datetime) -> None:
    app.store.sessions.end(session, now, "ana")


def unseen(app: Service, session: str, now: datetime) -> None:
    app.clock.move(minutes=11)


@pytest.mark.parametrize(
    ("leave", "why"),
    [
        (away, "ana signed off"),
        (disabled, "ana can no longer log in"),
        (logged_out, "ana logged out"),
        (unseen, "ana has not had it open for 10 min"),
    ],
)
def test_a_claim_is_over_when_its_owner_is_gone(made: Service, leave: Callable[..., None], why: str) -> None:
    """At once for whoever asks; the sweep writes it down."""
    (_, session), _, it = person(made, "ana"), person(made, "ben"), item(made)
    claims = made.store.claims
    claims.claim(it, "ana", made.clock.now())
    assert claims.sweep(made.clock.now()) == 0
    leave(made, session, made.clock.now())
    assert claims.of([it], made.clock.now()) == {}
    made.pass_()
    assert trail(made, it)[-1] == ("triage", "back in the queue", why)
    claims.claim(it, "ben", made.clock.now())
    assert claims.of([it], made.clock.now())[it].by == "ben"


def test_a_claim_of_somebody_gone_is_taken_without_asking_twice(made: Service) -> None:
    """The trail tells from whom, and why they no longer held it."""
    (_, _), _, it = person(made, "ana"), person(made, "ben"), item(made)
    made.store.claims.claim(it, "ana", made.clock.now())
    away(made, "", made.clock.now())
    made.store.claims.claim(it, "ben", made.clock.now())
    assert trail(made, it)[-1] == ("ben", "claimed", "taken from ana, who signed off")


def test_a_claim_stands_while_its_owner_has_the_item_open(made: Service) -> None:
    """However long the answer takes."""
    (_, _), it = person(made, "ana"), item(made)
    made.store.claims.claim(it, "ana", made.clock.now())
    for _ in range(4):
        made.clock.move(minutes=9)
        made.store.presence.beat(it, "ana", False, made.clock.now())
        assert made.store.claims.sweep(made.clock.now()) == 0
    made.clock.move(minutes=11)
    assert made.store.claims.sweep(made.clock.now()) == 1


def test_a_name_of_the_command_line_holds_a_claim_for_its_time(made: Service) -> None:
    """It has no log-in that could end."""
    it = item(made)
    made.store.claims.claim(it, "robin", made.clock.now())
    assert made.store.claims.of([it], made.clock.now())[it].called == "robin"
    made.clock.move(minutes=11)
    assert made.store.claims.of([it], made.clock.now()) == {}


@BOTH
def test_whose_item_it_is_tells_that_they_are_away(made: Service) -> None:
    """What is assigned stays assigned."""
    (_, _), it, now = person(made, "ana"), item(made), made.clock.now()
    assert made.store.claims.stand(it, now).assignee == ""
    with made.store.database.write() as connection:
        connection.execute(sa.insert(items).values(mention_id=it, assignee="ana"))
    assert not made.store.claims.stand(it, now).assignee_away
    away(made, "", now)
    stand = made.store.claims.stand(it, now)
    assert (stand.assignee, stand.assignee_called, stand.assignee_away) == ("ana", "Ana", True)


@BOTH
def test_of_two_clicks_one_wins(made: Service) -> None:
    """200 rounds of two people at the same moment."""
    person(made, "ana"), person(made, "ben")
    row = {"platform": "memory", "source": "acme", "remote_id": "r", "author": "a", "visibility": "public", "text": "", "data": {}}
    now = made.clock.now()
    times = {"created_at": now, "stored_at": now, "read_at": now}
    with made.store.database.write() as connection:
        connection.execute(sa.insert(mentions), [row | times | {"uri": f"race:{number}"} for number in range(ROUNDS)])
        ids = list(connection.execute(sa.select(mentions.c.id).where(mentions.c.uri.like("race:%"))).scalars())
    together = Barrier(2)

    def click(name: str) -> list[bool]:
        won = []
        for id_ in ids:
            together.wait()
            try:
                made.store.claims.claim(id_, name, now)
                won.append(True)
            except UserError:
                won.append(False)
        return won

    with ThreadPoolExecutor(2) as pool:
        ana, ben = pool.map(click, ["ana", "ben"])
    assert [one + two for one, two in zip(ana, ben, strict=True)] == [1] * ROUNDS
    holders = made.store.claims.of(ids, now)
    assert [holders[id_].by == "ana" for id_ in ids] == ana
