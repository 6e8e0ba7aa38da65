"""What `make faults` says of its runs, and that the document names every case."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.cases import ALL
from tests.faults.runs import ROOT, Log, Run, broken, jobs
from tests.faults.table import bound, names_in, table, write

CASE = Case("some-kills", 1, "kill -9", lambda _: None, long=3)


def a_run(seed: int = 0, *, version: str = "v1", why: str = "", store: str = "sqlite", **notes: int) -> Run:
    return Run("some-kills", store, seed, version, not why, 1.0, "2026-01-01T00:00:00+00:00", notes, broken(why), why)


def test_the_document_names_every_case() -> None:
    """A case that is in no table is a proof that nobody sees; `make faults` writes the table."""
    named = names_in((ROOT / "docs" / "delivery.md").read_text())
    assert named == {case.name for case in ALL}


def test_every_case_has_a_name_of_its_own() -> None:
    """A run is known by it."""
    assert len({case.name for case in ALL}) == len(ALL)
    assert all(1 <= case.number <= 10 and case.long >= case.short for case in ALL)


def test_zero_failures_show_a_bound() -> None:
    """The rule of three, not rounded: what has a chance of 1.5 % is missed by 200 runs once in twenty times."""
    assert bound(200) == pytest.approx(0.01487, abs=1e-5)
    assert (1 - bound(59)) ** 59 == pytest.approx(0.05)
    assert bound(0) == 1.0


def test_the_table_sums_what_happened() -> None:
    """Kills are added up and bounded; a database without a run shows none."""
    lines = table([CASE], [a_run(0, kills=10), a_run(1, kills=9)])
    (sqlite,) = [line for line in lines if "| sqlite |" in line]
    assert sqlite.startswith("| 1 `some-kills` | kill -9 | sqlite | 2 | 19 kills | 0 | 0 | 0 | 0 |")
    assert f"{bound(19):.2%}" in sqlite
    (postgresql,) = [line for line in lines if "| postgresql |" in line]
    assert "| 0 |  | – | – | – | 0 | – |" in postgresql


def test_a_failure_is_shown_and_bounds_nothing() -> None:
    """One broken promise, and the row says which."""
    lines = table([CASE], [a_run(0, kills=10), a_run(1, why="I2: 2 tickets carry x\nI1: y is lost\nI2: 2 tickets carry z", kills=3)])
    (line,) = [line for line in lines if "| sqlite |" in line]
    assert line.endswith("| 13 kills | 1 | 2 | 0 | 1 | – |")


def test_a_log_goes_on_and_forgets_no_failure(tmp_path: Path) -> None:
    """A line that a kill cut short is left out; other versions don't count; a success does not wipe out a failure."""
    log = Log(tmp_path / "runs.jsonl")
    for run in (a_run(0), a_run(1, why="I1: x is lost"), a_run(1), a_run(2, version="v0")):
        log.add(run)
    with log.path.open("a") as file:
        file.write('{"case": "some-ki')
    assert {(run.seed, run.ok) for run in log.runs("v1")} == {(0, True), (1, False)}
    assert log.others("v1") == 1


def test_first_seeds_come_first() -> None:
    """So that a run that was cut short has seen every case."""
    assert [job.seed for job in jobs([CASE], ["sqlite", "postgresql"], None)] == [0, 0, 1, 1, 2, 2]
    assert [(job.store, job.seed) for job in jobs([CASE], ["sqlite"], 7)] == [("sqlite", 7)]


def test_the_table_goes_between_its_markers(tmp_path: Path) -> None:
    """And leaves the rest as it is; a document without markers is refused."""
    document = tmp_path / "delivery.md"
    document.write_text("before\n<!-- faults: begin -->\nold\n<!-- faults: end -->\nafter\n")
    write(document, ["new"])
    assert document.read_text() == "before\n<!-- faults: begin -->\nnew\n<!-- faults: end -->\nafter\n"
    document.write_text("nothing here")
    with pytest.raises(ValueError, match="has no"):
        write(document, ["new"])
