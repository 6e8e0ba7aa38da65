"""Backups, copies and renewed tokens with real processes; what the servers' ledgers hold at the end is what counts."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.acceptance.rig import Rig
from tests.faults.zygote import Forked, zygote_of
from tests.fixtures_services import eventually
from triage.sandbox.jira_documents import plain
from triage.store.schema import metadata

NewRig = Callable[..., Rig]


@pytest.fixture
def rig(new_rig: NewRig, request: pytest.FixtureRequest, blank_url: str) -> Rig:
    """On each database, without a broker: a worker does everything by itself."""
    return new_rig(store="" if blank_url.startswith("sqlite") else blank_url)


@contextmanager
def worker(rig: Rig, env: Mapping[str, str] | None = None) -> Iterator[Forked]:
    """A worker's sweep in a process of its own, forked: what Celery adds to it is tested elsewhere."""
    log = rig.folder / f"worker-{len(rig._logs)}.log"
    rig._logs.append(log)
    run = zygote_of(rig.guard).fork(["worker"], rig.env | dict(env or {}), log)
    try:
        yield run
    except BaseException:
        print(f"--- the worker said ---\n{run.said[-4000:]}", file=sys.stderr)
        raise
    finally:
        if run.poll() is None:
            assert run.end() == 0, run.said[-3000:]


@contextmanager
def working(rig: Rig) -> Iterator[Forked]:
    """A worker that has polled."""
    with worker(rig) as run:
        assert eventually(rig._watching, 60.0), run.said[-3000:]
        if not rig.seen_before:
            rig.seen_before = len(rig.mastodon.ledger.entries())
        yield run


def rows(rig: Rig) -> dict[str, list[str]]:
    """Everything in the store."""
    engine = sa.create_engine(rig.store)
    with engine.connect() as connection:
        found = {table.name: [repr(tuple(row)) for row in connection.execute(sa.select(table))] for table in metadata.sorted_tables}
    engine.dispose()
    return {name: sorted(table) for name, table in found.items()}


def stored(rig: Rig) -> int:
    """How many mentions are stored and judged."""
    return sum(row["due_at"] is None for row in rig.checker().database["mentions"])


def test_yesterdays_backup_makes_no_duplicates(rig: Rig) -> None:
    """Tickets, comments and answers that the store has forgotten are found again; other words for an answer go to a person."""
    with working(rig):
        old = rig.mastodon.post("ann@else.example", "The harbour is broken")
        rig.settle()
        rig.triage("backup", "yesterday.tar")
        bugs = [rig.mastodon.post(f"author{number}@else.example", f"Crane number {number} is broken") for number in range(6)]
        one, other = rig.mastodon.post("bea@else.example", "How do I moor?"), rig.mastodon.post("cid", "How do I anchor?")
        rig.settle()
        rig.mastodon.post("dan@else.example", "Broken for me too, in the rain", reply_to=bugs[0]["id"])
        rig.mastodon.post("eve@else.example", "Broken here, at night", reply_to=old["id"])
        rig.settle()
        rig.triage("answer", str(rig.task(one)["id"]), "With a rope.", "--now")
        rig.triage("answer", str(rig.task(other)["id"]), "Let it drop.", "--now")
        rig.settle()
    made = (len(rig.jira.tickets), sum(len(ticket.comments) for ticket in rig.jira.tickets), len(rig.mastodon.replies))
    assert made == (7, 2, 2)
    assert "not empty" in rig.triage("restore", "yesterday.tar", code=2).err
    rig.triage("restore", "yesterday.tar", "--force")
    assert "restored  until" in rig.triage("status").out
    with working(rig) as run:
        assert eventually(lambda: stored(rig) == 11, 90.0)
        assert "done" in rig.triage("answer", str(rig.task(one)["id"]), "With a rope.", "--now").out
        said = rig.triage("answer", str(rig.task(other)["id"]), "You let it drop to the ground.", "--now").out
        forgotten = next(reply for reply in rig.mastodon.replies if reply["in_reply_to"] == other["id"])
        assert "parked" in said
        (parked,) = [row for row in rig.queue() if row["state"] == "parked"]
        assert forgotten["id"] in said
        rig.triage("found", str(parked["id"]), forgotten["id"])
        rig.settle(60.0)
        assert "restore mode until" in run.said
        new = rig.mastodon.post("fay@else.example", "The lighthouse is broken")
        rig.settle(60.0)
        assert rig.show(new)["ticket"]
    assert (len(rig.jira.tickets) - 1, sum(len(ticket.comments) for ticket in rig.jira.tickets), len(rig.mastodon.replies)) == made


def test_a_backup_in_mid_load_goes_into_another_store(rig: Rig, new_postgres_database: Callable[[], str]) -> None:
    """It is one moment of the store. Adopted on another database, of the other kind, it takes up the work and makes nothing twice."""
    with working(rig) as run:
        for number in range(30):
            rig.mastodon.post(f"author{number % 7}@else.example", f"Pump number {number} is broken")
            if number == 15:
                rig.triage("backup", "busy.tar")
        rig.settle(60.0)
        assert len(rig.jira.tickets) == 30
        run.send_signal(signal.SIGKILL)
        assert run.ended(30.0)
    other = new_postgres_database() if rig.store.startswith("sqlite") else f"sqlite:///{rig.folder}/other/triage.db"
    rig._given["DATABASE_URL"] = rig.store = other
    assert "triage adopt" in rig.triage("restore", "busy.tar").out
    with working(rig) as run:
        rig.mastodon.post("zoe@else.example", "Pump number 99 is broken")
        assert eventually(lambda: stored(rig) == 31, 90.0)
        assert len(rig.jira.tickets) == 30
        rig.triage("adopt", "--yes")
        rig.settle(90.0)
    texts = [plain(ticket.description) for ticket in rig.jira.tickets]
    assert [sum(f"Pump number {number} is broken" in text for text in texts) for number in (*range(30), 99)] == [1] * 31


def test_a_copy_beside_the_original_sends_nothing(new_rig: NewRig) -> None:
    """The original goes on; the copy tells why it is silent, until a person says that the original is off."""
    rig = new_rig()
    with working(rig) as original:
        rig.mastodon.post("ann@else.example", "The quay is broken")
        rig.settle()
        shutil.copytree(rig.folder / "state", rig.folder / "copy" / "state", ignore=shutil.ignore_patterns("*.sock", "*.lock"))
        shutil.copy(rig.config, rig.folder / "copy")
        there = {"TRIAGE_CONFIG": str(rig.folder / "copy" / "config.yaml")}
        with worker(rig, there) as copy:
            assert eventually(lambda: "nothing is sent: this database is a copy" in copy.said, 60.0), copy.said
            bugs = [rig.mastodon.post("bea@else.example", f"Bollard {number} is broken") for number in range(5)]
            rig.settle()

            def shown() -> list[Any]:
                return [row for row in rig.triage("queue", "--json", env=there).json if row["url"] in {bug["url"] for bug in bugs}]

            assert eventually(lambda: len(shown()) == 5, 60.0)  # it polls and judges
            assert len(rig.jira.tickets) == 6
            assert "triage adopt" in rig.triage("status", env=there).out
            assert rig.triage("adopt", env=there, text="n\n", code=130).out
            original.end()
            rig.triage("adopt", "--yes", env=there)
            late = rig.mastodon.post("cid@else.example", "The buoy is broken")
            assert eventually(lambda: bool(rig.triage("show", late["url"], "--json", env=there, code=None).out.count("QUAY-7")), 60.0)
    assert len(rig.jira.tickets) == 7
    assert "this store is no copy" in rig.triage("adopt", "--yes").out


def test_an_older_database_that_was_put_back_by_hand_is_noticed(new_rig: NewRig) -> None:
    """Without a word to triage: the heartbeat in the state folder is newer than the store's own."""
    rig = new_rig()
    state = rig.folder / "state"
    with working(rig):
        rig.mastodon.post("ann@else.example", "The quay is broken")
        rig.settle()
        assert eventually((state / "heartbeat.json").exists, 30.0)
    old = rig.folder / "old.db"
    with closing(sqlite3.connect(state / "triage.db")) as source, closing(sqlite3.connect(old)) as target:
        source.backup(target)
        ((before,),) = source.execute("SELECT max(value) FROM meta WHERE name LIKE 'heartbeat/%'").fetchall()
    with working(rig):
        rig.mastodon.post("bea@else.example", "The bollard is broken")
        rig.settle()
        assert eventually(lambda: json.loads((state / "heartbeat.json").read_text())["at"] > before, 60.0)
    for file in state.glob("triage.db-*"):
        file.unlink()
    shutil.copy(old, state / "triage.db")
    with working(rig) as run:
        rig.settle(60.0)
        assert "restore mode until" in run.said
    assert len(rig.jira.tickets) == 2


def test_a_restore_that_is_killed_changes_nothing(rig: Rig) -> None:
    """And can be made again."""
    with working(rig):
        rig.mastodon.post("ann@else.example", "A lovely view")
        rig.settle()
        rig.triage("backup", "backup.tar")
        rig.mastodon.post("bea@else.example", "The quay is broken")
        rig.settle()
    before = rows(rig)
    rig.triage("restore", "backup.tar", "--force", code=-signal.SIGKILL, env={"TRIAGE_FAILPOINTS": "before_restore_commit=kill"})
    assert rows(rig) == before
    rig.triage("restore", "backup.tar", "--force")
    with working(rig):
        rig.settle(60.0)
    assert len(rig.jira.tickets) == 1


def test_a_backup_tells_what_is_wrong(new_rig: NewRig) -> None:
    """A full disk, a folder without rights, a file that is none: one message each, and nothing is left behind."""
    rig = new_rig()
    rig.triage("status")
    rig.triage("backup", "good.tar")
    assert "there already" in rig.triage("backup", "good.tar", code=2).err
    rig.triage("backup", "good.tar", "--force")
    assert "can't be written" in rig.triage("backup", "nowhere/b.tar", code=2).err
    # A limit on the size of files stands for the full disk: the write fails in the middle. Byte code would be cut as well, for everybody.
    small = ["bash", "-c", 'ulimit -f 4; exec "$@"', "-", sys.executable, "-m", "triage", "backup", "small.tar"]
    full = subprocess.run(
        small, env={**rig.env, "PYTHONDONTWRITEBYTECODE": "1"}, cwd=rig.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith("triage: ")
    assert "Traceback" not in full.stderr
    assert not (rig.folder / "small.tar").exists()
    assert "can't be read" in rig.triage("restore", "nothing.tar", code=2).err
    assert "no backup of triage" in rig.triage("restore", "config.yaml", code=2).err
    assert [path.name for path in rig.folder.iterdir() if ".part" in path.name] == []


def test_a_renewed_token_loses_nothing(new_rig: NewRig) -> None:
    """A token in a file is refused, its account rests; with the new one in the file a restart takes up where it stood."""
    rig = new_rig()
    token = rig.folder / "token"
    token.write_text(rig.mastodon.token)
    rig.config.write_text(rig.config.read_text().replace("{env: SANDBOX_MASTODON}", f"{{file: {token}}}"))
    with working(rig):
        rig.mastodon.post("ann@else.example", "The quay is broken")
        rig.settle()
    token.write_text("revoked")
    with worker(rig):
        assert eventually(lambda: _account(rig)["state"] == "paused", 60.0)
        posts = [rig.mastodon.post("bea@else.example", f"Bollard {number} is broken") for number in range(3)]
    token.write_text(rig.mastodon.token)
    rig.triage("rotate")
    with working(rig):
        rig.settle(60.0)
    assert _account(rig)["state"] == "ok"
    assert len(rig.jira.tickets) == 1 + len(posts)


def _account(rig: Rig) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in rig.triage("status", "--json").json["accounts"] if one["name"] == "quayside")
    return found
