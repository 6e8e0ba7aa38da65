"""Looking before sending, restore mode, copies, backups and rotated secrets, with far sides in memory, on both databases."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.service import HandClock, Service, service
from triage.errors import NotAccepted, OutcomeUnknown, RateLimited, StoreError, Unauthorized, UserError
from triage.mention import State
from triage.pipeline import judge, people, sweep
from triage.pipeline.deliver import deliver
from triage.store import backup
from triage.store.backup import Backup
from triage.store.place import Place
from triage.store.schema import metadata

Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path, store_url: str) -> Iterator[Start]:
    """Call it for a service on the store; all share a clock. With `far` it has the far sides of that one."""
    made: list[Service] = []
    clock = HandClock()

    def new(url: str = store_url, *, far: Service | None = None, folder: str = "state") -> Service:
        (tmp_path / folder).mkdir(exist_ok=True)
        app = service(tmp_path / folder, url, clock=clock, started=far is None)
        if far is not None:
            app._made |= far._made
        made.append(app)
        return app

    yield new
    for app in made:
        app.close()


def states(app: Service, kind: str) -> list[str]:
    return [row["state"] for row in app.actions(kind)]


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in a store."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {
            table.name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return found


def back_up(app: Service, file: Path, **options: Any) -> backup.Manifest:
    given: dict[str, Any] = {"model": None, "shipped": "0" * 64, "force": False} | options
    return backup.write(app.store.database, file, app.clock.now(), **given)


def put_back(file: Path, url: str, folder: Path, clock: HandClock, *, force: bool = False) -> tuple[int, str]:
    with Backup.open(file) as found:
        return found.restore(url, lambda database: Place(database, folder), clock.now(), "ana", force=force)


# Looking before the claim


def test_a_second_attempt_at_a_reply_looks_first(start: Start) -> None:
    """A server that carried it out after our last look is found, and nothing is posted again."""
    app = start()
    app.acme.post("mira@x.example", "how do I do it")
    app.pass_()
    (task,) = app.queue()
    app.acme.fail("reply", NotAccepted("refused"))
    (reply,) = people.answer(app, task["id"], "so", "ana")
    deliver(app, [reply])
    assert states(app, "reply") == ["planned"]
    ours = app.acme.post("us@memory.example", "@mira@x.example so", reply_to="1000")  # as if the first attempt had arrived after all
    app.pass_()
    assert states(app, "reply") == ["done"]
    assert app.actions("reply")[0]["remote_id"] == ours.remote_id
    assert app.acme.replies == []


def test_a_look_before_sending_that_fails_sends_nothing(start: Start) -> None:
    """It is tried again later and later, and rests with the account where that is refused; in the end a person decides."""
    app = start()
    app.acme.post("mira@x.example", "how do I do it")
    app.pass_()
    app.acme.fail("reply", NotAccepted("refused"))
    (reply,) = people.answer(app, app.queue()[0]["id"], "so", "ana")
    deliver(app, [reply])
    app.acme.fail("find", OutcomeUnknown("cut"), times=2)
    app.acme.fail("find", RateLimited("429", after=300))
    waits = []
    for _ in range(3):
        app.clock.moment = app.store.outbox.row(reply)["due_at"]
        deliver(app, [reply])
        waits.append((app.store.outbox.row(reply)["due_at"] - app.clock.now()).total_seconds())
    row = app.store.outbox.row(reply)
    assert (row["state"], row["attempt"], row["looks"], app.acme.replies) == ("planned", 1, 3, [])
    assert waits == [5.0, 10.0, 300.0]
    app.acme.fail("find", OutcomeUnknown("cut"), times=40)
    for _ in range(40):
        app.clock.move(hours=2)
        deliver(app, [reply])
    assert (states(app, "reply"), app.acme.replies) == (["parked"], [])
    assert "could not look" in app.store.outbox.row(reply)["error"]


def test_a_refused_token_while_looking_rests_the_account(start: Start) -> None:
    """401 never parks."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.store.place.begin_restore(app.clock.now(), "a test")
    tracker = app.tickets
    finding, tracker.find = tracker.find, _raises(Unauthorized("401", status=401))  # type: ignore[method-assign]
    app.pass_()
    assert states(app, "ticket") == ["planned"]
    assert [row["name"] for row in app.store.views.status(app.clock.now())["alerts"]] == ["AccountPaused"]
    tracker.find = finding  # type: ignore[method-assign]
    app.pass_(minutes=6)
    assert states(app, "ticket") == ["done"]


def _raises(error: Exception) -> Callable[..., Any]:
    def call(*_: Any) -> Any:
        raise error

    return call


def test_of_two_that_looked_one_sends(start: Start) -> None:
    """A look is good for the attempt before which it was made, and for no other."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.store.place.begin_restore(app.clock.now(), "a test")
    app.clock.move(seconds=11)
    judge.process(app)
    from triage.pipeline import intake

    intake.poll(app, ["acme"])
    judge.process(app)
    (ticket,) = app.actions("ticket")
    assert app.store.outbox.claim(ticket["id"], app.clock.now()) is None  # nobody has looked
    other = start(far=app)
    with (
        app.store.outbox.glance(ticket["id"], app.clock.now()) as mine,
        other.store.outbox.glance(ticket["id"], app.clock.now()) as theirs,
        app.store.outbox.glance(ticket["id"], app.clock.now()) as again,
    ):
        assert mine is not None
        assert theirs is not None
        assert again is None  # this process is looking for it already
    work = app.store.outbox.claim(ticket["id"], app.clock.now(), looked=mine[0])
    assert work is not None
    assert other.store.outbox.claim(ticket["id"], app.clock.now(), looked=theirs[0]) is None
    from triage.delivery import Move

    app.store.outbox.finish(work, Move(State.PLANNED, "refused", due_at=app.clock.now()), app.clock.now())
    assert other.store.outbox.claim(ticket["id"], app.clock.now(), looked=theirs[0]) is None  # its look is of before


# Restore mode


def lives_on(app: Service) -> None:
    """What happens after the backup was made: tickets, comments, an answer."""
    first = app.acme.post("mira@x.example", "it is broken")
    app.acme.post("eve@y.example", "how do I do it")
    app.pass_()
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    app.acme.post("dan@y.example", "another thing is broken")
    app.pass_()
    task = next(row for row in app.queue() if row["what"] == "answer")
    deliver(app, people.answer(app, task["id"], "like so", "ana"))
    assert [len(kept.comments) for kept in app.tickets.tickets[-2:]] == [1, 0]
    assert len(app.acme.replies) == 1


def test_a_restored_store_sends_nothing_again(start: Start, tmp_path: Path, store_url: str) -> None:
    """Tickets and comments are found by their markers, though the problems have other numbers now; the answer is the same text."""
    app = start()
    app.acme.post("old@x.example", "broken long ago")
    app.pass_()
    back_up(app, tmp_path / "backup.tar")
    lives_on(app)
    app.close()
    put_back(tmp_path / "backup.tar", store_url, tmp_path / "state", app.clock, force=True)
    again = start(far=app)
    with again.store.database.write() as connection:  # whoever is seen first gets the lower number
        connection.execute(
            sa.text("INSERT INTO problems (id, thread, created_at) VALUES (77, 'https://z.example/1', '2026-01-01 00:00:00+00:00')")
        )
    for _ in range(3):
        again.pass_()
    assert states(again, "ticket") == ["done"] * 3
    assert states(again, "comment") == ["done"]
    assert [len(kept.comments) for kept in again.tickets.tickets] == [0, 1, 0]
    assert {row["error"] for row in again.actions("ticket")} == {""}
    task = next(row for row in again.queue() if row["what"] == "answer")
    deliver(again, people.answer(again, task["id"], "like so", "ana"))
    assert (states(again, "reply"), len(again.acme.replies)) == (["done"], 1)


def test_a_forgotten_answer_with_other_words_goes_to_a_person(start: Start, tmp_path: Path, store_url: str) -> None:
    """They see where it is; `found` settles it, `retry` posts the new one, and is not stopped by the same post twice."""
    app = start()
    back_up(app, tmp_path / "backup.tar")
    lives_on(app)
    app.close()
    put_back(tmp_path / "backup.tar", store_url, tmp_path / "state", app.clock, force=True)
    again = start(far=app)
    again.pass_()
    again.pass_()
    task = next(row for row in again.queue() if row["what"] == "answer")
    (reply,) = people.answer(again, task["id"], "in other words", "ana")
    deliver(again, [reply])
    row = again.store.outbox.row(reply)
    forgotten = again.acme.replies[0].mention
    again.acme.replies[0] = replace(again.acme.replies[0], key="of another time")  # a real server forgets it within the hour
    assert (row["state"], row["attempt"]) == ("parked", 0)
    assert forgotten.url in row["error"]
    again.store.desk.retry(reply, "ana", again.clock.now())
    deliver(again, [reply])
    assert (states(again, "reply"), len(again.acme.replies)) == (["done"], 2)


def test_a_backup_never_replaces_the_store_itself(start: Start) -> None:
    """Not with --force, and not a file that belongs to it."""
    app = start()
    path = app.store.database.path
    if path is None:
        pytest.skip("a database of PostgreSQL is no file")
    before = path.read_bytes()
    for name in (path.name, f"{path.name}-wal", f"{path.name}.home"):
        with pytest.raises(UserError, match="the store itself"):
            back_up(app, path.with_name(name), force=True)
    assert path.read_bytes() == before
    back_up(app, path.with_name("today.backup"))


@pytest.mark.filterwarnings("error")
def test_a_restore_over_a_store_warns_of_nothing(start: Start, store_url: str, tmp_path: Path) -> None:
    """An operator who restores reads what is said."""
    app = start()
    back_up(app, tmp_path / "b.backup")
    clock = app.clock
    app.close()
    put_back(tmp_path / "b.backup", store_url, tmp_path / "state", clock, force=True)


def test_restore_mode_ends_after_two_days(start: Start) -> None:
    """From then on nothing is looked for; the trail tells both."""
    app = start()
    until = app.store.place.begin_restore(app.clock.now(), "a test")
    assert until - app.clock.now() == timedelta(hours=48)
    assert app.store.place.check(app.clock.now()).until == until
    app.pass_(hours=48)
    assert app.store.place.check(app.clock.now()).until is None
    with app.store.database.read() as connection:
        trail = connection.execute(sa.text("SELECT what FROM audit WHERE what LIKE 'restore mode%' ORDER BY id")).scalars().all()
    assert trail == ["restore mode begins", "restore mode ends"]


def test_restore_mode_lasts_from_the_first_worker_on(start: Start) -> None:
    """A store that was put back on Friday and started on Monday has forgotten as much."""
    app = start()
    app.store.place.begin_restore(app.clock.now(), "a test")
    app.clock.move(hours=72)
    assert app.store.place.stand(app.clock.now()).until is not None
    assert app.store.place.end_restore(app.clock.now()) == 0
    until = app.clock.now() + timedelta(hours=48)
    assert app.store.place.check(app.clock.now()).until == until
    app.clock.move(hours=47)
    assert app.store.place.check(app.clock.now()).until == until
    app.clock.move(hours=1)
    assert app.store.place.check(app.clock.now()).until is None


def test_a_store_that_is_older_than_its_heartbeat_knows_it(start: Start, store_url: str, tmp_path: Path) -> None:
    """An older database that was put back by hand, under whatever name; every process asks, and asks once."""
    app = start()
    app.store.place.check(app.clock.now())
    app.store.place.beat(app.clock.now())
    old = {name: rows(store_url)[name] for name in ("meta",)}
    app.clock.move(hours=5)
    app.store.place.beat(app.clock.now())
    assert app.store.place.check(app.clock.now()).until is None
    with app.store.database.write() as connection:
        for name, value in old["meta"]:
            connection.execute(sa.text("UPDATE meta SET value = :value WHERE name = :name"), {"name": name, "value": value})
    app.clock.move(seconds=30)
    started = app.clock.now()
    assert app.store.place.check(started).until == started + timedelta(hours=48)
    app.clock.move(hours=1)
    assert start(far=app).store.place.check(app.clock.now()).until == started + timedelta(hours=48)
    app.clock.move(hours=48)
    assert app.store.place.check(app.clock.now()).until is None  # and not noticed a second time


def test_a_heartbeat_does_not_cover_up_an_older_database(start: Start, store_url: str) -> None:
    """It was put back under running workers, and the next thing that one of them does is to note that it is at work."""
    app = start()
    app.store.place.check(app.clock.now())
    app.store.place.beat(app.clock.now())
    old = rows(store_url)["meta"]
    app.clock.move(hours=5)
    app.store.place.beat(app.clock.now())
    with app.store.database.write() as connection:
        for name, value in old:
            connection.execute(sa.text("UPDATE meta SET value = :value WHERE name = :name"), {"name": name, "value": value})
    app.clock.move(seconds=20)
    app.store.place.beat(app.clock.now())
    assert app.store.place.check(app.clock.now()).until is not None


# Copies


def copy_of(start: Start, app: Service, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Service, str]:
    """A copy made by other means than ours, with the far sides of the original."""
    path = app.store.database.path
    if path is not None:
        (tmp_path / "copy").mkdir()
        for file in path.parent.glob("triage.db*"):
            (shutil.copytree if file.is_dir() else shutil.copy2)(file, tmp_path / "copy" / file.name)
        url = f"sqlite:///{tmp_path}/copy/triage.db"
    else:
        url = request.getfixturevalue("new_postgres_database")()
        from triage.store import Store

        Store(url).close()
        engine, source = sa.create_engine(url), rows(app.config.store)
        with engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM meta"))
            for table in metadata.sorted_tables:
                if source[table.name]:
                    connection.execute(sa.insert(table), [dict(zip(table.c.keys(), row, strict=True)) for row in source[table.name]])
            backup._number_on(connection)
        engine.dispose()
    return start(url, far=app, folder="copy"), url


def test_a_copy_sends_nothing_until_a_person_says_so(start: Start, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It polls, judges and shows its queue; alerts go out; the original is not disturbed. Adopted it looks before it sends."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    copy, _ = copy_of(start, app, tmp_path, request)
    app.acme.post("eve@y.example", "this is broken")
    copy.pass_()
    assert states(copy, "ticket") == ["done", "planned"]
    assert len(copy.queue()) == 2
    assert len(app.tickets.tickets) == 1
    assert deliver(copy, [row["id"] for row in copy.actions("ticket")]) == []  # as a task of Celery's would
    assert copy.store.outbox.claim(copy.actions("ticket")[1]["id"], copy.clock.now()) is None
    copy.store.alerts.open(copy.clock.now(), "Brake", "acme", "critical", "too many")
    copy.pass_()
    assert copy.actions("alert")[0]["attempt"] == 1
    app.pass_()
    assert (states(app, "ticket"), len(app.tickets.tickets)) == (["done", "done"], 2)
    copy.store.place.adopt(copy.clock.now(), "ana")
    copy.pass_()
    assert (states(copy, "ticket"), len(app.tickets.tickets)) == (["done", "done"], 2)
    assert copy.store.place.check(copy.clock.now()).until is not None


def test_a_store_at_home_raises_no_alarm(start: Start, store_url: str) -> None:
    """A restart, another process, another host's worker, a new owner of the files, a first start after the upgrade."""
    app = start()
    app.pass_()
    assert start(far=app).store.place.check(app.clock.now()).copied == ""
    assert start(far=app, folder="another-host").store.place.check(app.clock.now()).copied == ""
    path = app.store.database.path
    if path is not None:
        for file in path.parent.glob("triage.db*"):
            file.chmod(0o700)
        path.rename(path.with_name("moved.db"))  # and put back, as by a file manager
        path.with_name("moved.db").rename(path)
        assert start(far=app).store.place.check(app.clock.now()).copied == ""
    with app.store.database.write() as connection:
        connection.execute(sa.text("DELETE FROM meta WHERE name = 'home'"))
    assert start(far=app).store.place.check(app.clock.now()).copied == ""


# A newer schema


def test_a_worker_leaves_a_newer_schema_alone(start: Start) -> None:
    """It polls, judges, sends and looks no more, and says once what to do."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    with app.store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    app.acme.post("eve@y.example", "another thing is broken")
    before = rows(app.config.store)
    assert app.pass_() == {"upkeep": 0}
    assert not sweep.due(app)
    assert deliver(app, [1, 2, 3]) == []
    assert rows(app.config.store) == before


# The install secret


def test_a_rotated_secret_loses_nothing(start: Start) -> None:
    """What was sent under the old one is found, also where its marker was not written down; other processes take the new one at once."""
    app = start()
    other = start(far=app)
    first = app.acme.post("mira@x.example", "it is broken")
    app.tickets.fail("file", OutcomeUnknown("cut"), after=True)
    app.pass_()
    assert states(app, "ticket") == ["doubt"]
    with app.store.database.write() as connection:
        connection.execute(sa.text("UPDATE actions SET marker = NULL"))  # as a worker of the version before left it
    old = app.store.place.stand(app.clock.now()).secret
    assert app.store.markers.rotate(app.clock.now(), "ana") == 1
    assert app.store.markers.rotate(app.clock.now(), "ana") == 0
    assert other.store.place.stand(app.clock.now()).secret != old
    for _ in range(3):
        app.pass_(minutes=11)
    assert (states(app, "ticket"), len(app.tickets.tickets)) == (["done"], 1)
    app.acme.post("bob@y.example", "broken for me too", reply_to=first.remote_id)
    other.pass_()
    assert states(other, "comment") == ["done"]
    with app.store.database.read() as connection:
        names = connection.execute(sa.text("SELECT name FROM meta WHERE name LIKE 'install_secret%' ORDER BY name")).scalars().all()
    assert names == ["install_secret", "install_secret/1", "install_secret/2"]


def test_no_rotation_while_the_old_markers_are_looked_for(start: Start) -> None:
    """Restore mode finds what was forgotten by the secret of that time."""
    app = start()
    app.store.place.begin_restore(app.clock.now(), "a test")
    with pytest.raises(StoreError, match="restore mode is on until"):
        app.store.markers.rotate(app.clock.now(), "ana")


# Backups


def test_a_backup_goes_back_into_either_database(start: Start, tmp_path: Path, new_postgres_database: Callable[[], str]) -> None:
    """Every row of every table, its secret too; new rows get new numbers; made where it was not, it sends nothing at first."""
    app = start()
    app.acme.post("mira@x.example", "it is broken 🚢 \\ \" '")
    app.acme.post("eve@y.example", "how do I do it")
    app.pass_()
    lives_on(app)
    file = tmp_path / "backup.tar"
    made = back_up(app, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (made.rows("mentions"), made.schema_) == (6, app.store.database.version())
    wanted = rows(app.config.store)
    for number, url in enumerate((f"sqlite:///{tmp_path}/new/triage.db", new_postgres_database())):
        total, why = put_back(file, url, tmp_path / f"elsewhere{number}", app.clock)
        assert total == sum(map(len, wanted.values()))
        assert why
        found = rows(url)
        for name in set(found) - {"meta", "audit"}:
            assert found[name] == wanted[name], name
        assert dict(wanted["meta"]).items() <= dict(found["meta"]).items()
        there = start(url, far=app, folder=f"there{number}")
        there.acme.post("new@x.example", "hello")
        there.pass_()
        assert len(rows(url)["mentions"]) == 7
        there.acme.delete(there.acme._world.shown[-1].remote_id)


def test_a_backup_is_not_overwritten_by_mistake(start: Start, tmp_path: Path) -> None:
    """--force does."""
    app = start()
    file = tmp_path / "backup.tar"
    file.write_text("mine")
    with pytest.raises(UserError, match="there already"):
        back_up(app, file)
    assert file.read_text() == "mine"
    back_up(app, file, force=True)
    with Backup.open(file) as found:
        assert found.manifest.rows("meta") >= 2
    with pytest.raises(UserError, match="can't be written"):
        back_up(app, tmp_path / "nowhere" / "backup.tar")
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_a_store_in_use_or_with_rows_is_not_overwritten(start: Start, tmp_path: Path, store_url: str) -> None:
    """Not even by force while a process works on it. It is as it was."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    back_up(app, tmp_path / "backup.tar")
    before = rows(store_url)
    for force in (False, True):
        with pytest.raises(StoreError, match="works on this store"):
            put_back(tmp_path / "backup.tar", store_url, tmp_path / "state", app.clock, force=force)
    app.close()
    with pytest.raises(StoreError, match="not empty"):
        put_back(tmp_path / "backup.tar", store_url, tmp_path / "state", app.clock)
    assert rows(store_url) == before
    put_back(tmp_path / "backup.tar", store_url, tmp_path / "state", app.clock, force=True)
    assert rows(store_url)["actions"] == before["actions"]


def test_a_backup_of_an_older_schema_is_upgraded(start: Start, tmp_path: Path, store_url: str) -> None:
    """Its columns are those of its own time."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    file, older = tmp_path / "backup.tar", tmp_path / "older.tar"
    back_up(app, file)
    wanted = rows(store_url)
    app.close()
    since = {f"{of}_{what}" for of in ("budget", "posts") for what in ("limit", "left", "reset_at")} | {"probe_at"}
    changed = {"actions": {"marker"}, "accounts": since}
    later = {"models", "disagreements", "samples", "autonomy", "people", "sessions", "tokens", "invitations", "refusals"}
    later |= {"items", "presence", "notes", "drafts", "approvals", "saved", "forms", "coverage"}

    def as_of_then(name: str, data: bytes) -> bytes | None:
        table = Path(name).stem
        return None if table in later else without(data, changed[table]) if table in changed else data

    rewrite(file, older, as_of_then, schema="0001")
    put_back(older, store_url, tmp_path / "state", app.clock, force=True)
    found = rows(store_url)
    assert [row[:-1] for row in found["actions"]] == [row[:-1] for row in wanted["actions"]]
    again = start(far=app)
    assert again.store.database.version() == wanted_version()
    again.pass_()
    assert len(app.tickets.tickets) == 1


def wanted_version() -> str:
    from triage.store.database import HEAD

    return HEAD


def without(data: bytes, names: set[str]) -> bytes:
    """A table's file without these columns."""
    first, *rest = data.splitlines()
    kinds = json.loads(first)["columns"]
    kept = [number for number, name in enumerate(kinds) if name not in names]
    lines = [json.dumps({"columns": {name: kind for name, kind in kinds.items() if name not in names}})]
    lines += [json.dumps([json.loads(line)[number] for number in kept]) for line in rest]
    return "".join(f"{line}\n" for line in lines).encode()


def rewrite(file: Path, out: Path, change: Callable[[str, bytes], bytes | None], *, honest: bool = True, **manifest: Any) -> None:
    """A backup with other files in it, or without those that `change` gives nothing for, and (when `honest`) with their digests."""
    import hashlib

    with tarfile.open(file) as source, tarfile.open(out, "w:") as target:
        listed: dict[str, Any] = {}
        for info in source:
            content = source.extractfile(info)
            assert content is not None
            data = content.read()
            if info.name == backup.MANIFEST:
                told = json.loads(data) | manifest
                if honest:
                    told["members"] = {name: told["members"][name] | digests for name, digests in listed.items()}
                data = json.dumps(told).encode()
            else:
                changed = change(info.name, data)
                if changed is None:
                    continue
                data = changed
                listed[info.name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            fresh = tarfile.TarInfo(info.name)
            fresh.size = len(data)
            target.addfile(fresh, io.BytesIO(data))


def same(_: str, data: bytes) -> bytes:
    return data


def as_tar(out: Path, *members: tuple[str, bytes, bytes]) -> None:
    with tarfile.open(out, "w:") as target:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            if kind == tarfile.SYMTYPE:
                info.linkname, info.size = "/etc/passwd", 0
            target.addfile(info, io.BytesIO(data))


def test_what_is_no_backup_is_refused(start: Start, tmp_path: Path, new_postgres_database: Callable[[], str]) -> None:
    """Each in words, and nothing is restored, written elsewhere or left behind."""
    app = start()
    app.acme.post("mira@x.example", "it is broken")
    app.pass_()
    good, bad = tmp_path / "good.tar", tmp_path / "bad.tar"
    back_up(app, good)
    whole = good.read_bytes()
    file = tarfile.REGTYPE
    gzipped = tmp_path / "gz"
    with tarfile.open(gzipped, "w:gz") as packed:
        packed.add(good, "tables/x.jsonl")

    def writes(data: bytes) -> Callable[[], Any]:
        return lambda: bad.write_bytes(data)

    def patches(name: str, old: bytes, new: bytes) -> Callable[[], Any]:
        return lambda: rewrite(good, bad, lambda member, data: data.replace(old, new, 1) if member == f"tables/{name}.jsonl" else data)

    cases: dict[str, tuple[Callable[[], Any], str]] = {
        "empty": (writes(b""), "no backup of triage"),
        "notes": (writes(b"these are my notes\n" * 999), "no backup of triage"),
        "cut": (writes(whole[: len(whole) // 2]), "was cut off"),
        "cut at a block": (writes(whole[: len(whole) // 1024 * 512]), "was cut off"),
        "packed": (writes(gzipped.read_bytes()), "no backup of triage"),
        "a flipped byte": (writes(whole.replace(b"broken", b"brokem", 1)), "is damaged"),
        "up and away": (lambda: as_tar(bad, ("../../evil", b"x", file)), "no backup of triage does"),
        "absolute": (lambda: as_tar(bad, ("/etc/evil", b"x", file)), "no backup of triage does"),
        "model in a folder": (lambda: as_tar(bad, ("model/../../x", b"x", file)), "no backup of triage does"),
        "hidden": (lambda: as_tar(bad, ("model/.bashrc", b"x", file)), "no backup of triage does"),
        "a link": (lambda: as_tar(bad, ("model/x", b"", tarfile.SYMTYPE)), "no backup of triage does"),
        "twice": (lambda: as_tar(bad, ("tables/meta.jsonl", b"x", file), ("tables/meta.jsonl", b"y", file)), "no backup of triage does"),
        "deep": (lambda: as_tar(bad, (backup.MANIFEST, b"[" * 500_000, file)), "no backup of triage"),
        "odd manifest": (lambda: as_tar(bad, (backup.MANIFEST, b'{"format": 1}', file)), "manifest can't be read"),
        "long manifest": (lambda: as_tar(bad, (backup.MANIFEST, b" " * 2_000_000, file)), "manifest is too long"),
        "newer": (lambda: rewrite(good, bad, same, schema="9999", version="99.0"), "triage '99.0' at schema '9999', which is newer"),
        "newer format": (lambda: rewrite(good, bad, same, format=2), "which is newer"),
        "unknown schema": (lambda: rewrite(good, bad, same, schema="0000"), "is damaged"),
        "other columns": (patches("mentions", b'"text"', b'"test"'), "is damaged"),
        "other values": (patches("mentions", b'"acme"', b"17"), "source is no text"),
        "no row": (patches("mentions", b"\n[", b'\n{"a": ['), "is damaged"),
        "a lost parent": (
            lambda: rewrite(good, bad, lambda name, data: data.splitlines(True)[0] if "problems" in name else data),
            "refuses",
        ),
    }
    for name, (make, why) in cases.items():
        make()
        for number, url in enumerate((f"sqlite:///{tmp_path}/new/triage.db", new_postgres_database())):
            with pytest.raises(UserError, match=why):
                put_back(bad, url, tmp_path / "elsewhere", app.clock)
            if number:
                engine = sa.create_engine(url)
                assert sa.inspect(engine).get_table_names() == [], name
                engine.dispose()
            else:
                assert list((tmp_path / "new").iterdir() if (tmp_path / "new").exists() else ()) == [], name
    assert not (tmp_path.parent / "evil").exists()
    with pytest.raises(UserError, match="can't be read"):
        put_back(tmp_path / "nothing.tar", f"sqlite:///{tmp_path}/new/triage.db", tmp_path, app.clock)
    with pytest.raises(UserError, match="can't be read"):
        put_back(tmp_path, f"sqlite:///{tmp_path}/new/triage.db", tmp_path, app.clock)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    """A sparse or endless file is refused before it is read."""
    info = tarfile.TarInfo("tables/meta.jsonl")
    info.size = 10**12
    (tmp_path / "bomb.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512)
    with pytest.raises(UserError, match="longer than the whole"), Backup.open(tmp_path / "bomb.tar"):
        pytest.fail("it was opened")


def test_the_classifier_of_the_config_is_in_the_backup(start: Start, tmp_path: Path) -> None:
    """And comes out as it was."""
    app = start()
    model = tmp_path / "mine"
    model.mkdir()
    (model / "card.json").write_text("{}")
    (model / "model.skops").write_bytes(bytes(range(256)) * 999)
    made = back_up(app, tmp_path / "backup.tar", model=model)
    assert made.shipped_model == ""
    with Backup.open(tmp_path / "backup.tar") as found:
        assert found.model == ["card.json", "model.skops"]
        found.unpack_model(tmp_path / "out" / "model")
        with pytest.raises(UserError, match="can't be written"):
            found.unpack_model(tmp_path / "out" / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "model").iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
