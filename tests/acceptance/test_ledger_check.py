"""The checker itself: it is content with an honest run, and finds each way in which a promise can be broken."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.rig import Rig, read_only
from tests.ledger_check import Checker, leaks
from triage.guard import Guard
from triage.sandbox.ledger import read


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Checker:
    """What an honest run left: a ticket with a comment, a task, a reply, an alert, an archived post, one that is gone."""
    with Rig(tmp_path_factory.mktemp("honest"), guard) as rig:
        rig.once()
        rig.seen_before = len(rig.mastodon.ledger.entries())
        bug = rig.mastodon.post("ann@else.example", "It is broken")
        rig.mastodon.post("bea@else.example", "broken for me too", reply_to=bug["id"])
        rig.mastodon.post("cid@else.example", "alarm!")
        rig.mastodon.post("dan@else.example", "lovely")
        rig.mastodon.post("colleague", "broken, I know")
        question = rig.mastodon.post("eve@else.example", "How?")
        rig.once()
        rig.triage("answer", str(rig.task(question)["id"]), "So.", "--now")
        gone = rig.mastodon.post("fay@else.example", "never mind")
        rig.mastodon.delete(gone["id"])
        assert rig.checker().violations() == []
        return rig.checker()


@pytest.fixture
def copy(honest: Checker, tmp_path: Path) -> Checker:
    """Copies of its ledgers and its database, to be tampered with."""
    assert honest.jira is not None
    ledgers = shutil.copytree(honest.jira.parent, tmp_path / "ledgers")
    state = shutil.copytree(honest.jira.parents[1] / "state", tmp_path / "state")
    return replace(
        honest,
        store=read_only(f"sqlite:///{state}/triage.db"),
        mastodon=(ledgers / "mastodon.jsonl",),
        jira=ledgers / "jira.jsonl",
        receiver=ledgers / "receiver.jsonl",
    )


def again(path: Path | None, kind: str, **change: Any) -> None:
    """Append the last entry of a kind once more, changed."""
    assert path is not None
    entries = read(path)
    entry = [entry for entry in entries if entry["kind"] == kind][-1]
    with path.open("a") as file:
        file.write(json.dumps(entry | {"n": len(entries) + 1} | change) + "\n")


def sql(checker: Checker, statement: str) -> None:
    path = checker.store.removeprefix("sqlite:///file:").partition("?")[0]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(statement).rowcount > 0
        connection.commit()


BROKEN: dict[str, tuple[Callable[[Checker], None], str]] = {
    "a mention is lost": (
        lambda it: again(it.mastodon[0], "status", uri="https://else.example/lost", author="gil@else.example"),
        "is lost",
    ),
    "a mention was never posted": (lambda it: sql(it, "UPDATE mentions SET uri = uri || '0' WHERE id = 1"), "was never posted"),
    "a ticket twice": (lambda it: again(it.jira, "ticket", id="99999", key="QUAY-99"), "I2: 2 tickets carry"),
    "a comment twice": (lambda it: again(it.jira, "comment", id="99998"), "I2: 2 comments carry"),
    "a post twice": (lambda it: again(it.mastodon[0], "reply", id="99997", uri="x"), "I2: 2 posts were made with the key"),
    "a ticket that nobody planned": (
        lambda it: again(it.jira, "ticket", id="99999", labels=["triage-" + "a" * 20]),
        "carries a marker of no ticket",
    ),
    "a post that nobody planned": (
        lambda it: again(it.mastodon[0], "reply", id="99997", uri="x", idempotency_key="k"),
        "no action posted 99997",
    ),
    "a receipt for nothing": (lambda it: sql(it, "UPDATE actions SET remote_id = '5' WHERE kind = 'comment'"), "and tickets holds no 5"),
    "a mention that waits for ever": (
        lambda it: sql(it, "UPDATE mentions SET due_at = '2026-01-01' WHERE id = 1"),
        "still waits to be judged",
    ),
    "a mention about which nothing is done": (lambda it: sql(it, "DELETE FROM actions WHERE kind = 'archive'"), "nothing was done about"),
    "an action that nobody carries out": (
        lambda it: sql(it, "UPDATE actions SET state = 'planned' WHERE kind = 'ticket'"),
        "is still planned",
    ),
    "a ticket of a cancelled action": (
        lambda it: sql(it, "UPDATE actions SET state = 'cancelled' WHERE kind = 'ticket'"),
        "which is cancelled",
    ),
    "all of it taken back": (
        lambda it: sql(it, "UPDATE actions SET state = 'cancelled', closed_by = 'triage' WHERE kind = 'archive'"),
        "nothing took its place",
    ),
    "an alert that nobody heard": (
        lambda it: sql(it, "UPDATE actions SET key = key || '0' WHERE kind = 'alert'"),
        "nobody was told of the alert",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(copy: Checker, name: str) -> None:
    """Each is seen in the ledgers and the database alone."""
    assert copy.violations() == []
    breaking, found = BROKEN[name]
    breaking(copy)
    violations = replace(copy).violations()
    assert any(found in line for line in violations), violations


def test_a_leaked_secret_is_found(copy: Checker, tmp_path: Path) -> None:
    """In a log as well as in the database."""
    log = tmp_path / "worker.log"
    log.write_text("GET / with canary-5ec1\n")
    assert leaks(["canary-5ec1"], store=copy.store, files=[log]) == ["I5: worker.log holds a secret"]
    sql(copy, "UPDATE actions SET error = 'canary-5ec1' WHERE id = 1")
    assert leaks(["canary-5ec1"], store=copy.store, files=[]) == ["I5: the table actions holds a secret"]
