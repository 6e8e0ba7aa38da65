"""Who looks at what, and which mentions changed, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.service import Service, service
from triage.errors import UserError
from triage.pipeline import judge, people
from triage.store import Store
from triage.store import presence as room
from triage.store.moves import add_audit
from triage.store.presence import Changed, Looker, Mark
from triage.store.schema import audit, drafts, mentions, notes, presence, verdicts

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

BOTH = pytest.mark.parametrize("made", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service with three mentions that wait for nothing."""
    sqlite = getattr(request, "param", "sqlite") == "sqlite"
    app = service(tmp_path, f"sqlite:///{tmp_path}/triage.db" if sqlite else request.getfixturevalue("database"))
    for number in range(3):
        app.acme.post(f"writer{number}@x.example", "how do I sync?")
    app.pass_()
    yield app
    app.close()


def ids(app: Service) -> list[int]:
    """The mentions' ids, oldest first."""
    with app.store.database.read() as connection:
        return list(connection.execute(sa.select(mentions.c.id).order_by(mentions.c.id)).scalars())


@BOTH
def test_others_see_who_looks_and_who_types(made: Service) -> None:
    """For half a minute, and eight seconds."""
    here, there, now = *ids(made)[:2], made.clock.now()
    presence = made.store.presence
    presence.beat(here, "ana", True, now)
    presence.beat(here, "ben", False, now)
    with made.store.database.write() as connection:
        connection.execute(sa.insert(drafts).values(mention_id=here, person="ben", text="Press Sync.", at=now))
    assert presence.others(here, now, but="cleo") == [Looker("ana", "ana", True, False), Looker("ben", "ben", False, True)]
    assert [one.person for one in presence.others(here, now, but="ana")] == ["ben"]
    assert [one.typing for one in presence.others(here, now + timedelta(seconds=9))] == [False, False]
    presence.beat(here, "ana", False, now + timedelta(seconds=20))
    assert [one.person for one in presence.others(here, now + timedelta(seconds=31))] == ["ana"]
    presence.beat(there, "ana", False, now + timedelta(seconds=32), left=here)
    assert presence.others(here, now + timedelta(seconds=32)) == []
    assert set(presence.everywhere(now + timedelta(seconds=32))) == {there}
    presence.gone("ana")
    assert presence.everywhere(now + timedelta(seconds=32)) == {}


def test_nobody_looks_at_what_is_not_there(made: Service) -> None:
    """It is said so."""
    with pytest.raises(UserError, match="there is no mention 999"):
        made.store.presence.beat(999, "ana", False, made.clock.now())


def test_old_presence_is_forgotten(made: Service) -> None:
    """By the sweep."""
    here = ids(made)[0]
    made.store.presence.beat(here, "ana", False, made.clock.now())
    made.pass_(hours=2)
    with made.store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(presence)) == 0


def note(app: Service) -> None:
    with app.store.database.write() as connection:
        connection.execute(sa.insert(notes).values(mention_id=ids(app)[1], by="ana", text="hm", to=[], at=app.clock.now()))


def answered(app: Service) -> None:
    task = next(row["id"] for row in app.queue() if row["mention"] == ids(app)[1])
    people.answer(app, task, "Press Sync.", "ana")


def named_by_its_action(app: Service) -> None:
    action = next(row["id"] for row in app.actions() if row["mention_id"] == ids(app)[1])
    with app.store.database.write() as connection:
        add_audit(connection, app.clock.now(), "triage", "task: doubt", action_id=action)


CHANGES: dict[str, Callable[[Service], object]] = {
    "a note": note,
    "an answer": answered,
    "a claim": lambda app: app.store.claims.claim(ids(app)[1], "ana", app.clock.now()),
    "a label": lambda app: judge.relabel(app, ids(app)[1], "praise", "ana"),
    "a line of its action": named_by_its_action,
}


@BOTH
def test_what_anybody_does_is_a_change_of_that_mention(made: Service) -> None:
    """It is told once."""
    presence, now, wanted = made.store.presence, made.clock.now(), Changed(frozenset({ids(made)[1]}))
    mark = presence.mark(now)
    assert presence.changes(mark, now)[0] == Changed()
    for what, happens in CHANGES.items():
        happens(made)
        changed, mark = presence.changes(mark, now)
        assert (what, changed) == (what, wanted)
        assert presence.changes(mark, now)[0] == Changed()


@BOTH
def test_posts_that_come_change_or_go_are_changes(made: Service) -> None:
    """Seen by another process, with a store of its own."""
    other = Store(made.store.database.url.render_as_string(hide_password=False))
    try:
        mark = other.presence.mark(made.clock.now())
        post = made.acme.post("mira@x.example", "it is broken")
        made.pass_()
        changed, mark = other.presence.changes(mark, made.clock.now())
        assert changed.mentions == {ids(made)[3]}
        made.acme.edit(post.remote_id, "it is broken again")
        made.pass_(hours=2)
        changed, mark = other.presence.changes(mark, made.clock.now())
        assert ids(made)[3] in changed.mentions
        made.acme.delete(post.remote_id)
        made.pass_(hours=7)
        assert ids(made)[3] in other.presence.changes(mark, made.clock.now())[0].mentions
    finally:
        other.close()


@BOTH
def test_too_many_changes_are_everything(made: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named one by one they would help nobody; what came to light late is covered a minute later."""
    presence, now = made.store.presence, made.clock.now()
    monkeypatch.setattr(room, "MOST", 2)
    mark = presence.mark(now)
    for id_ in ids(made):
        made.store.claims.claim(id_, "ana", now)
    assert presence.changes(mark, now)[0].all
    monkeypatch.setattr(room, "MOST_ROWS", 2)
    changed, mark = presence.changes(mark, now)
    assert changed.all
    assert str(mark) == ""
    assert presence.changes(mark, now + timedelta(seconds=59))[0] == Changed()
    changed, mark = presence.changes(mark, now + timedelta(seconds=60))
    assert changed.all
    assert str(mark)
    assert presence.changes(mark, now + timedelta(seconds=61))[0] == Changed()


def test_a_mark_in_words_is_where_it_was(made: Service) -> None:
    """A page brings it back after its connection was lost, to whatever process."""
    presence, now = made.store.presence, made.clock.now()
    mark = presence.mark(now)
    note(made)
    again = Mark.parse(str(mark))
    assert again is not None
    assert presence.changes(again, now)[0].mentions >= {ids(made)[1]}


@pytest.mark.parametrize("words", ["", "1", "1.2.3.4", "1.2.3.4.x", "1.2.3.4.-5", "1.2.3.4.99999999999999999999", "1.2.3.4.٣"])
def test_what_is_no_mark_is_none(words: str) -> None:
    """Whoever brings it is told to ask for everything."""
    assert Mark.parse(words) is None


def test_a_mark_from_another_store_asks_for_everything(made: Service) -> None:
    """Its ids are not ours."""
    assert made.store.presence.changes(Mark(dict.fromkeys(("audit", "verdicts", "actions", "mentions", "notes"), 9999)), NOW)[0].all


# On PostgreSQL an id is handed out long before its row is to be seen


def test_a_row_that_is_committed_late_is_not_missed(database: str) -> None:
    """Its id is lower than one that was told already."""
    store = Store(database)
    presence = store.presence
    mark = presence.mark(NOW)
    line = {"at": NOW, "who": "ana", "what": "x", "detail": ""}
    with store.database.engine.connect() as slow, slow.begin() as open_:
        late = slow.execute(sa.insert(audit).values(line | {"mention_id": 11}).returning(audit.c.id)).scalar_one()
        with store.database.write() as quick:
            assert quick.execute(sa.insert(audit).values(line | {"mention_id": 22}).returning(audit.c.id)).scalar_one() > late
        changed, mark = presence.changes(mark, NOW)
        assert changed.mentions == {22}
        words = str(mark)
        open_.commit()
    changed, after = presence.changes(mark, NOW + timedelta(seconds=59))
    assert changed.mentions == {11}
    assert presence.changes(after, NOW + timedelta(seconds=60))[0] == Changed()
    brought_back = Mark.parse(words)
    assert brought_back is not None
    assert 11 in presence.changes(brought_back, NOW)[0].mentions
    store.close()


def test_a_row_that_was_under_way_at_the_first_look_is_not_missed(database: str) -> None:
    """The first mark knows the holes, too."""
    store = Store(database)
    row = {"revision": 1, "label": "noise", "confidence": 0.5, "sure": True, "by": "t", "by_person": False, "data": {}, "at": NOW}
    with store.database.write() as connection:
        now = {"created_at": NOW, "stored_at": NOW, "read_at": NOW, "data": {}, "text": ""}
        base = {"platform": "m", "source": "s", "remote_id": "1", "author": "a", "visibility": "public"}
        first, second = (
            connection.execute(sa.insert(mentions).values(base | now | {"uri": uri}).returning(mentions.c.id)).scalar_one() for uri in "ab"
        )
    with store.database.engine.connect() as slow, slow.begin() as open_:
        slow.execute(sa.insert(verdicts).values(row | {"mention_id": first}))
        with store.database.write() as quick:
            quick.execute(sa.insert(verdicts).values(row | {"mention_id": second}))
        mark = store.presence.mark(NOW)
        open_.commit()
    assert store.presence.changes(mark, NOW)[0].mentions == {first}
    store.close()


def test_ids_that_were_never_used_are_given_up(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that was rolled back leaves holes; they are asked for for a minute. Very many are not noted at all."""
    store = Store(database)
    presence, line = store.presence, {"at": NOW, "who": "ana", "what": "x", "detail": "", "mention_id": 5}
    mark = presence.mark(NOW)

    def burn(count: int) -> None:
        with store.database.engine.connect() as connection, connection.begin() as open_:
            connection.execute(sa.insert(audit), [line] * count)
            open_.rollback()
        with store.database.write() as connection:
            connection.execute(sa.insert(audit).values(line))

    burn(3)
    _, mark = presence.changes(mark, NOW)
    assert len(mark.holes["audit"]) == 3
    _, mark = presence.changes(mark, NOW + timedelta(seconds=61))
    assert not mark.holes["audit"]
    monkeypatch.setattr(room, "MOST_HOLES", 2)
    burn(3)
    changed, mark = presence.changes(mark, NOW)
    assert changed.all
    assert mark.again == NOW + room.LATE
    store.close()
