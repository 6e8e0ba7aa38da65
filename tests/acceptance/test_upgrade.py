"""The release before this one beside today's program: its worker goes on while the store is upgraded under it."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.acceptance.rig import CHECKOUT, Rig, free_port
from tests.fixtures_services import eventually
from triage.store.database import HEAD

BEFORE = "547c9a8"  # the last commit with schema 0001


@pytest.fixture
def old_program(tmp_path: Path) -> Path:
    """The folder of the release before."""
    packed = subprocess.run(["git", "archive", BEFORE], cwd=CHECKOUT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"the history does not hold {BEFORE}, the release before (a shallow clone, or no clone at all)")
    folder = tmp_path / "before"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def rig(new_rig: Callable[..., Rig], blank_url: str) -> Rig:
    """On each database, without a broker."""
    return new_rig(redis=f"redis://127.0.0.1:{free_port()}/0", store="" if blank_url.startswith("sqlite") else blank_url)


def version(rig: Rig) -> str:
    engine = sa.create_engine(rig.store)
    with engine.connect() as connection:
        found: str = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    return found


def all_rows(rig: Rig) -> dict[str, list[dict[str, Any]]]:
    engine = sa.create_engine(rig.store)
    found = sa.MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()]
            for table in found.sorted_tables
            if table.name != "alembic_version"
        }
    engine.dispose()
    return rows


def posts(rig: Rig, names: str, count: int) -> None:
    for number in range(count):
        first = rig.mastodon.post(f"author{number % 5}@else.example", f"{names} number {number} is broken")
        if number % 3 == 0:
            rig.mastodon.post("another@else.example", f"{names} number {number} is broken for me too", reply_to=first["id"])
        if number % 4 == 0:
            rig.mastodon.post("asking@else.example", f"How do I use {names} {number}?")


def test_the_worker_of_the_release_before_goes_on_through_the_upgrade(rig: Rig, old_program: Path) -> None:
    """Both work on one store; nothing is lost and nothing is made twice. A newer schema stops today's worker, which says so once."""
    old = {"PYTHONPATH": str(old_program)}
    with rig.running("old", [sys.executable, "-m", "triage", "worker"], env=old, cwd=old_program) as before:
        rig.await_work(before)
        posts(rig, "Crane", 12)
        rig.settle(90.0)
        assert version(rig) == "0001"
        posts(rig, "Winch", 12)
        with rig.command("worker") as after:
            assert eventually(lambda: version(rig) == HEAD, 60.0), after.said
            posts(rig, "Pulley", 12)
            assert eventually(lambda: len(rig.triage("status", "--json").json["workers"]) >= 2, 60.0)
            rig.settle(120.0)
            posts(rig, "Hook", 12)
            rig.settle(120.0)
            assert before.process.poll() is None
            before.stop()
            posts(rig, "Rope", 6)
            rig.settle(120.0)
    assert len(rig.jira.tickets) == 54
    refused = subprocess.run(
        [sys.executable, "-m", "triage", "status"], env=rig.env | old, cwd=old_program, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "install the newer triage" in refused.stderr) == (2, True)


def test_a_store_of_the_release_before_keeps_every_row(rig: Rig, old_program: Path) -> None:
    """Three processes of today's start on it at once; what it held is there afterwards as it was, and is where it was."""
    old = {"PYTHONPATH": str(old_program)}
    with rig.running("old", [sys.executable, "-m", "triage", "worker"], env=old, cwd=old_program) as before:
        rig.await_work(before)
        posts(rig, "Crane", 9)
        rig.settle(90.0)
    held = all_rows(rig)
    starts = [
        subprocess.Popen(
            [sys.executable, "-m", "triage", "status"], env=rig.env, cwd=rig.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for start in starts:
        assert start.wait(60) == 0, start.stderr.read() if start.stderr else b""
        if start.stderr:
            start.stderr.close()
    now = all_rows(rig)
    assert version(rig) == HEAD
    for table, old_rows in held.items():
        kept = [{name: row[name] for name in old_rows[0]} for row in now[table]] if old_rows else []
        assert kept[: len(old_rows)] == old_rows or table == "meta", table
    assert {row["name"] for row in held["meta"]} <= {row["name"] for row in now["meta"]}
    with rig.command("worker") as run:
        rig.await_work(run)
        posts(rig, "Winch", 3)
        rig.settle(90.0)
        assert "copy" not in rig.triage("status").out
        assert "restore mode" not in run.said
    assert len(rig.jira.tickets) == 12


def test_a_worker_stops_at_a_newer_schema_and_says_so_once(rig: Rig) -> None:
    """It goes on living, so that a supervisor does not start it again and again, and does nothing."""
    with rig.command("worker") as run:
        rig.await_work(run)
        engine = sa.create_engine(rig.store)
        with engine.begin() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        assert eventually(lambda: "the database is at schema 9999" in run.said, 30.0), run.said
        rig.mastodon.post("ann@else.example", "The quay is broken")
        calls = len(rig.jira.tickets)
        assert not eventually(lambda: len(rig.jira.tickets) > calls, 3.0)
        assert run.said.count("the database is at schema 9999") == 1
        with engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
        engine.dispose()
        rig.settle(60.0)
