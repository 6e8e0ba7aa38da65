"""What people get wrong and what servers get wrong: a clear message with the next step, exit code 2, and nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.rig import Rig, Said
from tests.fixtures_services import eventually
from triage.classifier import model_folder
from triage.sandbox.jira_documents import plain


def refused(said: Said, *words: str) -> None:
    """It ended with 2, printed nothing but one short message, and that says all of this."""
    assert said.code == 2
    assert said.out == ""
    assert len(said.err) < 1200
    for word in words:
        assert word in said.err, said.err


def database(rig: Rig) -> Path:
    return rig.folder / "state" / "triage.db"


@pytest.fixture
def begun(rig: Rig) -> Rig:
    """A rig whose first pass is over: what is posted from now on counts."""
    rig.once()
    rig.seen_before = len(rig.mastodon.ledger.entries())
    return rig


def passes(rig: Rig) -> None:
    """Passes until every promise is kept."""

    def kept() -> bool:
        rig.once(code=None)
        return not rig.checker().violations()

    assert eventually(kept, 60.0), rig.checker().violations()


# Servers and accounts


def test_a_wrong_token_pauses_the_account_and_loses_nothing(begun: Rig) -> None:
    """One failed call, a message that names the account; with the right token, a restart finds all that was posted meanwhile."""
    rig = begun
    rig.mastodon.post("ann@else.example", "Hello, it is broken")
    said = rig.once(code=1, env={"SANDBOX_MASTODON": "mistaken"})
    assert "source quayside is paused" in said.err
    assert "401" in said.err
    assert "mistaken" not in said.all
    asked = len(rig.mastodon.requests)
    assert "source quayside is paused" in rig.once(code=1, env={"SANDBOX_MASTODON": "mistaken"}).err
    assert len(rig.mastodon.requests) == asked
    assert "Renew its token, then: triage doctor" in next(alert["summary"] for alert in rig.triage("status", "--json").json["alerts"])
    with rig.up() as up:
        rig.settle()
        assert len(rig.jira.tickets) == 1
        assert up.stop(signal.SIGINT) == 0


def test_a_missing_project_leaves_the_ticket_to_a_person(begun: Rig) -> None:
    """Jira's own words stand in the queue; once the config is right, one command files it."""
    rig = begun
    rig.write_config(project="NOPE")
    post = rig.mastodon.post("bea@else.example", "It is broken and nobody files it")
    rig.once()
    (row,) = [row for row in rig.queue(post) if row["kind"] == "ticket"]
    assert row["state"] == "rejected"
    assert "A valid project is required" in row["reason"]
    assert "there is no project NOPE" in rig.triage("doctor", code=1).out
    rig.write_config()
    rig.triage("retry", str(row["id"]))
    assert rig.checker().violations() == []
    assert len(rig.jira.tickets) == 1


def test_a_server_that_answers_with_a_page(begun: Rig) -> None:
    """A gateway's HTML is no answer: mentions are read at the next pass, and a ticket that was made behind it is found, not made again."""
    rig = begun
    post = rig.mastodon.post("cid@else.example", "It is broken behind a gateway")
    rig.mastodon.faults.add(kind="html", path="/notifications", times=None)
    said = rig.once(code=1)
    assert "source quayside is failing" in said.err
    assert "no JSON" in said.err
    rig.mastodon.faults.clear()
    rig.jira.faults.add(kind="html", method="POST", path="/issue$")
    passes(rig)
    assert len(rig.jira.tickets) == 1
    assert rig.show(post)["ticket"]["key"] == rig.jira.tickets[0].key


def test_one_notification_that_makes_no_sense_among_good_ones(begun: Rig) -> None:
    """It is set aside with its bytes, the others go on; a status that is null is no mention and stops nothing."""
    rig = begun
    rig.mastodon.post("dan@else.example", "First, it is broken")
    wrong = {"id": "x", "type": "mention", "created_at": 5, "status": {"id": ["a"], "uri": {}, "content": 7, "account": "canary-bytes"}}
    rig.mastodon.inject_raw_notification(wrong)
    rig.mastodon.inject_raw_notification({"id": "120", "type": "mention", "created_at": "2026-01-01T00:00:00Z", "status": None})
    rig.mastodon.inject_raw_notification("garbage")
    last = rig.mastodon.post("eve@else.example", "Last, it is broken")
    rig.once()
    assert rig.checker().violations() == []
    aside = rig.triage("queue", "--quarantined", "--json").json
    assert [row["source"] for row in aside] == ["quayside"] * 2
    shown = [rig.triage("show", str(row["id"]), "--json").json for row in aside]
    assert [one["status"] for one in shown] == ["quarantined"] * 2
    assert "canary-bytes" in str([one["raw"] for one in shown])
    assert rig.show(last)["ticket"]
    assert len(rig.jira.tickets) == 2
    rig.once()
    assert len(rig.triage("queue", "--quarantined", "--json").json) == 2


def test_a_post_of_ten_mebibytes(begun: Rig) -> None:
    """It is cut, not choked on: judged, filed within Jira's limits, and shown."""
    rig = begun
    post = rig.mastodon.post("fay@else.example", "It is broken: " + "<b>all of it</b> &amp; " * (10 * 1024 * 1024 // 22))
    rig.once()
    assert rig.checker().violations() == []
    (ticket,) = rig.jira.tickets
    assert "It is broken" in plain(ticket.description)
    assert len(plain(ticket.description)) <= 32_767
    assert len(rig.show(post)["text"]) <= 16 * 1024


# Config


def test_a_config_that_can_not_be_used_names_file_line_and_key(rig: Rig) -> None:
    """An unknown key with the nearest valid one, a name that is no connector, and what is no YAML at all."""
    rig.write_config("modes: act\n")
    line = rig.config.read_text().count("\n")
    refused(rig.triage("queue", code=2), f"config.yaml:{line}", "modes", "mode")
    rig.write_config("notifiers: [\n")
    refused(rig.triage("queue", code=2), "config.yaml")
    assert not database(rig).exists()
    for right, wrong in (("platform: mastodon", "platform: mastodoon"), ("hashtags:", "hashtag:")):
        rig.write_config()
        rig.config.write_text(rig.config.read_text().replace(right, wrong))
        refused(rig.once(code=2), "config.yaml:", wrong.split()[-1].strip(":"), right.split()[-1].strip(":"))


@pytest.mark.parametrize("command", ["queue", "run --once", "up", "worker", "beat", "web", "doctor", "import -"])
def test_a_missing_config_is_said_by_every_command(rig: Rig, command: str) -> None:
    """No config.yaml here: `triage init` writes one."""
    empty = rig.folder / "empty"
    empty.mkdir()
    refused(rig.triage(*command.split(), cwd=empty, env={"TRIAGE_CONFIG": ""}, code=2, text=""), "config.yaml", "triage init")
    refused(rig.triage(*command.split(), env={"TRIAGE_CONFIG": "/nowhere/c.yaml"}, code=2, text=""), "/nowhere/c.yaml", "triage init")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("command", ["run --once", "up", "worker"])
def test_a_secret_that_is_not_there_is_said_before_anything_starts(rig: Rig, command: str) -> None:
    """The variable is named, and the line where the config asks for it."""
    refused(rig.triage(*command.split(), env={"SANDBOX_JIRA": ""}, code=2), "config.yaml:", "SANDBOX_JIRA is not set", "export it")


def test_the_queue_needs_no_secret_and_doctor_looks_at_the_rest(rig: Rig) -> None:
    """Looking at the store asks no server; `doctor` names the secret that is not there and goes on to the next account."""
    assert rig.triage("queue", env={"SANDBOX_JIRA": ""}).out == "nothing waits for a person\n"
    said = rig.triage("doctor", env={"SANDBOX_JIRA": ""}, code=1).out
    assert "SANDBOX_JIRA is not set" in said
    assert "oncall: Alertmanager" in said


# The store


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another program that holds the database's write lock: a process of its own, since locks of one process don't bar itself."""
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
            assert holder.wait(10) == 0


def test_a_database_that_is_locked(rig: Rig) -> None:
    """It waits a while, then says who may be the matter; when the lock is gone the same command works."""
    row = json.dumps({"text": "How do I wait?", "link": "https://forum.example/1"})
    assert rig.triage("import", "-", text="").out.startswith("0 new")
    with held(database(rig)):
        refused(rig.triage("import", "-", text=row, code=2), str(database(rig)), "locked by another program", "close what holds it")
    assert rig.triage("import", "-", text=row).out.startswith("1 new")


def test_a_database_that_is_newer_than_the_program(rig: Rig) -> None:
    """Nothing is touched; the newer program is asked for."""
    rig.triage("queue")
    with closing(sqlite3.connect(database(rig))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
        connection.commit()
    for command in ("queue", "run --once", "up"):
        refused(rig.triage(*command.split(), code=2), "schema 9876", "install the newer triage")
    with closing(sqlite3.connect(database(rig))) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9876",)]


def test_a_file_that_is_no_database(rig: Rig) -> None:
    """It is left as it is, and named."""
    database(rig).parent.mkdir()
    database(rig).write_bytes(b"this is a shopping list\n" * 100)
    for command in ("queue", "run --once", "up"):
        refused(rig.triage(*command.split(), code=2), str(database(rig)), "no SQLite database", "restore a backup")
    assert database(rig).read_bytes().startswith(b"this is a shopping list")


# The model


@pytest.mark.parametrize("command", ["run --once", "up", "worker", "classify -", "evaluate --model wrong"])
def test_a_model_that_does_not_match_its_card(rig: Rig, command: str) -> None:
    """A file that was changed after training is never loaded, and that is said before anything is polled."""
    shutil.copytree(model_folder(), rig.folder / "wrong")
    with (rig.folder / "wrong" / "model.skops").open("ab") as file:
        file.write(b"!")
    rig.write_config("model: wrong\n")
    refused(
        rig.triage(*command.split(), code=2, text="it works\n"),
        "wrong",
        "is not the file that its card vouches for",
        "Next: train it again",
    )
    assert rig.mastodon.requests == []


def test_a_model_that_is_missing(rig: Rig) -> None:
    """The folder is named before anything is stored; once it is there the same command works."""
    rig.write_config("model: nowhere\n")
    row = json.dumps({"text": "How do I begin?", "link": "https://forum.example/1"})
    refused(rig.triage("import", "-", text=row, code=2), str(rig.folder / "nowhere"), "Next: ")
    refused(rig.triage("backfill", "--since", "7d", code=2), str(rig.folder / "nowhere"), "Next: ")
    assert "FAIL  model" in rig.triage("doctor", code=1).out
    rig.write_config()
    assert rig.triage("import", "-", text=row).out.startswith("1 new")


# Two at once


def test_a_second_triage_up_and_a_port_in_use(rig: Rig) -> None:
    """The second one says which process is first; a port that is taken is named before anything starts; the first one goes on."""
    with socket.create_server(("127.0.0.1", rig.port)):
        refused(rig.triage("up", code=2), f"127.0.0.1:{rig.port}", "Address already in use", "set web.port in the config")
        refused(rig.triage("web", code=2), f"127.0.0.1:{rig.port}", "set web.port in the config")
    with rig.up() as up:
        refused(rig.triage("up", code=2), f"runs on {rig.folder / 'state'} already", f"process {up.process.pid}", "stop that one first")
        rig.mastodon.post("gil@else.example", "It is broken while two want to run")
        rig.settle()
        assert up.process.poll() is None
    assert len(rig.jira.tickets) == 1
